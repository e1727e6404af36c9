"""The slow side of the comparison: the same UNet, computed as in Tune-A-Video as published.

The outputs are the same. Attention weights are whole matrices in memory, every frame gets its own
copy of its keys and of the prompt, tokens are copied into the layout of each attention, and frames
are not in channels-last memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anamodiff.unet3d.blocks import VideoTransformerBlock
from anamodiff.unet3d.model import UNet3D

# What Tune-A-Video trains, by the ends of the names.
PUBLISHED = ("attn1.to_q.weight", "attn2.to_q.weight")


class MaterialisedBlock(nn.Module):
    """A `VideoTransformerBlock` with matrices of attention weights."""

    def __init__(self, block: VideoTransformerBlock) -> None:
        """Share the modules of `block`."""
        super().__init__()
        for name, module in block.named_children():
            setattr(self, name, module)

    def forward(
        self, hidden_states: Tensor, attention_mask: None, encoder_hidden_states: Tensor,
        *_: Any, **__: Any,
    ) -> Tensor:  # fmt: skip
        tokens, text = hidden_states, encoder_hidden_states
        frames = len(tokens) // len(text)
        normed = self.norm1(tokens)
        key, value = (
            first_and_previous(project(normed), frames)
            for project in (self.attn1.to_k, self.attn1.to_v)
        )
        tokens = tokens + attend(self.attn1, self.attn1.to_q(normed), key, value)
        text = repeat(text, "b m e -> (b f) m e", f=frames)
        query = self.attn2.to_q(self.norm2(tokens))
        tokens = tokens + attend(self.attn2, query, self.attn2.to_k(text), self.attn2.to_v(text))
        tokens = tokens + self.ff(self.norm3(tokens))
        count = tokens.shape[1]
        normed = rearrange(self.norm_temp(tokens), "(b f) n d -> (b n) f d", f=frames)
        own = self.attn_temp
        over = attend(own, own.to_q(normed), own.to_k(normed), own.to_v(normed))
        return tokens + rearrange(over, "(b n) f d -> (b f) n d", n=count)


def attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of tokens b n d to tokens b m d through the matrix of its weights."""
    query, key, value = (
        rearrange(x, "b n (heads d) -> (b heads) n d", heads=attn.heads)
        for x in (query, key, value)
    )
    scores = torch.bmm(query, key.transpose(1, 2)) * query.shape[-1] ** -0.5
    mixed = torch.bmm(scores.softmax(dim=-1), value)
    linear, dropout = attn.to_out
    return dropout(linear(rearrange(mixed, "(b heads) n d -> b n (heads d)", heads=attn.heads)))


def first_and_previous(tokens: Tensor, frames: int) -> Tensor:
    """The tokens of the first frame and of the previous one, for every frame: (b f) 2n d."""
    tokens = rearrange(tokens, "(b f) n d -> b f n d", f=frames)
    former = (torch.arange(frames) - 1).clamp(min=0)
    both = torch.cat([tokens[:, [0] * frames], tokens[:, former]], dim=2)
    return rearrange(both, "b f n d -> (b f) n d")


def slow_down(unet: UNet3D) -> UNet3D:
    """Turn `unet` into the baseline, in place."""
    for parent in list(unet.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, VideoTransformerBlock):
                setattr(parent, name, MaterialisedBlock(child))
    unet.to(memory_format=torch.contiguous_format)
    unet.conv_in.register_forward_hook(lambda module, given, made: made.contiguous())
    return unet


def train_as_published(unet: UNet3D, *, checkpointing: bool) -> list[nn.Parameter]:
    """Train what Tune-A-Video trains, optionally with its re-entrant checkpointing.

    A block that is checkpointed so gives no gradients where its input has none. In the published
    code gradients begin at the middle block, which is not checkpointed: the down blocks do not
    learn.
    """
    unet.requires_grad_(False)
    chosen = [p for name, p in unet.named_parameters() if name.endswith(PUBLISHED)]
    chosen += [p for name, p in unet.named_parameters() if ".attn_temp." in name]
    for parameter in chosen:
        parameter.requires_grad_(True)
    unet.checkpoint_gradients("all" if checkpointing else "none")
    for module in unet.mid_block.modules():
        module.gradient_checkpointing = False
    for module in unet.modules():
        if getattr(module, "gradient_checkpointing", False):
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=True)
    return chosen
