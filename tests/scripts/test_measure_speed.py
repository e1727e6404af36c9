"""The speed script: its baseline computes the same, and every stage is run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_graph import fake_recorders

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_speed  # noqa: E402
from costs import flops  # noqa: E402
from costs.models import SMALL, Architecture  # noqa: E402
from speed import cpu, stages, timing  # noqa: E402
from speed.baseline import MaterialisedBlock, slow_down, train_as_published  # noqa: E402

from anamodiff.lofnet.model import build_lofnet, mini_config
from anamodiff.options import PRESETS, GenerationOptions, TuningOptions  # noqa: E402
from anamodiff.pipeline import AnaMoDiff

CPU = torch.device("cpu")
TINY = replace(SMALL, frames=2)


def clip_of(frames: int) -> Architecture:
    return replace(TINY, frames=frames)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_baseline_computes_the_same(frames):
    size = clip_of(frames)
    given = cpu.make_input(size)
    with torch.no_grad():
        ours = cpu.make_unet(size)(*given).sample
        unet = slow_down(cpu.make_unet(size))
        theirs = unet(*given).sample
        temporal = [p for name, p in unet.named_parameters() if ".attn_temp.to_out" in name]
        for parameter in temporal:
            parameter.zero_()
        without = unet(*given).sample
    assert sum(isinstance(module, MaterialisedBlock) for module in unet.modules()) == 4
    assert unet.mid_block.resnets[0].conv1.weight.is_contiguous()
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(without, ours, atol=1e-3)  # so the temporal attention was compared


@pytest.mark.parametrize(("checkpointing", "share"), [(True, 3 / 4), (False, 1)])
def test_the_baseline_has_the_published_gradients(checkpointing, share):
    """Re-entrant checkpointing leaves the way down, one block of four, without any."""
    size = clip_of(3)
    unet = slow_down(cpu.make_unet(size)).train()
    trained = train_as_published(unet, checkpointing=checkpointing)
    unet(*cpu.make_input(size)).sample.square().mean().backward()
    reached = [parameter for parameter in trained if parameter.grad is not None]
    assert len(reached) == share * len(trained) > 0


def test_a_baseline_with_other_outputs_is_caught(monkeypatch):
    monkeypatch.setattr(cpu, "slow_down", lambda unet: unet.apply(_shift))
    with pytest.raises(AssertionError, match="outputs differ"):
        cpu.forward(clip_of(3), repeats=1)


def _shift(module):
    if isinstance(module, torch.nn.LayerNorm):
        module.bias.data += 0.1


def test_the_fastest_run_counts_and_the_first_does_not(monkeypatch):
    runs, now = iter([1, 50, 5, 40, 9, 30]), [0]
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work():
        now[0] += next(runs)

    assert timing.best_of({"one": work, "other": work}, 2) == {"one": 5, "other": 30}


def test_cpu_part_prints_ratios_and_writes_all(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cpu, "SMALL", clip_of(3))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    file = tmp_path / "speed.json"
    assert measure_speed.main(["cpu", "--repeats", "1", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert all(seconds > 0 for part in figures.values() for seconds in part.values())
    ratio = figures["forward"]["baseline"] / figures["forward"]["ours"]
    printed = capsys.readouterr().out
    assert f"{ratio:.2f} times as fast as the baseline" in printed
    assert ("MISSES the bar of 3" in printed) == (ratio < 3)


def test_every_stage_of_every_preset_is_run_and_scaled(monkeypatch, capsys):
    runs = []
    fit = AnaMoDiff.fit

    def spy(self, warped, prompt, options, **settings):
        runs.append((options.iterations, options.rank))
        return fit(self, warped, prompt, options, **settings)

    monkeypatch.setattr(AnaMoDiff, "fit", spy)
    words = ["gpu", "--small", "--device", "cpu", "--iterations", "1"]
    monkeypatch.setattr(stages, "matmul_peak", lambda *_: 1e12)
    monkeypatch.setitem(PRESETS, "paper", {"generation": {"steps": 3}})
    monkeypatch.setitem(PRESETS, "fast", {"tuning": {"rank": 3}, "generation": {"steps": 2}})
    monkeypatch.setattr(measure_speed, "SMALL", TINY)
    assert measure_speed.main(words) == 0
    assert runs == [(2, 3), (1, 16), (1, 3)]  # the first one warms up
    printed = capsys.readouterr().out
    assert all(printed.count(f"  {stage}") == len(PRESETS) for stage in
               ("encode and warp", "tuning", "invert and sample", "decode"))  # fmt: skip


def test_a_graph_must_give_the_same(monkeypatch):
    mover = stages.make_mover(TINY, build_lofnet(mini_config()), CPU)
    recorders = fake_recorders(monkeypatch)
    assert set(stages.measure_graph(mover, steps=3)) == {"kernels", "cuda graph"}
    assert [recorder.asked[-1] for recorder in recorders] == ["replay"]
    invert = stages.ddim_invert
    monkeypatch.setattr(
        stages, "ddim_invert", lambda *given, **settings: (
            (1.1 if settings["cuda_graph"] else 1.0) * invert(*given, **settings)
        ),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="not close"):
        stages.measure_graph(mover, steps=3)


def test_tuning_on_a_window_costs_its_frames():
    size, generation = clip_of(6), GenerationOptions(steps=1)
    made = stages._operations(size, TuningOptions(iterations=3, window=4), generation)
    window = flops.training(size, levels="none", layers="attention", blocks="all", frames=4)
    assert made["tuning"] == 2 * 3 * window


def test_operations_are_those_of_the_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "paper", {"generation": {"steps": 4}})
    mover = stages.make_mover(TINY, build_lofnet(mini_config()), CPU)
    figures = stages.measure_preset(mover, TINY, "paper", iterations=1)
    clip = flops.training(TINY, levels="none", layers="attention", blocks="all")
    assert figures["tuning"]["operations"] == 2 * 250 * clip
    sampled = 4 * (flops.inversion_step(TINY) + flops.guided_step(TINY))
    assert figures["invert and sample"]["operations"] == sampled
    assert all(row["seconds"] > 0 for row in figures.values())
    # One iteration was run, 250 are reported.
    assert figures["tuning"]["seconds"] > 50 * figures["decode"]["seconds"]
