"""Figures of the paper: a job for every method, the picture, and the numbers."""

import json
import logging
from pathlib import Path

import cv2
import pytest
import torch

from anamodiff.baselines import weights
from anamodiff.cli import main as cli
from anamodiff.evaluation.ablation import LABELS, with_weights
from anamodiff.evaluation.methods import METHODS
from anamodiff.video.clip import write_video


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs: a square that stays and one that moves."""
    for number in range(2):
        for kind, step in (("source", 0), ("driving", 6), ("truth", 6)):
            clip = torch.ones(4, 3, 64, 64)
            for f in range(4):
                clip[f, :, 20:36, 16 + step * f : 32 + step * f] = -0.8
            write_video(tmp_path / "pairs" / f"pair{number}" / f"{kind}.gif", clip, 8)
    return tmp_path / "pairs"


def test_a_figure_from_the_command_line(
    pairs: Path, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    folder = tmp_path / "made here"
    words = ["ablation", "figure7", str(pairs), "--output", str(folder), "--frames", "4"]
    words += ["--backbone", str(tiny_backbone_folder), "--device", "cpu", "progress=false"]
    assert cli.main([*words, "figure.methods=still,warp-only"]) == 0
    out = capsys.readouterr().out
    assert "| still | 2 |" in out and f"figure: {folder / 'figure7.png'}" in out
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert {(row["pair"], row["method"]) for row in rows} == {
        (pair, method) for pair in ("pair0", "pair1") for method in ("still", "warp-only")
    }
    assert (folder / "hydra" / "multirun.yaml").is_file()
    assert len(list(folder.glob("hydra/*/"))) == 2
    assert not logging.getLogger("anamodiff.evaluation.benchmark").disabled, "Hydra could do that"
    height, width, _ = cv2.imread(str(folder / "figure7.png")).shape
    # Two pairs of source, driving clip, truth and two methods, four frames wide.
    assert height >= 10 * 64 and width >= 4 * 64
    assert cli.main([*words[:2], str(tmp_path / "none"), *words[3:]]) == 2
    assert capsys.readouterr().err.count("expected pairs") == 1


def test_rivals_without_weights_are_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weights, "SHIPPED", "checkpoints/nowhere")
    with caplog.at_level(logging.WARNING):
        assert with_weights(["still", "tps", "jokr", "mine=folder"]) == [
            "still", "jokr", "mine=folder",
        ]  # fmt: skip
    assert "tps is left out: expected weights of tps" in caplog.text


def test_figures_name_known_methods() -> None:
    assert set(LABELS) <= set(METHODS)
