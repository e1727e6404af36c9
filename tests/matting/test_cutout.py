"""Characters cut out of plain and of textured grounds, without a rim of either."""

import numpy as np
import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures.ground import draw_ground, on_ground
from anamodiff.matting.cutout import (
    Cutout,
    cut_by_matte,
    cut_plain,
    matte_of,
    open_parts,
    with_parts,
)
from anamodiff.video.foreground import plain_ground
from anamodiff.video.letterbox import from_pixels

COLOURS = {
    "black": (0, 0, 0),
    "green screen": (0, 177, 64),
    "grey": (128, 128, 128),
    "sky": (135, 206, 235),
    "red": (200, 30, 30),
    "navy": (10, 20, 80),
    "magenta": (255, 0, 255),
    "dark grey": (50, 50, 50),
}


@pytest.fixture(scope="module")
def drawn() -> creatures.Drawn:
    """A brown turtle without outlines, on white."""
    return creatures.draw(creatures.Character.sample(100, species="turtle"), "walk", frames=2)


@pytest.mark.parametrize("name", COLOURS)
def test_a_plain_ground_is_replaced_by_white(drawn: creatures.Drawn, name: str) -> None:
    frames = from_pixels(on_ground(drawn, COLOURS[name]))
    ground = plain_ground(frames)
    assert ground is not None
    found, white = cut_plain(frames, ground), from_pixels(drawn.frames)
    truth = torch.from_numpy(drawn.coverage > 127)
    assert (found.mask & truth).sum() / (found.mask | truth).sum() > 0.98
    # In levels of 255, over the whole picture: a rim one pixel wide would cost ten times as much.
    assert (found.frames - white).abs().mean() * 127.5 < 1.0
    assert torch.equal(found.frames[:, :, :8], torch.ones_like(found.frames[:, :, :8]))


def test_edges_are_soft_and_free_of_the_ground_s_colour(drawn: creatures.Drawn) -> None:
    frames = from_pixels(on_ground(drawn, COLOURS["magenta"]))
    found = cut_plain(frames, torch.tensor([1.0, -1.0, 1.0]))
    edge = (drawn.coverage > 50) & (drawn.coverage < 200)
    assert edge.sum() > 50
    wrong = np.abs(found.alpha.numpy() - drawn.coverage / 255)[edge]
    assert np.median(wrong) < 0.05
    red, green, blue = found.frames.movedim(1, 0).numpy()
    spill = np.minimum(red, blue) - green  # magenta's
    assert np.percentile(spill[edge], 95) < 0.3


def test_gaps_are_seen_through_on_a_screen_and_pupils_are_not_on_black() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    for colour, closed in (((0, 0, 0), True), ((0, 177, 64), False)):
        frame[:] = colour
        frame[16:48, 16:48] = (220, 120, 60)
        frame[30:32, 30:32] = colour
        frames = from_pixels(frame[None].copy())
        found = cut_plain(frames, from_pixels(np.uint8([[[colour]]]))[0, :, 0, 0])
        assert bool(found.mask[0, 30, 30]) == closed
        assert found.mask[0].sum() == 32 * 32 - (0 if closed else 4)


def test_what_is_expected_closes_white_holes_and_no_bays() -> None:
    frame = np.full((64, 64, 3), 255, np.uint8)
    frame[10:40, 10:40] = 40
    frame[15:35, 15:35] = 255  # a white belly
    frame[50:, 10:40] = 40
    frames, white = from_pixels(frame[None].copy()), torch.ones(3)
    expected = torch.zeros(1, 64, 64, dtype=torch.bool)
    expected[:, 8:44, 8:44] = True
    assert not cut_plain(frames, white).mask[0, 25, 25]
    found = cut_plain(frames, white, expected).mask[0]
    assert found[25, 25] and not found[42, 42]


@pytest.mark.parametrize("kind", ["grass", "brick"])
def test_a_matte_gives_the_character_s_own_colours(drawn: creatures.Drawn, kind) -> None:
    frames = from_pixels(on_ground(drawn, draw_ground(kind, 128, 128, 0)))
    alpha = torch.from_numpy(drawn.coverage.astype(np.float32) / 255)
    found, white = cut_by_matte(frames, alpha), from_pixels(drawn.frames)
    edge = torch.from_numpy((drawn.coverage > 50) & (drawn.coverage < 200))
    wrong = (found.frames - white).abs().mean(1)[edge].mean()
    naive = (frames * alpha[:, None] + 1 - alpha[:, None] - white).abs().mean(1)[edge].mean()
    assert wrong < 0.6 * naive
    assert torch.equal(found.frames[:, :, :8], torch.ones_like(found.frames[:, :, :8]))


def test_textures_are_not_plain_and_compressed_colours_are() -> None:
    for kind in ("grass", "gravel", "brick", "sky", "sand", "leaves"):
        assert plain_ground(from_pixels(draw_ground(kind, 128, 128, 1)[None])) is None
    noise = np.random.default_rng(0).normal(0, 2, (1, 64, 64, 3))
    noisy = from_pixels((np.array([90, 140, 90]) + noise).round().astype(np.uint8))
    ground = plain_ground(noisy)
    assert ground is not None
    assert ((ground + 1) * 127.5 - torch.tensor([90.0, 140, 90])).abs().max() <= 1


def test_transparent_frames_composite_to_the_same_picture() -> None:
    alpha = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 3)
    own, ground = torch.tensor([0.5, -0.5, 0.0]), torch.tensor([-1.0, 0.2, 0.7])
    frames = alpha * own.view(1, 3, 1, 1) + (1 - alpha)
    cutout = Cutout(frames, alpha)
    colour, share = cutout.transparent().split([3, 1], dim=1)
    share = (share + 1) / 2
    composed = share * colour + (1 - share) * ground.view(3, 1, 1)
    torch.testing.assert_close(composed, cutout.on(ground.view(3, 1, 1)))
    torch.testing.assert_close(colour[0, :, 0, 1], own)


def test_stray_parts_of_a_network_s_matte_are_left_out() -> None:
    saliency = torch.zeros(1, 64, 64)
    saliency[0, 10:40, 10:40] = 0.9
    saliency[0, 50:53, 50:53] = 0.9
    matte = matte_of(saliency)
    assert matte[0, 20, 20] == 1 and matte[0, 51, 51] == 0


def test_parts_of_the_ground_s_colour_are_taken_from_a_network_that_sees_the_rest() -> None:
    mask, sure = torch.zeros(1, 64, 64, dtype=torch.bool), torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 20:40, 10:50] = sure[:, 19:41, 9:51] = True
    mask[:, 20:32, 24:36] = False  # open to the ground above
    found = open_parts(mask, sure)
    assert found[0, 22:30, 26:34].all()
    assert not found[0, 42:].any() and not found[0, 40:42, 10:50].any()
    assert not open_parts(mask, ~sure).any()
    frames, cutout = torch.zeros(1, 3, 64, 64), Cutout(torch.ones(1, 3, 64, 64), mask.float())
    whole = with_parts(cutout, frames, found)
    assert whole.mask[0, 25, 30] and (whole.frames[0, :, 25, 30] == 0).all()
