"""Training: the loss falls, killed runs resume identically, errors are one line."""

import errno
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lofnet_samples import TINY, latent_clips
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.lofnet.training import losses, train, trainer
from anamodiff.lofnet.training.cache import cache_latents
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.lofnet.training.report import measure
from anamodiff.lofnet.training.train import train_lofnet
from anamodiff.warp import identity_grid

QUIET = {"config": TINY, "progress": False, "held_out": 0.0, "warmup": 2}


@pytest.fixture
def clips(folder: Path, backbone, tmp_path: Path) -> LatentClips:
    return cache_latents(folder, backbone=backbone, cache=tmp_path / "latents", progress=False)


def lines_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    once, twice = LOFNet.load(one).state_dict(), LOFNet.load(other).state_dict()
    return all(torch.equal(once[name], twice[name]) for name in once)


class Killed(Exception):
    pass


def kill_at(step: int):
    def check(now: int, figures: dict[str, float]) -> None:
        if now == step:
            raise Killed

    return check


def test_training_learns_to_follow_the_disc(clips: LatentClips, backbone, tmp_path: Path) -> None:
    output = train_lofnet(
        clips, backbone=backbone, output=tmp_path / "run", steps=60, batch_size=8, lr=3e-3,
        average=0.9, equivariance=1.0, measure_every=30, log_every=10, **QUIET,
    )  # fmt: skip
    trained = LOFNet.load(output)
    assert trained.latents == backbone.latent_space, "it says for which latents it was trained"
    figures = measure(trained, clips)
    assert figures["held_out_ratio"] < 0.7  # an untrained network leaves the source: 1.0
    lines = lines_of(output)
    assert [line["step"] for line in lines if "loss" in line] == list(range(10, 61, 10))
    assert lines[-1]["held_out_ratio"] == pytest.approx(figures["held_out_ratio"], rel=1e-3)
    assert {"lr", "pairs_per_second", "equivariance_value"} <= lines[0].keys()
    assert [file.name for file in (output / "pictures").iterdir()] == ["000060.png"]


