"""Operations that a CPU computes sooner in fp32 than in bf16, for tensors of any format."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: With so few keys or fewer, attention in bf16 takes a CPU longer than in fp32; its backward pass
#: twice to five times as long (`docs/performance.md`).
FEW_KEYS = 256


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention ``... n d`` of queries ``... n d`` to keys and values ``... m d``."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[-2] <= FEW_KEYS:
        whole = (x.float() for x in (query, key, value))
        return scaled_dot_product_attention(*whole).to(query.dtype)
    return scaled_dot_product_attention(query, key, value)


def group_norm(norm: nn.GroupNorm, hidden: Tensor) -> Tensor:
    """The group norm of `hidden` ``b c ...``.

    On a CPU its backward pass takes three times as long in bf16 as in fp32.
    """
    if hidden.device.type != "cpu" or hidden.dtype != torch.bfloat16:
        return F.group_norm(hidden, norm.num_groups, norm.weight, norm.bias, norm.eps)
    whole, weight, bias = (x.float() for x in (hidden, norm.weight, norm.bias))
    return F.group_norm(whole, norm.num_groups, weight, bias, norm.eps).to(hidden.dtype)
