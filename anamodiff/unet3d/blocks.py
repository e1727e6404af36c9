"""The two blocks of a UNet that need to know which frames belong to one clip.

Both infer the number of frames: hidden states have frames folded into the batch, the timestep
embedding and the prompt come once per clip. So they have no state between calls, and gradient
checkpointing recomputes exactly the first result.
"""

from __future__ import annotations

import copy
from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

from anamodiff.half_precision import group_norm
from anamodiff.options import GroupNormMode
from anamodiff.unet3d.attention import (
    cross_attention,
    sparse_causal_attention,
    temporal_attention,
)
from anamodiff.unet3d.kv_cache import KeyValueCache


def clip_group_norm(norm: nn.GroupNorm, hidden: Tensor, clips: int) -> Tensor:
    """Group norm of `hidden`, (b f) c h w, with statistics pooled over the frames of each clip.

    With `clips == len(hidden)` they are those of each frame. In channels-last memory, both
    rearrangements are views, but for a GPU, whose group norm leaves that memory format: one copy
    returns to it before the activation, so that the convolution after that need not.
    """
    frames = len(hidden) // clips
    pooled = rearrange(hidden, "(b f) c h w -> b c (f h) w", b=clips)
    pooled = group_norm(norm, pooled)
    if pooled.device.type == "cpu":
        return rearrange(pooled, "b c (f h) w -> (b f) c h w", f=frames)
    pooled = rearrange(pooled, "b c (f h) w -> b f h w c", f=frames).contiguous()
    return rearrange(pooled, "b f h w c -> (b f) c h w")


class VideoResnetBlock(nn.Module):
    """A residual block over the frames of clips, with the modules of a 2-D block."""

    def __init__(self, block: ResnetBlock2D, group_norm: GroupNormMode) -> None:
        super().__init__()
        self.group_norm = group_norm
        self.norm1, self.conv1 = block.norm1, block.conv1
        self.time_emb_proj = block.time_emb_proj
        self.norm2, self.dropout, self.conv2 = block.norm2, block.dropout, block.conv2
        self.nonlinearity = block.nonlinearity
        self.conv_shortcut = block.conv_shortcut
        self.output_scale_factor = block.output_scale_factor

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        """Hidden states (b f) c h w to the same shape, for timestep embeddings b d."""
        hidden = self.conv1(
            self.nonlinearity(self._normalise(self.norm1, hidden_states, len(temb)))
        )
        shift = self.time_emb_proj(self.nonlinearity(temb))
        shift = shift.repeat_interleave(len(hidden) // len(temb), dim=0)
        hidden = hidden + rearrange(shift, "bf c -> bf c 1 1")
        hidden = self.nonlinearity(self._normalise(self.norm2, hidden, len(temb)))
        hidden = self.conv2(self.dropout(hidden))
        if self.conv_shortcut is not None:
            hidden_states = self.conv_shortcut(hidden_states)
        hidden = hidden_states + hidden
        return hidden if self.output_scale_factor == 1.0 else hidden / self.output_scale_factor

    def _normalise(self, norm: nn.GroupNorm, hidden: Tensor, clips: int) -> Tensor:
        return clip_group_norm(norm, hidden, clips if self.group_norm == "pooled" else len(hidden))


class VideoTransformerBlock(nn.Module):
    """A 2-D transformer block with sparse-causal self-attention, and temporal attention added.

    `attn_temp` and `norm_temp` start as copies of the spatial self-attention, with a zero output
    projection: before training they change nothing, and no seed is needed.
    """

    def __init__(self, block: BasicTransformerBlock) -> None:
        super().__init__()
        self.norm1, self.attn1 = block.norm1, block.attn1
        self.norm2, self.attn2 = block.norm2, block.attn2
        self.norm3, self.ff = block.norm3, block.ff
        self.norm_temp, self.attn_temp = copy.deepcopy(block.norm1), copy.deepcopy(block.attn1)
        for parameter in self.attn_temp.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: None,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: None = None,
        timestep: None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: None = None,
    ) -> Tensor:
        """Tokens (b f) n d to the same shape, for prompt embeddings b m e.

        Names and order of the arguments are those of diffusers' `Transformer2DModel`, which passes
        the None ones for any UNet of Stable Diffusion 1.x. `UNet3D` passes its `cache` through
        `cross_attention_kwargs`, the only argument for others' use.
        """
        tokens, text = hidden_states, encoder_hidden_states
        cache: KeyValueCache | None = (cross_attention_kwargs or {}).get("cache")
        tokens = tokens + sparse_causal_attention(self.attn1, self.norm1(tokens), len(text), cache)
        tokens = tokens + cross_attention(self.attn2, self.norm2(tokens), text, cache)
        tokens = tokens + self.ff(self.norm3(tokens))
        return tokens + temporal_attention(self.attn_temp, self.norm_temp(tokens), len(text), cache)