def test_killed_and_resumed_ends_with_the_same_weights(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    options = {"backbone": backbone, "steps": 6, "batch_size": 2, "log_every": 1, **QUIET}
    whole = train_lofnet(clips, output=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train_lofnet(
            clips, output=tmp_path / "cut", save_every=3, on_step=kill_at(4), **options
        )  # fmt: skip
    with pytest.raises(AnaMoDiffError, match="resume it or choose another"):
        train_lofnet(clips, output=tmp_path / "cut", **options)
    cut = train_lofnet(clips, output=tmp_path / "cut", resume=True, **options)
    assert same_weights(whole, cut)
    losses = [[line["loss"] for line in lines_of(run) if "loss" in line] for run in (whole, cut)]
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_a_trained_network_is_trained_on(clips: LatentClips, backbone, tmp_path: Path) -> None:
    options = {"backbone": backbone, "batch_size": 8, "lr": 3e-3, "average": 0.9, **QUIET}
    first = train_lofnet(clips, output=tmp_path / "first", steps=40, **options)
    before = measure(LOFNet.load(first), clips)["held_out_ratio"]
    options["config"] = None  # its own is taken
    again = train_lofnet(clips, output=tmp_path / "again", start=first, steps=1, **options)
    assert LOFNet.load(again).config == LOFNet.load(first).config
    assert measure(LOFNet.load(again), clips)["held_out_ratio"] < before + 0.1 < 1
    with pytest.raises(AnaMoDiffError, match="got both"):
        train_lofnet(clips, output=tmp_path / "both", start=first, detector="fomm", **options)
    five = TINY | {"dense_motion": TINY["dense_motion"] | {"num_channels": 5}}
    build_lofnet(five).save(tmp_path / "five")
    with pytest.raises(AnaMoDiffError, match="for 4 latent channels in lofnet.start, .* is for 5"):
        train_lofnet(clips, output=tmp_path / "other", start=tmp_path / "five", **options)


def test_muon_learns_and_is_resumed_alike(clips: LatentClips, backbone, tmp_path: Path) -> None:
    options = {
        "backbone": backbone, "optimiser": "muon", "steps": 30, "batch_size": 8, "lr": 3e-3,
        "average": 0.9, "log_every": 1, **QUIET,
    }  # fmt: skip
    whole = train_lofnet(clips, output=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train_lofnet(
            clips, output=tmp_path / "cut", save_every=3, on_step=kill_at(4), **options
        )  # fmt: skip
    with pytest.raises(AnaMoDiffError, match="training.optimiser=adam, .* has muon"):
        train_lofnet(
            clips, output=tmp_path / "cut", resume=True, **(options | {"optimiser": "adam"})
        )  # fmt: skip
    cut = train_lofnet(clips, output=tmp_path / "cut", resume=True, **options)
    assert same_weights(whole, cut)
    assert measure(LOFNet.load(whole), clips)["held_out_ratio"] < 0.9


def test_all_options_at_once_are_resumed_alike(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    options = {
        "steps": 6, "batch_size": 4, "log_every": 1, "measure_every": 1, "colour_jitter": 0.1,
        "size_jitter": 0.2, "far": 1, "max_distance": 4, "balance": 0.5, "patience": 9,
    }  # fmt: skip
    options |= {"backbone": backbone, **QUIET}
    whole = train_lofnet(clips, output=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train_lofnet(clips, output=tmp_path / "cut", save_every=2, on_step=kill_at(5), **options)
    cut = train_lofnet(clips, output=tmp_path / "cut", resume=True, **options)
    assert same_weights(whole, cut)
    strip = {"seconds", "pairs_per_second"}
    lines = [[{k: v for k, v in line.items() if k not in strip} for line in lines_of(run)]
             for run in (whole, cut)]  # fmt: skip
    assert lines[0] == lines[1] and len(lines[0]) == 12


def test_training_stops_early_and_keeps_the_best(
    clips: LatentClips, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    ratios = [0.9, 0.5, 0.7, float("nan"), 0.6, 0.1]
    states: list[dict] = []

    def measured(lofnet: LOFNet, held_out: LatentClips) -> dict[str, float]:
        states.append({name: value.clone() for name, value in lofnet.state_dict().items()})
        return {"held_out_ratio": ratios[len(states) - 1]}

    monkeypatch.setattr(train, "measure", measured)
    options = {"backbone": backbone, "steps": 99, "batch_size": 2, "measure_every": 2, **QUIET}
    options |= {"patience": 3, "save_every": 2, "log_every": 2}
    with pytest.raises(Killed):
        train_lofnet(clips, output=tmp_path / "run", on_step=kill_at(7), **options)
    with caplog.at_level(logging.INFO):
        output = train_lofnet(clips, output=tmp_path / "run", resume=True, **options)
    assert [line["step"] for line in lines_of(output) if "held_out_ratio" in line] == [
        2,
        4,
        6,
        8,
        10,
    ]
    kept = LOFNet.load(output).state_dict()
    assert all(torch.equal(kept[name], states[1][name]) for name in kept)
    assert any(not torch.equal(kept[name], states[4][name]) for name in kept)
    assert "stopped at step 10 of 99: the weights of step 4 are kept" in caplog.text
    assert train_lofnet(clips, output=output, resume=True, **options) == output
    assert len(states) == 5, "a run that has stopped stays so"


def test_each_epoch_has_one_pair_of_every_clip(
    clips: LatentClips, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    sample_pairs = LatentClips.sample_pairs

    def watched(self: LatentClips, *args: object, **kwargs: object):
        turns.extend(kwargs["chosen"].tolist() if "chosen" in kwargs else [])
        return sample_pairs(self, *args, **kwargs)

    monkeypatch.setattr(LatentClips, "sample_pairs", watched)
    options = {"epochs": 3, "batch_size": 4, "backbone": backbone, **QUIET}
    output = train_lofnet(clips, output=tmp_path / "run", **options)
    assert lines_of(output)[-1]["step"] == 5  # 18 pairs, four a step
    epochs = [turns[i : i + 6] for i in range(0, 18, 6)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 3
    assert epochs[0] != epochs[1], "in an order of its own"


def test_still_clips_and_broken_latents_do_not_stop_training(
    clips: LatentClips, backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    white = latent_clips([("white", torch.ones(4, 3, 32, 32))], backbone, tmp_path / "w")
    rows = load_file(white.index[0].file)
    rows["latents"][:] = float("nan")
    save_file(rows, tmp_path / "nan.safetensors")
    broken = LatentClips([replace(white.index[0], name="nan", file=tmp_path / "nan.safetensors")])
    together = [clip for part in (clips, white, broken) for clip in part.index]
    options = {"backbone": backbone, "steps": 8, "batch_size": 4, "log_every": 1, "balance": 1.0}
    output = train_lofnet(LatentClips(together), output=tmp_path / "a", **options, **QUIET)
    losses = [line["loss"] for line in lines_of(output) if "loss" in line]
    assert len(losses) == 8 and all(math.isfinite(loss) for loss in losses)
    assert caplog.text.count("nan: a latent is not finite, its pairs are skipped") == 1
    only = train_lofnet(white, output=tmp_path / "b", **options, **QUIET)
    assert all(math.isfinite(v) for line in lines_of(only) for v in line.values())
    assert all(value.isfinite().all() for value in LOFNet.load(only).state_dict().values())


def test_gradients_that_are_never_finite_end_the_run(
    clips: LatentClips, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    error = losses.latent_error
    monkeypatch.setattr(losses, "latent_error", lambda *args: error(*args) / 0)
    monkeypatch.setattr(trainer, "_MAX_FAILURES", 3)
    before = build_lofnet(TINY)
    start = {name: value.clone() for name, value in before.named_parameters()}
    with pytest.raises(AnaMoDiffError, match="none in 3 steps: resume with a lower training.lr"):
        train_lofnet(
            clips, backbone=backbone, output=tmp_path / "run", model=before, steps=9,
            batch_size=2, **QUIET,
        )  # fmt: skip
    assert caplog.text.count("the gradient is not finite") == 1
    assert all(torch.equal(start[name], value) for name, value in before.named_parameters())


def test_a_full_disk_keeps_the_checkpoint_before(
    clips: LatentClips, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": backbone, "steps": 4, "batch_size": 2, "save_every": 2, **QUIET}
    whole = train_lofnet(clips, output=tmp_path / "whole", **options)
    output, save, saved = tmp_path / "run", torch.save, []

    def fill_up(state: dict, file: Path) -> None:
        saved.append(file)
        if len(saved) == 2:
            Path(file).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fill_up)
    with pytest.raises(AnaMoDiffError, match="No space left.*the checkpoint before it is kept"):
        train_lofnet(clips, output=output, **options)
    assert not (output / ".saving").exists()
    train_lofnet(clips, output=output, resume=True, **options)
    once, twice = LOFNet.load(whole).state_dict(), LOFNet.load(output).state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_tensorboard_shows_the_figures_once(clips: LatentClips, backbone, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    options = {"backbone": backbone, "steps": 4, "batch_size": 2, "log_every": 1, **QUIET}
    options |= {"output": tmp_path, "save_every": 2}
    with pytest.raises(Killed):
        train_lofnet(clips, on_step=kill_at(3), **options)
    train_lofnet(clips, resume=True, **options)
    board = events.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4]
    assert {"held_out_ratio", "pairs_per_second"} <= set(board.Tags()["scalars"])


def test_bf16_leaves_coordinates_in_32_bits(clips: LatentClips, backbone, tmp_path: Path) -> None:
    model = build_lofnet(TINY).eval()
    with torch.no_grad():  # any point must move, or all flows are the identity
        model.detector.jacobian.weight.normal_(std=0.05)
    pairs = clips.sample_pairs(8, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def flow(precision: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
        for module in model.modules():
            if isinstance(module, Hourglass):
                module.precision = precision
        points = model.points(pairs.frames)
        motion = model.flow(pairs.latents[:8], points[8:], points[:8])
        same = model.flow(pairs.latents[:8], points[:8], points[:8])
        assert points.value.dtype == motion.flow.dtype == torch.float32
        return motion.flow, same.flow

    (exact, _), (rough, same) = flow(None), flow(torch.bfloat16)
    assert not torch.equal(exact, rough), "nothing was computed in 16 bits"
    assert (exact - rough).abs().max() < 0.05  # a fifth of a latent cell
    assert_close(same, identity_grid(8, 8).expand_as(same), atol=1e-3, rtol=0)
    output = train_lofnet(
        clips, backbone=backbone, output=tmp_path / "run", steps=2, batch_size=2,
        precision="bf16", **QUIET,
    )  # fmt: skip
    assert all(math.isfinite(v) for line in lines_of(output) for v in line.values())


def test_prefetching_changes_nothing(
    clips: LatentClips, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": backbone, "steps": 6, "batch_size": 2, "size_jitter": 0.1, **QUIET}
    plain = train_lofnet(clips, output=tmp_path / "plain", **options)
    start, pools = trainer.Trainer.__init__, []

    def with_threads(self: trainer.Trainer, *args: object) -> None:
        start(self, *args)
        self._pool = ThreadPoolExecutor(4)
        pools.append(self._prefetched)

    monkeypatch.setattr(trainer.Trainer, "__init__", with_threads)
    ahead = train_lofnet(clips, output=tmp_path / "ahead", **options)
    once, twice = LOFNet.load(plain).state_dict(), LOFNet.load(ahead).state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert pools == [{}], "nothing is prefetched beyond the end"


def test_a_run_with_another_network_or_a_broken_file_is_not_resumed(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    options = {"backbone": backbone, "output": tmp_path / "run", "steps": 1, "batch_size": 2}
    train_lofnet(clips, **options, **QUIET)
    other = TINY | {"detector": TINY["detector"] | {"temperature": 0.2}}
    with pytest.raises(AnaMoDiffError, match="same LOFNet configuration"):
        train_lofnet(clips, resume=True, **options, **(QUIET | {"config": other}))
    with pytest.raises(AnaMoDiffError, match="lofnet.detector_lr=None: resume with that"):
        train_lofnet(clips, resume=True, detector_lr=0.0, **options, **QUIET)
    (tmp_path / "run" / "training.pt").write_bytes(b"nothing")
    with pytest.raises(AnaMoDiffError, match="expected a whole checkpoint"):
        train_lofnet(clips, resume=True, **options, **QUIET)


def test_frozen_detector_stays(clips: LatentClips, backbone, tmp_path: Path) -> None:
    model = build_lofnet(TINY)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    output = train_lofnet(
        clips, backbone=backbone, output=tmp_path / "run", model=model, detector_lr=0.0, steps=2,
        batch_size=2, **QUIET,
    )  # fmt: skip
    after = LOFNet.load(output).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("dense_motion.") for name in changed)


def test_from_a_folder_and_unknown_options(folder: Path, backbone, tmp_path: Path) -> None:
    output = train_lofnet(
        folder, backbone=backbone, output=tmp_path / "run", epochs=1, batch_size=3, **QUIET
    )
    assert lines_of(output)[-1]["step"] == 2  # six clips, three pairs a step
    assert len(list((output / "latents").rglob("*.safetensors"))) == 1
    with pytest.raises(AnaMoDiffError, match="unknown setting 'training.rate'; did you mean"):
        train_lofnet(folder, backbone=backbone, output=tmp_path / "b", rate=1, **QUIET)


def test_epochs_count_pairs_of_every_clip() -> None:
    assert TrainOptions(epochs=10, batch_size=4).total(6) == 15
    assert TrainOptions(epochs=10, batch_size=4).total(6, processes=3) == 5
    assert TrainOptions(steps=7).total(6) == 7
