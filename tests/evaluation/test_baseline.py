"""Rivals as methods of a benchmark."""

import json
from pathlib import Path

import pytest
import torch

from anamodiff.baselines import weights
from anamodiff.baselines.tps import TPSMotion
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.baseline import JOKR, Baseline
from anamodiff.evaluation.benchmark import benchmark
from anamodiff.evaluation.methods import METHODS, choose_methods, described
from anamodiff.video.clip import write_video


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny TPS Motion that shows the source where nothing moves."""
    torch.manual_seed(0)
    model = TPSMotion(
        32, num_tps=2, block_expansion=4, motion_expansion=4, motion_features=8, motion_blocks=3,
        detector_width=4, exact=True, padding_mode="border",
    )  # fmt: skip
    torch.nn.init.normal_(model.kp_detector.fg_encoder.fc.bias)
    for layer in model.dense_motion_network.occlusion:
        torch.nn.init.constant_(layer.bias, 20.0)
    folder = tmp_path_factory.mktemp("rival")
    model.save(folder / "model")
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    clip = torch.ones(2, 3, 64, 64)
    clip[0, :, 20:44, 16:48] = clip[1, :, 20:44, 18:50] = -0.5
    for kind in ("source", "driving", "truth"):
        write_video(tmp_path / "pairs" / "square" / f"{kind}.gif", clip, 8)
    return tmp_path / "pairs"


def test_a_rival_is_benchmarked_by_its_weights(
    tiny_backbone_folder: Path, rival: Path, pairs: Path, tmp_path: Path
) -> None:
    results = benchmark(
        pairs, methods=f"still,mine={rival}", output=tmp_path / "results", frames=2,
        backbone=str(tiny_backbone_folder), device="cpu", clip_model="none", progress=False,
    )  # fmt: skip
    row = json.loads((results / "pairs" / "square" / "mine.json").read_text())
    assert row["measures"]["foreground_iou"] > 0.6  # the source, little moved, through 32 pixels
    assert row["made_with"]["method"]["kind"] == "Baseline"
    assert (results / "pairs" / "square" / "mine.mp4").is_file()


def test_jokr_is_trained_on_each_pair(
    tiny_backbone_folder: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = JOKR(shape_steps=1, look_steps=1)
    monkeypatch.setitem(METHODS, "jokr", quick)
    results = benchmark(
        pairs, methods="jokr", output=tmp_path / "results", frames=2,
        backbone=str(tiny_backbone_folder), device="cpu", clip_model="none", progress=False,
    )  # fmt: skip
    row = json.loads((results / "pairs" / "square" / "jokr.json").read_text())
    assert row["made_with"]["method"] == {"kind": "JOKR", "shape_steps": 1, "look_steps": 1}
    assert (results / "pairs" / "square" / "jokr.mp4").is_file()


def test_results_of_other_weights_are_made_again(rival: Path, tmp_path: Path) -> None:
    first = described(Baseline(weights=rival))
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert len(first["sha256"]) == 64
    assert described(Baseline(weights=tmp_path))["sha256"] != first["sha256"]


def test_half_a_folder_is_no_rival(rival: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes((rival / "model.json").read_bytes())
    with pytest.raises(AnaMoDiffError, match=r"found no file .*model\.safetensors"):
        choose_methods([f"mine={tmp_path}"])


def test_missing_weights_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SHIPPED", "checkpoints/nowhere")
    with pytest.raises(AnaMoDiffError, match=r"train_baseline\.py tps"):
        choose_methods(["still", "tps"])
    assert {"tps", "fomm"} <= METHODS.keys()


def test_a_rival_s_weights_are_no_folder_of_clips(rival: Path, tmp_path: Path) -> None:
    chosen = choose_methods([f"mine={rival}"])["mine"]
    assert isinstance(chosen, Baseline)
    with pytest.raises(AnaMoDiffError, match="a rival's weights"):
        choose_methods([f"mine={tmp_path / 'none'}"])
