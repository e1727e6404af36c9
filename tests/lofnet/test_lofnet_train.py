"""Training: it learns, can be killed and resumed, and says what it does."""

import json
from pathlib import Path

import pytest
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet import LatentClips, LOFNet, build_lofnet, cache_latents, measure, train_lofnet
from anamodiff.lofnet.options import TrainOptions

CONFIG = {
    "frame_size": 32,
    "detector": {
        "block_expansion": 8, "num_kp": 3, "num_channels": 3, "max_features": 16, "num_blocks": 2,
        "temperature": 0.1, "scale_factor": 0.5, "single_jacobian_map": True,
    },
    "dense_motion": {
        "block_expansion": 8, "num_blocks": 2, "max_features": 16, "num_kp": 3, "num_channels": 4,
    },
}  # fmt: skip
QUIET = {"config": CONFIG, "progress": False, "held_out": 0.0, "warmup": 2}


@pytest.fixture
def clips(folder: Path, backbone, tmp_path: Path) -> LatentClips:
    return cache_latents(folder, backbone=backbone, cache=tmp_path / "latents", progress=False)


def lines_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


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
    figures = measure(LOFNet.load(output), clips)
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
    once, twice = LOFNet.load(whole).state_dict(), LOFNet.load(cut).state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    losses = [[line["loss"] for line in lines_of(run) if "loss" in line] for run in (whole, cut)]
    assert losses[0] == losses[1] and len(losses[0]) == 6


def test_a_run_with_another_network_or_a_broken_file_is_not_resumed(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    options = {"backbone": backbone, "output": tmp_path / "run", "steps": 1, "batch_size": 2}
    train_lofnet(clips, **options, **QUIET)
    other = CONFIG | {"detector": CONFIG["detector"] | {"temperature": 0.2}}
    with pytest.raises(AnaMoDiffError, match="same LOFNet configuration"):
        train_lofnet(clips, resume=True, **options, **(QUIET | {"config": other}))
    (tmp_path / "run" / "training.pt").write_bytes(b"nothing")
    with pytest.raises(AnaMoDiffError, match="expected a whole checkpoint"):
        train_lofnet(clips, resume=True, **options, **QUIET)


def test_frozen_detector_stays(clips: LatentClips, backbone, tmp_path: Path) -> None:
    model = build_lofnet(CONFIG)
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
    with pytest.raises(AnaMoDiffError, match="expected options among steps"):
        train_lofnet(folder, backbone=backbone, output=tmp_path / "b", rate=1, **QUIET)


def test_epochs_count_pairs_of_every_clip() -> None:
    assert TrainOptions(epochs=10, batch_size=4).total(6) == 15
    assert TrainOptions(steps=7).total(6) == 7
