"""Stains of compression on plain grounds, and faint parts of characters, which are none."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff import creatures
from anamodiff.creatures.ground import on_ground
from anamodiff.matting.compression import FINE_DISTANCE, least_distance, stains
from anamodiff.matting.cutout import cut_plain
from anamodiff.video.letterbox import from_pixels

NAVY = (10, 20, 80)


@pytest.fixture(scope="module")
def giraffe() -> creatures.Drawn:
    character = creatures.Character("giraffe", "yellow", scale=0.9, outline=False)
    return creatures.draw(character, "walk", frames=1, size=256)


def test_what_compression_leaves_around_a_character_is_not_its(giraffe) -> None:
    coded = BytesIO()
    Image.fromarray(on_ground(giraffe, NAVY)[0]).save(coded, "jpeg", quality=80)
    frames = from_pixels(np.asarray(Image.open(coded))[None].copy())
    colour = torch.tensor(NAVY) / 127.5 - 1
    assert least_distance(frames, colour) > FINE_DISTANCE
    found = cut_plain(frames, colour, least=6.0, stained=True).mask
    truth = torch.from_numpy(giraffe.coverage > 127)
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_a_clean_clip_is_not_stained(giraffe) -> None:
    frames = from_pixels(on_ground(giraffe, NAVY))
    assert least_distance(frames, torch.tensor(NAVY) / 127.5 - 1) == FINE_DISTANCE


def test_faint_parts_are_no_stains() -> None:
    frames = np.full((1, 64, 64, 3), 128, np.uint8)
    frames[:, 20:44, 10:30] = 142  # 5.5 in Lab
    board = np.indices((24, 20)).sum(0) % 2
    frames[:, 20:44, 34:54] = np.where(board, 142, 114)[..., None]
    found = stains(from_pixels(frames), torch.full((3,), 128 / 127.5 - 1), 6.0)
    assert not found[0, 24:40, 14:26].any() and found[0, 24:40, 38:50].all()
