"""A drifting camera is found from the ground, undone, and the ground seen behind the character."""

import numpy as np
import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures.ground import at_a_distance, camera, draw_ground, outdoors
from anamodiff.matting.plate import clean_plate
from anamodiff.matting.stabilise import find_camera
from anamodiff.video.letterbox import from_pixels


@pytest.fixture(scope="module")
def drawn() -> creatures.Drawn:
    return creatures.draw(creatures.Character.sample(103, species="horse"), "walk", frames=5)


def mask_of(drawn: creatures.Drawn) -> torch.Tensor:
    pad = (at_a_distance(drawn).shape[1] - 128) // 2
    return torch.from_numpy(np.pad(drawn.coverage, ((0, 0), (pad, pad), (pad, pad))) > 127)


@pytest.mark.parametrize("kind", ["grass", "gravel", "leaves"])
def test_the_camera_s_motion_is_taken_out(drawn: creatures.Drawn, kind) -> None:
    still = from_pixels(outdoors(drawn, kind, 5, drift=0.0))
    moving = from_pixels(outdoors(drawn, kind, 5, drift=0.08))
    camera = find_camera(moving, torch.zeros(moving[:, 0].shape, dtype=torch.bool))
    assert camera is not None and camera.moves(160, 160)
    known = camera.undo(torch.ones_like(moving[:, :1]), 0.0)[:, 0] > 0.99
    undone = camera.undo(moving, 0.0)
    # The first frame is left where it is, and the others follow it.
    first = undone[:1]
    both = known[-1] & ~mask_of(drawn).any(0)
    before = (moving[-1] - moving[0]).abs().mean(0)[both].mean()
    after = (undone[-1] - first[0]).abs().mean(0)[both].mean()
    assert after < 0.6 * before
    assert still.shape == moving.shape


@pytest.mark.parametrize("seed", [11, 13])
def test_smooth_skies_are_followed_by_their_brightness(drawn: creatures.Drawn, seed) -> None:
    frames = from_pixels(outdoors(drawn, "sky", seed, drift=0.06))
    # What drifts with the camera is a little more than the character.
    near = torch.nn.functional.max_pool2d(mask_of(drawn).float(), 25, 1, 12) > 0
    found = find_camera(frames, near)
    assert found is not None
    side, margin = frames.shape[-1], round(frames.shape[-1] * 0.16)
    true = camera(len(frames), side, seed, drift=0.06, centre=side / 2 + margin)
    shift = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
    whole = [np.vstack([one, [0, 0, 1]]) for one in true]
    corners = np.array([[0.0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    for matrix, one in zip(found.matrices, whole, strict=True):
        wanted = (np.linalg.inv(shift) @ whole[0] @ np.linalg.inv(one) @ shift @ corners)[:2]
        assert np.abs(matrix @ corners - wanted).max() < 1.5  # pixels, of up to 9
        assert np.abs(corners[:2] - wanted).max() < 12
    assert found.moves(side, side)


def test_a_still_sky_is_left_alone(drawn: creatures.Drawn) -> None:
    frames = from_pixels(outdoors(drawn, "sky", 11, drift=0.0))
    found = find_camera(frames, mask_of(drawn))
    assert found is None or not found.moves(160, 160)


def test_a_still_camera_is_left_alone(drawn: creatures.Drawn) -> None:
    frames = from_pixels(outdoors(drawn, "gravel", 5, drift=0.0))
    camera = find_camera(frames, mask_of(drawn))
    assert camera is not None and not camera.moves(160, 160)


def test_nothing_is_tracked_on_a_plain_ground(drawn: creatures.Drawn) -> None:
    assert find_camera(from_pixels(drawn.frames), torch.from_numpy(drawn.masks)) is None


def test_the_ground_is_seen_where_the_character_has_left_it() -> None:
    ground = from_pixels(draw_ground("grass", 96, 96, 2)[None])[0]
    frames, alpha = ground.repeat(5, 1, 1, 1), torch.zeros(5, 96, 96)
    for number in range(5):
        part = (number, slice(30, 60), slice(10 + 12 * number, 30 + 12 * number))
        alpha[part] = 1
    frames = frames * (1 - alpha[:, None]) - alpha[:, None]
    torch.testing.assert_close(clean_plate(frames, alpha), ground)


def test_what_is_never_seen_is_filled_from_around_it() -> None:
    ground = torch.full((3, 64, 64), 0.25)
    frame, alpha = ground.clone(), torch.zeros(1, 64, 64)
    frame[:, 20:40, 20:40], alpha[:, 20:40, 20:40] = -1, 1
    plate = clean_plate(frame[None], alpha)
    assert (plate - ground).abs().max() < 0.05
    assert torch.equal(plate[:, :10], ground[:, :10])
