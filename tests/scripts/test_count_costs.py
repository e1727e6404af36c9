"""Counted costs: the counters against sums by hand, and SD v1.4 against the references."""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from costs import flops, memory  # noqa: E402
from costs.models import META, SCHEDULE, SD_V1_4, SMALL, Architecture, flash_attention  # noqa: E402

from anamodiff import half_precision
from anamodiff.backbone.memory import VRAM_PRESETS  # noqa: E402
from anamodiff.inversion.sampling import sample
from anamodiff.options import TuningOptions
from anamodiff.tuning.loop import tune
from anamodiff.unet3d.lora import trainable_parameters

TINY = Architecture(
    unet=SMALL.unet,
    vae={"sample_size": 32, "block_out_channels": (8,), "norm_num_groups": 4},
    text={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 100},
    frames=3,
    tokens=5,
)


def test_a_linear_layer_and_a_convolution_by_hand():
    linear, conv = nn.Linear(30, 20, device=META), nn.Conv2d(4, 6, 3, padding=1, device=META)
    tokens = torch.empty(7, 30, device=META, requires_grad=True)
    assert flops.count(lambda: linear(tokens)) == 2 * 7 * 30 * 20
    # Backward: once for the input, once for the weight.
    assert flops.count(lambda: linear(tokens).sum().backward()) == 3 * 2 * 7 * 30 * 20
    picture = torch.empty(2, 4, 8, 5, device=META)
    assert flops.count(lambda: conv(picture)) == 2 * (2 * 8 * 5) * (4 * 9) * 6


def test_attention_is_counted_both_ways():
    batch, heads, queries, keys, width = 2, 4, 16, 24, 8
    query = torch.empty(batch, heads, queries, width, device=META, requires_grad=True)
    key = torch.empty(batch, heads, keys, width, device=META, requires_grad=True)
    product = 2 * batch * heads * queries * keys * width
    with flash_attention():
        attend = half_precision.scaled_dot_product_attention
    assert flops.count(lambda: attend(query, key, key)) == 2 * product
    # The flash kernel's backward computes the scores again, then four gradients.
    assert flops.count(lambda: attend(query, key, key).sum().backward()) == (2 + 5) * product


def test_live_tensors_are_counted_until_they_are_freed():
    kept = torch.empty(1000, device=META)
    with memory.LiveTensors([kept]) as live:
        first = torch.empty(500, device=META)
        view = first.view(5, 100)[1:]
        assert live.now == 4 * 1500, "a view takes nothing"
        second = first + 1
        del first, second
        assert live.now == 4 * 1500, "a view holds its storage"
        del view
        assert live.now == 4 * 1000
        torch.empty(10)  # tensors of other devices do not count
    assert live.peak == 4 * 2000


def test_activations_live_until_their_backward():
    layers = nn.Sequential(*(nn.Sigmoid() for _ in range(4)))
    start = torch.empty(1000, device=META, requires_grad=True)
    with memory.LiveTensors([start]) as live:
        loss = layers(start).sum()
        assert live.now == 4 * (5 * 1000 + 1)
        loss.backward()
        del loss
    assert live.now == 4 * 2000, "the start and its gradient"


@pytest.mark.slow
def test_training_costs_follow_the_settings():
    forward = flops.forward(TINY)
    plain = flops.training(TINY, levels="none")
    top = flops.training(TINY, levels="top")
    every = flops.training(TINY, levels="all")
    assert 2 * forward < plain < top < every < plain + forward
    narrow = flops.training(TINY, levels="none", blocks="mid_up")
    assert forward < narrow < plain
    assert flops.guided_step(TINY) == 2 * forward
    assert forward / 4 < flops.inversion_step(TINY) < forward / 3
    # One iteration trains on two clips.
    more = flops.experiment(TINY, "all") - flops.experiment(TINY, "none")
    assert more == 250 * 2 * (every - plain)


@pytest.mark.slow
def test_memory_follows_the_settings():
    peaks = [memory.tuning_peak(TINY, levels=levels) for levels in ("all", "top", "none")]
    assert peaks == sorted(set(peaks))
    assert memory.tuning_peak(TINY, levels="none", clips_at_once=2) > peaks[2]
    assert memory.tuning_peak(TINY, levels="none", blocks="mid_up") < peaks[2]
    unet = TINY.make_unet(rank=16)
    trained = sum(p.numel() for _, p in trainable_parameters(unet))
    # In bf16 the UNet, in fp32 Adam's two moments and the copy that it moves.
    weights = 2 * sum(p.numel() for p in unet.parameters()) + 12 * trained
    assert peaks[0] > weights
    tuning, generation = memory.preset_peaks(TINY, VRAM_PRESETS[8])
    assert tuning == memory.tuning_peak(TINY, levels="all")
    kept = memory.preset_peaks(TINY, VRAM_PRESETS[24])
    assert kept[0] == memory.idle(TINY) + peaks[2]
    assert kept[1] >= memory.idle(TINY) + generation


