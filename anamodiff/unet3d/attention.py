"""The three attentions of a video transformer block, as functions of projections and tokens.

Of a diffusers `Attention` they use only the projections (which peft may have wrapped) and the
number of heads. Tokens are `(b f) n d`: frames folded into the batch, n = height times width.
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor

from anamodiff.half_precision import attention
from anamodiff.unet3d.kv_cache import KeyValueCache


def sparse_causal_attention(
    attn: Attention, tokens: Tensor, clips: int, cache: KeyValueCache | None = None
) -> Tensor:
    """Every frame attends to the first and to the previous frame (Tune-A-Video, equation 6).

    Frames 0 and 1 attend to the first frame once: the same keys twice give the same average.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        clips: b.
        cache: of the frames before these; without any, these begin with frame 0.

    Returns:
        Tokens of the same shape.
    """
    query, key, value = (
        rearrange(project(tokens), "(b f) n d -> b f n d", b=clips)
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    first = 2  # frames that attend to frame 0 only
    if cache is not None:
        key, value = cache.extend_with_cached(attn, key, value, dim=1, last=1)
        first = max(0, first - (key.shape[1] - query.shape[1]))
    mixed = []
    if first:
        mixed.append(_attend(attn, query[:, :first], key[:, 0], value[:, 0]))
    if query.shape[1] > first:
        later = rearrange(query[:, first:], "b f n d -> (b f) 1 n d")
        later = _attend(attn, later, _first_and_previous(key), _first_and_previous(value))
        mixed.append(rearrange(later, "(b f) 1 n d -> b f n d", b=clips))
    mixed = torch.cat(mixed, dim=1)
    return _project_out(attn, rearrange(mixed, "b f n d -> (b f) n d"))


def cross_attention(
    attn: Attention, tokens: Tensor, text: Tensor, cache: KeyValueCache | None = None
) -> Tensor:
    """Every token attends to its clip's prompt.

    All frames of a clip are queries to one set of keys, so that the prompt is neither repeated nor
    projected for each frame.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        text: b m e, the prompt's m token embeddings.
        cache: of the prompt's keys and values.

    Returns:
        Tokens of the same shape.
    """
    query = rearrange(attn.to_q(tokens), "(b f) n d -> b f n d", b=len(text))
    key, value = (cache or KeyValueCache()).prompt_keys_values(attn, text)
    mixed = _attend(attn, query, key, value)
    return _project_out(attn, rearrange(mixed, "b f n d -> (b f) n d"))


def temporal_attention(
    attn: Attention, tokens: Tensor, clips: int, cache: KeyValueCache | None = None
) -> Tensor:
    """Every token attends to its position in all frames of its clip; no positional encoding.

    Args:
        attn: projections and heads.
        tokens: (b f) n d.
        clips: b.
        cache: of the frames before these, which are attended to, too.

    Returns:
        Tokens of the same shape.
    """
    cache = cache or KeyValueCache()
    if len(tokens) == clips and not cache.overlap:
        # A single frame attends to itself with weight one.
        return _project_out(attn, attn.to_v(tokens))
    query, key, value = (
        rearrange(
            project(tokens), "(b f) n (heads d) -> (b n) heads f d", b=clips, heads=attn.heads
        )
        for project in (attn.to_q, attn.to_k, attn.to_v)
    )
    key, value = cache.extend_with_cached(attn, key, value, dim=2, last=cache.overlap)
    mixed = attention(query, key, value)
    return _project_out(attn, rearrange(mixed, "(b n) heads f d -> (b f) n (heads d)", b=clips))


def _attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of all queries (b f n d) of a clip to one set of keys and values (b m d)."""
    frames = query.shape[1]
    query = rearrange(query, "b f n (heads d) -> b heads (f n) d", heads=attn.heads)
    key, value = (
        rearrange(x, "b m (heads d) -> b heads m d", heads=attn.heads) for x in (key, value)
    )
    mixed = attention(query, key, value)
    return rearrange(mixed, "b heads (f n) d -> b f n (heads d)", f=frames)


def _first_and_previous(tokens: Tensor) -> Tensor:
    """Of tokens b f n d those that frames 2, 3, ... attend to: (b f-2) 2n d."""
    previous = tokens[:, 1:-1]
    first = tokens[:, :1].expand_as(previous)
    return rearrange([first, previous], "two b f n d -> (b f) (two n) d")


def _project_out(attn: Attention, tokens: Tensor) -> Tensor:
    linear, dropout = attn.to_out
    return dropout(linear(tokens))
