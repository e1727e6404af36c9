"""The report on seams: known figures of small clips, and all rows with a tiny network."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_windows as script  # noqa: E402

from anamodiff.diffusion import Schedule  # noqa: E402
from anamodiff.options import GenerationOptions


def blinking(levels: list[float]) -> torch.Tensor:
    """A square on white whose grey is given for each frame."""
    frames = torch.ones(len(levels), 3, 32, 32)
    for frame, level in zip(frames, levels, strict=True):
        frame[:, 8:24, 8:24] = level
    return frames


def test_a_jump_at_a_seam_is_found() -> None:
    truth, clip = blinking([-1, -1, -1, -1]), blinking([-1, -1, -0.8, -0.8])
    figures = script.measured({"truth": truth, "windows": clip})
    seams = {"first": torch.tensor([False, True, False])}
    for measure in ("flicker", "change"):
        found = script.means(figures[measure]["windows"], seams)
        assert found["first seams"] == pytest.approx(0.2 * 127.5, rel=0.01)
        assert found["not first"] == pytest.approx(0, abs=1e-3)
        assert found["all"] == pytest.approx(0.2 * 127.5 / 3, rel=0.01)
    assert script.means(figures["change"]["truth"], seams)["first seams"] == 0


def test_seams_are_those_of_the_first_and_the_last_step_taken() -> None:
    options = GenerationOptions(steps=10, denoise_from=500, window=10, overlap=3)
    seams = script.seams_of(17, options, Schedule.from_config({}))
    assert seams["first"].nonzero().flatten().tolist() == [9]
    # Five steps from 500 on, so the last is turn 4: windows of seven end four frames earlier.
    assert seams["last"].nonzero().flatten().tolist() == [5, 12]


def test_the_report_has_every_row(tiny_backbone_folder, tmp_path, capsys) -> None:
    words = ["--backbone", str(tiny_backbone_folder), "--frames", "9", "--pairs", "1"]
    words += ["generation.window=4", "generation.overlap=2", "generation.steps=2"]
    words += ["tuning.iterations=1", "tuning.window=4"]
    assert script.main([*words, "--sheets", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in lines]
    assert rows.count("whole") == rows.count("truth") == 2
    assert rows.count("windows") == rows.count("apart") == rows.count("warp") == 4
    assert (tmp_path / "turtle-rhino-jump.png").is_file()
