"""Measures: best for equal clips, and by known amounts worse with motion or colour."""

import pytest
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.metrics import colour_distance, foreground_iou, truth_distance


def square(left: int, colour: tuple[float, float, float] = (0.8, -0.8, -0.8)) -> torch.Tensor:
    """Two white frames with a coloured 16 x 16 square."""
    frames = torch.ones(2, 3, 64, 64)
    frames[:, :, 20:36, left : left + 16] = torch.tensor(colour)[:, None, None]
    return frames


def test_equal_clips_score_best():
    assert foreground_iou(square(20), square(20)) == 1
    assert truth_distance(square(20), square(20)) == 0
    assert colour_distance(square(20), square(20)) == 0


def test_iou_of_a_shift_by_half_the_square_is_a_third():
    assert foreground_iou(square(28), square(20)) == pytest.approx(1 / 3, abs=0.05)


def test_colour_distance_ignores_motion_and_tells_hues():
    assert colour_distance(square(28), square(20)) == 0
    grey = (0.0, 0.0, 0.0)
    dark = (-0.2, -0.2, -0.2)
    assert 5 < colour_distance(square(20, dark), square(20, grey)) < 15
    assert truth_distance(square(20), square(20, (-0.8, 0.8, -0.8))) > 100


def test_shapes_must_agree():
    with pytest.raises(AnaMoDiffError, match="same frames and size"):
        foreground_iou(square(20), square(20)[:1])
