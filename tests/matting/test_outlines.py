"""Black outlines are given back on black, where lines inside show that there are any."""

import cv2
import numpy as np
import pytest
import torch

from anamodiff.matting.cutout import cut_plain
from anamodiff.matting.outlines import with_outlines
from anamodiff.video.letterbox import from_pixels

ORANGE, SIZE = (220, 120, 60), 128


def cartoon(outline: int, ground: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Four plates with black outlines around and between them, ``1 h w 3``, and where they are."""
    plates = np.zeros((SIZE, SIZE), np.uint8)
    for row in (0, 1):
        for column in (0, 1):
            top, left = 34 + row * (30 + outline), 34 + column * (30 + outline)
            plates[top : top + 30, left : left + 30] = 1
    whole = plates
    if outline:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * outline + 1,) * 2)
        whole = cv2.dilate(plates, kernel)
    frame = np.empty((SIZE, SIZE, 3), np.uint8)
    frame[:] = ground
    frame[whole > 0] = 0
    frame[plates > 0] = ORANGE
    return frame[None], whole > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("outline", "ground"), [(1, (0, 0, 0)), (2, (0, 0, 0)), (2, (30, 30, 30))])
def test_outlines_on_a_dark_ground_are_the_character_s(outline: int, ground) -> None:
    frame, truth = cartoon(outline, ground)
    frames, colour = from_pixels(frame), from_pixels(np.uint8([[[ground]]]))[0, :, 0, 0]
    found = cut_plain(frames, colour, outlines=True)
    without = cut_plain(frames, colour)
    now, before = (overlap(x.mask[0].numpy(), truth) for x in (found, without))
    assert now > 0.93
    if ground == (0, 0, 0):
        assert now > before + 0.04
        # They are black on white, and not a rim of something else.
        rim = torch.from_numpy(truth) & ~without.mask[0]
        assert found.frames[0].movedim(0, -1)[rim & found.mask[0]].max() < -0.9


def test_what_is_not_divided_gets_none() -> None:
    plain = np.zeros((1, SIZE, SIZE), bool)
    plain[0, 30:90, 30:90] = True
    plain[0, 60:, 50:58] = False  # a gap between legs
    assert with_outlines(plain) is None
    assert with_outlines(np.zeros((1, SIZE, SIZE), bool)) is None


def test_a_light_ground_is_left_alone() -> None:
    frame, _ = cartoon(2, (255, 255, 255))
    frame[frame.max(-1) == 0] = 255  # white lines on white
    frames = from_pixels(frame)
    assert torch.equal(
        cut_plain(frames, torch.ones(3), outlines=True).alpha,
        cut_plain(frames, torch.ones(3)).alpha,
    )
