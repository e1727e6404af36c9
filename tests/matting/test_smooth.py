"""Plain grounds with a vignette or a gradient are cut by colour, and textures are not."""

import numpy as np
import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures.ground import KINDS, draw_ground, on_ground
from anamodiff.matting.network import MatteNetwork
from anamodiff.matting.smooth import smooth_ground
from anamodiff.run.grounds import cut_clip
from anamodiff.video.clip import Clip
from anamodiff.video.letterbox import from_pixels

Y, X = np.mgrid[-1:1:128j, -1:1:128j]
LIGHTS = {"vignette": 1 - 0.15 * (X**2 + Y**2) / 2, "gradient": 1 + 0.05 * Y}
COLOURS = [(0, 177, 64), (128, 128, 128), (50, 50, 50), (225, 205, 170), (255, 255, 255)]


def no_network() -> MatteNetwork:
    raise AssertionError("uneven plain grounds need no network")


@pytest.fixture(scope="module")
def drawn() -> creatures.Drawn:
    return creatures.draw(creatures.Character.sample(100, species="turtle"), "walk", frames=2)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("light", LIGHTS)
def test_characters_are_cut_out_of_uneven_light(drawn, colour, light: str) -> None:
    lit = on_ground(drawn, colour) * LIGHTS[light][..., None]
    clip = Clip.of(from_pixels(lit.round().clip(0, 255).astype(np.uint8)))
    found = cut_clip(clip, None, no_network, "source")
    own, truth = found.mattes >= 0.5, torch.from_numpy(drawn.coverage > 127)
    assert (own & truth).sum() / (own | truth).sum() > 0.97
    ground = found.ground
    assert ground is not None
    # The result is set back on the same light.
    assert (ground - clip.frames[0])[:, ~own[0]].abs().quantile(0.9) < 0.03


@pytest.mark.parametrize("colour", COLOURS)
def test_one_colour_is_one_colour(drawn, colour) -> None:
    assert smooth_ground(from_pixels(on_ground(drawn, colour))) is None


@pytest.mark.parametrize("kind", KINDS)
def test_textures_are_not_smooth(kind) -> None:
    for seed in range(3):
        assert smooth_ground(from_pixels(draw_ground(kind, 128, 128, seed)[None])) is None
