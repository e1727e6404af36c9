"""The three attentions of a video transformer block, as functions of projections and tokens.

Each takes a diffusers `Attention` only for its projections (which peft may have wrapped) and its
number of heads. Tokens are `(b f) n d`: frames folded into the batch, n = height times width.
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from anamodiff.unet3d.past import Past


def sparse_causal_attention(
    attn: Attention, tokens: Tensor, clips: int, past: Past | None = None
) -> Tensor:
    """Every frame looks at the first frame and at the one before it (Tune-A-Video, equation 6).

    Frames 0 and 1 would see the first frame twice, which changes no softmax average, so they see
    it once.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        clips: b.
        past: frames before these ones, which are then not the clip's first.

    Returns:
        Tokens of the same shape.
    """
    query, key, value = (
        rearrange(project(tokens), "(b f) n d -> b f n d", b=clips)
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    alone = 2  # frames that see the first one only
    if past is not None:
        key, value = past.recall(attn, key, value, dim=1, last=1)
        alone = max(0, alone - (key.shape[1] - query.shape[1]))
    mixed = []
    if alone:
        mixed.append(_attend(attn, query[:, :alone], key[:, 0], value[:, 0]))
    if query.shape[1] > alone:
        later = rearrange(query[:, alone:], "b f n d -> (b f) 1 n d")
        later = _attend(attn, later, _first_and_previous(key), _first_and_previous(value))
        mixed.append(rearrange(later, "(b f) 1 n d -> b f n d", b=clips))
    mixed = torch.cat(mixed, dim=1)
    return _project_out(attn, rearrange(mixed, "b f n d -> (b f) n d"))


def cross_attention(
    attn: Attention, tokens: Tensor, text: Tensor, past: Past | None = None
) -> Tensor:
    """Every token looks at its clip's prompt.

    The frames of a clip become further queries to one set of keys, so that the prompt is neither
    repeated nor projected once per frame.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        text: b m e, the prompt's m token embeddings.
        past: has the prompt's keys and values, or keeps them.

    Returns:
        Tokens of the same shape.
    """
    query = rearrange(attn.to_q(tokens), "(b f) n d -> b f n d", b=len(text))
    key, value = (past or Past()).of_prompts(attn, text)
    mixed = _attend(attn, query, key, value)
    return _project_out(attn, rearrange(mixed, "b f n d -> (b f) n d"))


def temporal_attention(
    attn: Attention, tokens: Tensor, clips: int, past: Past | None = None
) -> Tensor:
    """Every token looks at the same place in all frames of its clip; no positional code.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        clips: b.
        past: frames before these ones, which are looked at, too.

    Returns:
        Tokens of the same shape.
    """
    past = past or Past()
    if len(tokens) == clips and not past.overlap:
        # A single frame attends to itself with weight one.
        return _project_out(attn, attn.to_v(tokens))
    query, key, value = (
        rearrange(
            project(tokens), "(b f) n (heads d) -> (b n) heads f d", b=clips, heads=attn.heads
        )
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    key, value = past.recall(attn, key, value, dim=2, last=past.overlap)
    mixed = scaled_dot_product_attention(query, key, value)
    return _project_out(attn, rearrange(mixed, "(b n) heads f d -> (b f) n (heads d)", b=clips))


def _attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of all queries (b f n d) of a clip to one set of keys and values (b m d)."""
    frames = query.shape[1]
    query = rearrange(query, "b f n (heads d) -> b heads (f n) d", heads=attn.heads)
    key, value = (
        rearrange(x, "b m (heads d) -> b heads m d", heads=attn.heads) for x in (key, value)
    )
    mixed = scaled_dot_product_attention(query, key, value)
    return rearrange(mixed, "b heads (f n) d -> b f n (heads d)", f=frames)


def _first_and_previous(tokens: Tensor) -> Tensor:
    """Tokens (b f n d) that frames 2, 3, ... look at: ((b f-2) 2n d)."""
    previous = tokens[:, 1:-1]
    first = tokens[:, :1].expand_as(previous)
    return rearrange([first, previous], "two b f n d -> (b f) (two n) d")


def _project_out(attn: Attention, tokens: Tensor) -> Tensor:
    linear, dropout = attn.to_out
    return dropout(linear(tokens))
