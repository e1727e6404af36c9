"""Keys and values cached between calls: windows against the whole clip, prompts once."""

import pytest
import torch
from einops import rearrange
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.unet3d.attention import sparse_causal_attention, temporal_attention
from anamodiff.unet3d.kv_cache import KeyValueCache
from anamodiff.unet3d.model import UNet3D, inflate

RUNS = (slice(0, 4), slice(4, 7), slice(7, 8))


def in_windows(unet: UNet3D, clip: Tensor, text: Tensor, overlap: int = 2) -> Tensor:
    cache = KeyValueCache(overlap)
    parts = [unet(clip[:, :, run], 500, text, cache=cache).sample for run in RUNS]
    return torch.cat(parts, dim=2)


@torch.no_grad()
def test_windows_are_the_whole_clip_where_nothing_is_temporal(unet2d, randn) -> None:
    """Frames attend to frame 0 and the one before them, whose keys are cached, also in pairs."""
    unet = inflate(unet2d(), "per_frame")
    clip, text = randn(2, 4, 8, 8, 8), randn(2, 5, 12)
    whole = unet(clip, 500, text).sample
    torch.testing.assert_close(in_windows(unet, clip, text), whole, atol=1e-5, rtol=1e-5)
    alone = torch.cat([unet(clip[:, :, run], 500, text).sample for run in RUNS], dim=2)
    assert (alone - whole)[:, :, 4:].abs().max() > 1e-2
    torch.testing.assert_close(alone[:, :, :4], whole[:, :, :4], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_window_is_the_clip(unet2d, randn, stirred) -> None:
    """Bit by bit, at every call, prompts and all."""
    unet = stirred(inflate(unet2d()))
    cache, text = KeyValueCache(), randn(2, 5, 12)
    for seed in range(2):
        clip = randn(2, 4, 3, 8, 8, seed=seed)
        assert torch.equal(unet(clip, 500, text, cache=cache).sample, unet(clip, 500, text).sample)


@torch.no_grad()
def test_prompts_are_projected_once(unet2d, randn) -> None:
    unet, cache, text = inflate(unet2d()), KeyValueCache(2), randn(1, 5, 12)
    calls = []
    crosses = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    for attn in crosses:
        for project in (attn.to_k, attn.to_v):
            project.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        cache.clear_frames()
        for _ in range(2):
            unet(randn(1, 4, 3, 8, 8), 500, text, cache=cache)
    assert len(calls) == 2 * len(crosses) == 8
    unet(randn(1, 4, 3, 8, 8), 500, text)
    assert len(calls) == 16


@torch.no_grad()
def test_frames_are_cleared_between_steps(unet2d, randn, stirred) -> None:
    unet, cache = stirred(inflate(unet2d())), KeyValueCache(2)
    clip, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12)
    first = unet(clip, 500, text, cache=cache).sample
    later = unet(clip, 500, text, cache=cache).sample
    cache.clear_frames()
    assert torch.equal(unet(clip, 500, text, cache=cache).sample, first)
    assert (later - first).abs().max() > 1e-3


@pytest.mark.parametrize("attention", [sparse_causal_attention, temporal_attention])
@pytest.mark.parametrize("runs", [(3, 2), (1, 2, 2), (2, 1, 1, 1)])
@torch.no_grad()
def test_remembered_frames_are_attended_to(unet2d, randn, stirred, attention, runs) -> None:
    """With all frames remembered, the last ones get what they would get in the whole clip."""
    block = stirred(inflate(unet2d())).mid_block.attentions[0].transformer_blocks[0]
    attn = block.attn1 if attention is sparse_causal_attention else block.attn_temp
    tokens = randn(2, 5, 6, 16)
    whole = attention(attn, rearrange(tokens, "b f n d -> (b f) n d"), 2)
    cache = KeyValueCache(4)
    for part in tokens.split(runs, dim=1):
        got = attention(attn, rearrange(part, "b f n d -> (b f) n d"), 2, cache)
    last = rearrange(whole, "(b f) n d -> b f n d", b=2)[:, -runs[-1] :]
    torch.testing.assert_close(got, rearrange(last, "b f n d -> (b f) n d"))


@torch.no_grad()
def test_only_frame_0_and_the_overlap_are_kept(unet2d, randn, stirred) -> None:
    attn = stirred(inflate(unet2d())).mid_block.attentions[0].transformer_blocks[0].attn_temp
    tokens, cache = randn(1, 9, 6, 16), KeyValueCache(2)
    for part in tokens[:, :8].split(4, dim=1):
        temporal_attention(attn, part[0], 1, cache)
    got = temporal_attention(attn, tokens[0, 8:], 1, cache)
    cached = tokens[0, [0, 6, 7, 8]]
    torch.testing.assert_close(got, temporal_attention(attn, cached, 1)[3:])


def test_a_cache_and_gradients_exclude_each_other(unet2d, randn) -> None:
    with pytest.raises(AnaMoDiffError, match=r"no cache where gradients .* torch.no_grad\(\)"):
        inflate(unet2d())(randn(1, 4, 2, 8, 8), 500, randn(1, 5, 12), cache=KeyValueCache())
