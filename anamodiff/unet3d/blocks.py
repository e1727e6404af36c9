"""The two blocks of a UNet that must know which frames belong together.

Both find the number of frames without being told: frames are folded into the batch of the hidden
states, while the timestep embedding and the prompt come once per clip. So there is no state to keep
between calls, and gradient checkpointing recomputes exactly what it computed first.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import group_norm

from anamodiff.unet3d.attention import (
    cross_attention,
    sparse_causal_attention,
    temporal_attention,
)
from anamodiff.unet3d.past import Past

GroupNormMode = Literal["pooled", "per_frame"]


def clip_group_norm(norm: nn.GroupNorm, hidden: Tensor, clips: int) -> Tensor:
    """Normalise `hidden` ((b f) c h w) with statistics pooled over the frames of each of b clips.

    With `clips == len(hidden)` every frame is its own clip. In channels-last memory, both
    rearrangements are views.
    """
    frames = len(hidden) // clips
    pooled = rearrange(hidden, "(b f) c h w -> b c (f h) w", b=clips)
    pooled = group_norm(pooled, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return rearrange(pooled, "b c (f h) w -> (b f) c h w", f=frames)


class VideoResnetBlock(nn.Module):
    """A residual block over the frames of clips, with the weights of a 2-D block."""

    def __init__(self, block: ResnetBlock2D, group_norm: GroupNormMode) -> None:
        """Take over the modules of `block`."""
        super().__init__()
        self.group_norm = group_norm
        self.norm1, self.conv1 = block.norm1, block.conv1
        self.time_emb_proj = block.time_emb_proj
        self.norm2, self.dropout, self.conv2 = block.norm2, block.dropout, block.conv2
        self.nonlinearity = block.nonlinearity
        self.conv_shortcut = block.conv_shortcut
        self.output_scale_factor = block.output_scale_factor

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        """Map hidden states (b f) c h w, given one timestep embedding per clip (b d)."""
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
    """A transformer block with sparse-causal self-attention and attention over time at its end.

    `attn_temp` and `norm_temp` start as copies of the spatial self-attention, with an output
    projection of zeros: nothing temporal is added before training, and no seed is needed.
    """

    def __init__(self, block: BasicTransformerBlock) -> None:
        """Take over the modules of `block` and add the temporal ones."""
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
        """Map tokens (b f) n d, given one prompt embedding per clip (b m e).

        Argument names and order are those by which diffusers' `Transformer2DModel` calls; what it
        passes as `None` stays so in a UNet of Stable Diffusion 1.x. `cross_attention_kwargs` is the
        way it leaves for others: `UNet3D` sends `past` along it.
        """
        tokens, text = hidden_states, encoder_hidden_states
        past: Past | None = (cross_attention_kwargs or {}).get("past")
        tokens = tokens + sparse_causal_attention(self.attn1, self.norm1(tokens), len(text), past)
        tokens = tokens + cross_attention(self.attn2, self.norm2(tokens), text, past)
        tokens = tokens + self.ff(self.norm3(tokens))
        return tokens + temporal_attention(self.attn_temp, self.norm_temp(tokens), len(text), past)
