"""Outlines that are nearly the ground's colour are kept, and soft edges are not taken for such."""

import cv2
import numpy as np
import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures.ground import on_ground
from anamodiff.matting.cutout import cut_plain
from anamodiff.video.foreground import GROUND_DISTANCE
from anamodiff.video.letterbox import from_pixels


@pytest.mark.parametrize("outline", [True, False])
@pytest.mark.parametrize("colour", [(0, 0, 0), (10, 20, 80)], ids=["black", "navy"])
def test_dark_outlines_on_dark_grounds_are_kept_and_not_widened(outline: bool, colour) -> None:
    character = creatures.Character("horse", "brown", outline=outline, scale=0.9)
    drawn = creatures.draw(character, "walk", frames=1, size=256)
    ground = from_pixels(np.uint8([[[colour]]]))[0, :, 0, 0]
    found = cut_plain(from_pixels(on_ground(drawn, colour)), ground, outlines=True)
    truth = torch.from_numpy(drawn.coverage > 127)
    assert (found.mask & truth).sum() / (found.mask | truth).sum() > 0.95
    # In levels of 255: outlines that are taken for soft edges fade, and soft edges darken.
    edge = torch.from_numpy(drawn.coverage > 60)
    wrong = (found.frames - from_pixels(drawn.frames)).abs().mean(1)[edge].mean() * 127.5
    assert wrong < 3


# By edges that are two pixels wide at most they were wrong by .003, .01, .026 and .107.
@pytest.mark.parametrize(("sigma", "most"), [(0, 0.004), (0.7, 0.008), (1.2, 0.016), (2, 0.035)])
def test_blurred_edges_take_no_light_along_from_white(sigma: float, most: float) -> None:
    character = creatures.Character("lion", "brown", outline=False, scale=0.9)
    drawn = creatures.draw(character, "walk", frames=1, size=128)

    def as_filmed(pictures: np.ndarray) -> torch.Tensor:
        blurred = [cv2.GaussianBlur(x, (0, 0), sigma) if sigma else x for x in pictures]
        return from_pixels(np.stack(blurred))

    found = cut_plain(as_filmed(drawn.frames), torch.ones(3), least=GROUND_DISTANCE)
    black = -torch.ones(3, 1, 1)
    wrong = found.on(black) - as_filmed(on_ground(drawn, (0, 0, 0)))
    assert float(wrong.abs().mean()) < most
