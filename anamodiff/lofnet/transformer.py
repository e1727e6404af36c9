"""The parts of transformers that joint detector and retargeting share."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class TransformerBlock(nn.Module):
    """Self-attention between all tokens, then a two-layer network; both normalised first.

    Args:
        features: width of the tokens.
        heads: of the attention.
        expansion: width of the two-layer network, in `features`.
    """

    def __init__(self, features: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(features), nn.LayerNorm(features)
        self.to_qkv = nn.Linear(features, 3 * features)
        self.to_out = nn.Linear(features, features)
        self.mlp = nn.Sequential(
            nn.Linear(features, expansion * features),
            nn.GELU(),
            nn.Linear(expansion * features, features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``b n d -> b n d``."""
        parts = rearrange(self.to_qkv(self.norm(x)), "b n (s h d) -> s b h n d", s=3, h=self.heads)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))
        x = x + self.to_out(rearrange(mixed, "b h n d -> b n (h d)"))
        return x + self.mlp(self.norm_mlp(x))


def reader(inputs: int, features: int) -> nn.Sequential:
    """A two-layer network from what is read of a frame to its token."""
    return nn.Sequential(nn.Linear(inputs, features), nn.GELU(), nn.Linear(features, features))