def sampling_peak(frames: int, **windows: int) -> int:
    """Live bytes while a clip is sampled in two guided steps."""
    unet, text = TINY.make_unet(), TINY.embedding()
    with (
        flash_attention(),
        memory.LiveTensors(memory.tensors_of(unet)) as live,
    ):
        sample(
            unet, TINY.clips(1, frames), embedding=text, negative=text, guidance=2.0,
            schedule=SCHEDULE, steps=2, **windows,
        )  # fmt: skip
    return live.peak


@pytest.mark.slow
def test_long_clips_are_sampled_in_the_memory_of_a_window():
    """And of the keys and values of a few frames of the past."""
    window = sampling_peak(10)
    long = sampling_peak(64, window=10)
    assert long < 1.35 * window
    assert sampling_peak(64) > 3 * window
    longer = sampling_peak(164, window=10)
    assert longer - long < 5 * TINY.latents(100).nbytes, "every frame takes only its latents"


def tuning_peak(frames: int) -> int:
    """Live bytes of an iteration on two clips."""

    none = torch.zeros(())
    loss = SimpleNamespace(total=none, source=none, warped=none)  # the loop reads numbers
    unet, clips = TINY.make_unet(rank=4), [TINY.latents(frames) for _ in range(2)]
    options = TuningOptions(iterations=1, window=4)
    with (
        mock.patch("anamodiff.tuning.iteration.sum_errors", lambda *_: loss),
        flash_attention(),
        memory.LiveTensors([*memory.tensors_of(unet), *clips]) as live,
    ):
        tune(unet, *clips, TINY.embedding(), SCHEDULE, options, seed=0)
    return live.peak


def test_long_clips_are_tuned_in_the_memory_of_a_window():
    window, clips = tuning_peak(4), 2 * TINY.latents(60).nbytes
    assert tuning_peak(64) < window + 2 * clips < 1.1 * window
    assert tuning_peak(3) < 0.9 * window


def test_the_architecture_is_stable_diffusion_s():
    def size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert size(SD_V1_4.make_unet2d()) == 859_520_964
    assert size(SD_V1_4.make_vae()) == 83_653_863
    assert size(SD_V1_4.make_text_encoder()) == 123_060_480


def test_the_forward_pass_of_stable_diffusion_is_the_reference_s_less_what_we_save():
    levels = [(4096, 320, 5), (1024, 640, 5), (256, 1280, 5), (64, 1280, 1)]
    # In Tune-A-Video frames 0 and 1 attend to the first frame's keys twice, and nine more frames
    # project 77 tokens of width 768 to keys and values.
    keys = sum(2 * 4 * places**2 * width * blocks for places, width, blocks in levels)
    prompts = 9 * sum(2 * 2 * 77 * 768 * width * blocks for _, width, blocks in levels)
    assert flops.forward(SD_V1_4) + keys + prompts == pytest.approx(9.77e12, rel=1e-3)
    assert flops.encoding(SD_V1_4) == pytest.approx(1.12e12, rel=5e-3)
    assert flops.decoding(SD_V1_4) == pytest.approx(2.51e12, rel=5e-3)


@pytest.mark.slow
def test_gradients_arrive_everywhere_in_stable_diffusion():
    """Published Tune-A-Video, with re-entrant checkpointing: in 70 of its 112 trained tensors."""
    unet = SD_V1_4.make_unet(rank=16).train()
    unet.checkpoint_gradients("all")
    unet(SD_V1_4.clips(1), 500, SD_V1_4.embedding()).sample.sum().backward()
    trained = trainable_parameters(unet)
    assert len(trained) == 16 * (2 * 4 * 2 + 5 + 2)
    assert not [name for name, parameter in trained if parameter.grad is None]


@pytest.mark.slow
def test_presets_keep_within_their_bars():
    from count_costs import BARS

    for vram, bars in BARS.items():
        for layers in ("attention", "all"):
            peaks = memory.preset_peaks(SD_V1_4, VRAM_PRESETS[vram], layers=layers)
            assert all(peak <= bar * memory.GIB for peak, bar in zip(peaks, bars, strict=True))


def test_the_smallest_preset_keeps_within_its_bar():
    assert memory.tuning_peak(SD_V1_4, levels="all") <= 6 * memory.GIB


def test_the_report_has_a_line_for_each_figure(monkeypatch, capsys):
    import count_costs

    monkeypatch.setattr(count_costs, "SD_V1_4", TINY)
    monkeypatch.setattr(count_costs, "FLOPS", count_costs.FLOPS[:2])
    monkeypatch.setattr(count_costs, "LIVE", {"all": 5})
    monkeypatch.setattr(count_costs, "VRAM_PRESETS", {8: VRAM_PRESETS[8]})
    monkeypatch.setattr(count_costs, "LAYERS", ("attention",))
    assert count_costs.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (1 + 2) + (1 + 1 + 1)
    assert any(line.startswith("--vram 8 ") and "bars: 6 and 6" in line for line in lines)
    count_costs.main(["flops"])
    assert "--vram" not in capsys.readouterr().out
