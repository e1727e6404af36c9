"""A result on a textured ground is measured by its character, as on white."""

from pathlib import Path

import numpy as np
import pytest

from anamodiff import creatures
from anamodiff.creatures.ground import draw_ground, on_ground
from anamodiff.evaluation.scores import evaluate
from anamodiff.video.clip import write_frames
from anamodiff.video.letterbox import from_pixels


def written(pictures: np.ndarray, folder: Path) -> Path:
    write_frames(folder, from_pixels(pictures))
    return folder


def test_a_result_on_grass_is_measured_by_its_character(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "anamodiff")
    drawn = creatures.draw(creatures.Character.sample(101, species="rabbit"), "walk", frames=4)
    grass = draw_ground("grass", 128, 128, 0)
    truth = written(drawn.frames, tmp_path / "truth")
    on_grass = written(on_ground(drawn, grass), tmp_path / "grass")
    given = {"clip_model": "none", "device": "cpu", "frames": 4}
    found = evaluate(on_grass, truth=truth, source=truth, **given)
    said = [r.getMessage() for r in caplog.records if "textured" in r.getMessage()]
    assert len(said) == 1 and said[0].startswith("the result's ground is textured")
    assert found.measures["foreground_iou"] > 0.85
    assert found.measures["truth_distance"] < 6
    assert found.measures["colour_distance"] < 6
    caplog.clear()
    same = evaluate(truth, truth=truth, **given)
    assert same.measures["foreground_iou"] == 1 and not caplog.records
