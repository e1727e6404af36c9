"""Inflating: what stays equal, what is added, and whether gradients arrive."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from einops import rearrange

from anamodiff.errors import AnaMoDiffError
from anamodiff.unet3d import add_lora, inflate, trainable_parameters
from anamodiff.unet3d.attention import sparse_causal_attention, temporal_attention
from anamodiff.unet3d.blocks import VideoResnetBlock, clip_group_norm

MODES = ["pooled", "per_frame"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [8, 7])
@torch.no_grad()
def test_one_frame_equals_the_2d_unet(unet2d, randn, mode: str, size: int) -> None:
    """Also at a size that does not halve evenly."""
    sample, text = randn(2, 4, size, size), randn(2, 5, 12)
    expected = unet2d()(sample, torch.tensor([3, 800]), text).sample
    got = inflate(unet2d(), mode)(sample[:, :, None], torch.tensor([3, 800]), text).sample
    torch.testing.assert_close(got[:, :, 0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_a_still_clip_equals_its_frame(unet2d, randn, mode: str) -> None:
    """Equal frames have the statistics and the keys of one, and no temporal part is added yet."""
    sample, text = randn(1, 4, 8, 8), randn(1, 5, 12)
    expected = unet2d()(sample, 500, text).sample
    clip = sample[:, :, None].expand(-1, -1, 4, -1, -1)
    got = inflate(unet2d(), mode)(clip, 500, text).sample
    torch.testing.assert_close(got, expected[:, :, None].expand_as(got), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_modes_differ_on_a_moving_clip(unet2d, randn) -> None:
    clip, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12)
    clip[:, :, 1] *= 5
    pooled, per_frame = (inflate(unet2d(), mode)(clip, 500, text).sample for mode in MODES)
    assert (pooled - per_frame).abs().max() > 1e-2


@torch.no_grad()
def test_pooled_norm_is_the_norm_of_the_whole_clip(randn) -> None:
    norm = torch.nn.GroupNorm(4, 8)
    norm.weight.copy_(randn(8))
    clip = randn(2, 8, 3, 5, 6)
    folded = rearrange(clip, "b c f h w -> (b f) c h w")
    got = rearrange(clip_group_norm(norm, folded, 2), "(b f) c h w -> b c f h w", b=2)
    torch.testing.assert_close(got, norm(clip), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_only_pooled_residual_blocks_mix_frames(unet2d, randn) -> None:
    block = unet2d().mid_block.resnets[0]
    hidden, time = randn(6, 16, 4, 4), randn(2, 32)
    hidden[1] *= 5
    expected = block(hidden, time.repeat_interleave(3, dim=0))
    per_frame, pooled = (VideoResnetBlock(block, mode)(hidden, time) for mode in MODES[::-1])
    torch.testing.assert_close(per_frame, expected)
    assert (pooled - expected).abs().max() > 1e-2


def test_weights_are_taken_over_not_copied(unet2d) -> None:
    flat = unet2d()
    weight = flat.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight
    inflated = inflate(flat)
    assert inflated.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight is weight


def test_inflating_twice_gives_the_same_weights(unet2d) -> None:
    first, second = inflate(unet2d()).state_dict(), inflate(unet2d()).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention (n d) with its matrix written out."""
    query, key, value = (rearrange(x, "n (h d) -> h n d", h=heads) for x in (query, key, value))
    weights = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)
    return rearrange(weights @ value, "h n d -> n (h d)")


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@torch.no_grad()
def test_sparse_causal_attention_by_hand(unet2d, randn, frames: int) -> None:
    attn = inflate(unet2d()).mid_block.attentions[0].transformer_blocks[0].attn1
    tokens = randn(2, frames, 6, 16)
    expected = torch.empty_like(tokens)
    for clip in range(2):
        for frame in range(frames):
            seen = torch.cat([tokens[clip, 0], tokens[clip, max(frame - 1, 0)]])
            mixed = attend(
                attn.to_q(tokens[clip, frame]), attn.to_k(seen), attn.to_v(seen), attn.heads
            )
            expected[clip, frame] = attn.to_out[0](mixed)
    got = sparse_causal_attention(attn, rearrange(tokens, "b f n d -> (b f) n d"), 2)
    torch.testing.assert_close(got, rearrange(expected, "b f n d -> (b f) n d"))


@pytest.mark.parametrize("frames", [1, 4])
@torch.no_grad()
def test_temporal_attention_by_hand(unet2d, randn, stirred, frames: int) -> None:
    attn = stirred(inflate(unet2d())).mid_block.attentions[0].transformer_blocks[0].attn_temp
    tokens = randn(2, frames, 6, 16)
    expected = torch.empty_like(tokens)
    for clip in range(2):
        for place in range(6):
            seen = tokens[clip, :, place]
            mixed = attend(attn.to_q(seen), attn.to_k(seen), attn.to_v(seen), attn.heads)
            expected[clip, :, place] = attn.to_out[0](mixed)
    got = temporal_attention(attn, rearrange(tokens, "b f n d -> (b f) n d"), 2)
    torch.testing.assert_close(got, rearrange(expected, "b f n d -> (b f) n d"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_trained_tensor_gets_a_gradient(unet2d, randn, stirred, checkpointing: bool) -> None:
    unet = inflate(unet2d()).train()
    add_lora(unet, rank=2)
    stirred(unet)
    unet.enable_gradient_checkpointing(checkpointing)
    unet(randn(2, 4, 3, 8, 8), 500, randn(2, 5, 12)).sample.square().mean().backward()
    trained = trainable_parameters(unet)
    blocks = 3 + 1  # transformers with one block each: down, mid, up twice
    assert len(trained) == blocks * (2 * 4 * 2 + 5 + 2)
    assert not [n for n, p in trained if p.grad is None or p.grad.abs().max() == 0]
    assert not [n for n, p in unet.named_parameters() if not p.requires_grad and p.grad is not None]


def test_checkpointing_recomputes_the_same_clip(unet2d, randn, stirred) -> None:
    """Even when a clip of another length went through in between."""
    gradients = []
    for checkpointing in (False, True):
        unet = inflate(unet2d()).train()
        add_lora(unet, rank=2)
        stirred(unet).enable_gradient_checkpointing(checkpointing)
        loss = unet(randn(2, 4, 3, 8, 8), 500, randn(2, 5, 12)).sample.square().mean()
        unet(randn(1, 4, 5, 8, 8), 20, randn(1, 5, 12))
        loss.backward()
        gradients.append([parameter.grad for _, parameter in trainable_parameters(unet)])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift"),
        ({"down_block_types": ("AttnDownBlock2D", "DownBlock2D")}, "AttnDownBlock2D"),
    ],
)
def test_other_unets_are_refused_by_name(change: dict, named: str) -> None:
    config = {
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "norm_num_groups": 4,
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
    }
    with pytest.raises(AnaMoDiffError, match=named):
        inflate(UNet2DConditionModel(**config | change))


def test_unknown_group_norm_is_refused(unet2d) -> None:
    with pytest.raises(AnaMoDiffError, match="per_frame"):
        inflate(unet2d(), "frame")
