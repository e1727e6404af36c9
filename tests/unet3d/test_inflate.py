"""Inflating: what stays equal, what is added, and whether gradients arrive."""

import pytest
import torch
from einops import rearrange

from anamodiff.errors import AnaMoDiffError
from anamodiff.unet3d.attention import sparse_causal_attention, temporal_attention
from anamodiff.unet3d.blocks import VideoResnetBlock, clip_group_norm
from anamodiff.unet3d.lora import add_lora, trainable_parameters
from anamodiff.unet3d.model import inflate

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
            context = torch.cat([tokens[clip, 0], tokens[clip, max(frame - 1, 0)]])
            mixed = attend(
                attn.to_q(tokens[clip, frame]), attn.to_k(context), attn.to_v(context), attn.heads
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
            context = tokens[clip, :, place]
            mixed = attend(attn.to_q(context), attn.to_k(context), attn.to_v(context), attn.heads)
            expected[clip, :, place] = attn.to_out[0](mixed)
    got = temporal_attention(attn, rearrange(tokens, "b f n d -> (b f) n d"), 2)
    torch.testing.assert_close(got, rearrange(expected, "b f n d -> (b f) n d"))


@pytest.mark.parametrize("checkpointing", ["none", "top", "all"])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_every_trained_tensor_gets_a_gradient(
    unet2d, randn, stirred, checkpointing: str, layers: str
) -> None:
    unet = inflate(unet2d()).train()
    add_lora(unet, rank=2, layers=layers)
    stirred(unet)  # while one factor of LoRA is zero, the other has none
    unet.checkpoint_gradients(checkpointing)
    unet(randn(2, 4, 3, 8, 8), 500, randn(2, 5, 12)).sample.square().mean().backward()
    trained = trainable_parameters(unet)
    blocks = 3 + 1  # transformers with one block each: down, mid, up twice
    resnets = 2 + 2 + 4  # down, mid, up
    others = 2 * (blocks * 4 + resnets * 2) if layers == "all" else 0
    assert len(trained) == blocks * (2 * 4 * 2 + 5 + 2) + others
    assert not [n for n, p in trained if p.grad is None or p.grad.abs().max() == 0]
    assert not [n for n, p in unet.named_parameters() if not p.requires_grad and p.grad is not None]


def test_checkpointing_recomputes_the_same_clip(unet2d, randn, stirred) -> None:
    """Even when a clip of another length went through in between."""
    gradients = []
    for checkpointing in ("none", "top", "all"):
        unet = inflate(unet2d()).train()
        add_lora(unet, rank=2)
        stirred(unet).checkpoint_gradients(checkpointing)
        loss = unet(randn(2, 4, 3, 8, 8), 500, randn(2, 5, 12)).sample.square().mean()
        unet(randn(1, 4, 5, 8, 8), 20, randn(1, 5, 12))
        loss.backward()
        gradients.append([parameter.grad for _, parameter in trainable_parameters(unet)])
    for plain, top, all_levels in zip(*gradients, strict=True):
        torch.testing.assert_close(top, plain)
        torch.testing.assert_close(all_levels, plain)


@pytest.mark.parametrize(
    ("levels", "twice"),
    [
        ("none", set()),
        ("top", {"down 0", "up 1"}),
        ("all", {"down 0", "down 1", "mid", "up 0", "up 1"}),
    ],
)
def test_only_the_chosen_levels_are_computed_twice(unet2d, randn, levels: str, twice: set) -> None:
    unet = inflate(unet2d()).train()
    add_lora(unet, rank=2, layers="all")
    unet.checkpoint_gradients("all")
    unet.checkpoint_gradients(levels)
    blocks = {"down 0": unet.down_blocks[0], "down 1": unet.down_blocks[1], "mid": unet.mid_block}
    blocks |= {"up 0": unet.up_blocks[0], "up 1": unet.up_blocks[1]}
    calls = dict.fromkeys(blocks, 0)
    for name, block in blocks.items():
        block.resnets[-1].register_forward_pre_hook(
            lambda *_, n=name: calls.update({n: calls[n] + 1})
        )
    unet(randn(1, 4, 3, 8, 8), 500, randn(1, 5, 12)).sample.square().mean().backward()
    assert calls == {name: 1 + (name in twice) for name in blocks}


def test_levels_have_names(unet2d) -> None:
    with pytest.raises(AnaMoDiffError, match="'none', 'top' or 'all', got 'bottom'"):
        inflate(unet2d()).checkpoint_gradients("bottom")


@pytest.mark.parametrize("checkpointing", ["none", "all"])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_nothing_before_the_first_trained_layer_enters_autograd(
    unet2d, randn, stirred, checkpointing: str, layers: str
) -> None:
    unet = inflate(unet2d()).train()
    add_lora(unet, rank=2, blocks="mid_up", layers=layers)
    stirred(unet).checkpoint_gradients(checkpointing)
    down: list[torch.Tensor] = []
    for block in unet.down_blocks:
        block.register_forward_hook(lambda _, __, out: down.extend([out[0], *out[1]]))
    loss = unet(randn(2, 4, 3, 8, 8), 500, randn(2, 5, 12)).sample.square().mean()
    assert len(down) == 2 + 2 + 1  # the outputs of two blocks, and the skips of each
    assert not [hidden for hidden in down if hidden.requires_grad]
    loss.backward()
    trained = trainable_parameters(unet)
    assert {name.split(".")[0] for name, _ in trained} == {"mid_block", "up_blocks"}
    assert not [n for n, p in trained if p.grad is None or p.grad.abs().max() == 0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift"),
        ({"down_block_types": ("AttnDownBlock2D", "DownBlock2D")}, "AttnDownBlock2D"),
    ],
)
def test_other_unets_are_refused_by_name(unet2d, change: dict, named: str) -> None:
    other = unet2d(**change)
    with pytest.raises(AnaMoDiffError, match=named):
        inflate(other)


def test_unknown_group_norm_is_refused(unet2d) -> None:
    with pytest.raises(AnaMoDiffError, match="per_frame"):
        inflate(unet2d(), "frame")
