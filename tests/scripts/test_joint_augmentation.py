"""Augmentation of samples by batches: places, colours, grounds, covers."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from joint_samples import pool_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import augment, bank, looks  # noqa: E402
from joints.samples import Sample, Samples, cut_out  # noqa: E402

from anamodiff.creatures import ABSENT, JOINTS, SEEN  # noqa: E402


@pytest.fixture(autouse=True)
def always_the_same() -> None:
    random.seed(4)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(3)


def marked() -> Sample:
    """A sample whose three joints are single bright pixels of different colours."""
    frame, mask = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
    mask[60:160, 70:200] = True
    joints = np.full((22, 2), np.nan, np.float32)
    for i, (x, y) in enumerate(((90, 80), (150, 100), (180, 140))):
        frame[y - 2 : y + 3, x - 2 : x + 3, i] = 255
        joints[i] = x, y
    return cut_out(frame, mask, joints, np.array([SEEN] * 3 + [ABSENT] * 19, np.uint8))


def test_joints_go_where_the_picture_goes() -> None:
    """Painted dots land where the joints are mapped to, mirrored or not."""
    torch.manual_seed(0)
    (shelf,) = pool_of(Samples.of([marked()], ["cow"])).shelves.values()
    rows = torch.zeros(30, dtype=torch.long)
    mapping = augment.random_mapping(shelf.boxes[rows])
    pictures, _ = augment.warp(shelf.canvases[rows], mapping)
    places = mapping.forward(shelf.joints[rows])
    flips = places[:, 0, 0] > places[:, 2, 0]
    assert 5 < flips.sum() < 25 and places[:, 3:].isnan().all()
    seen = 0
    for picture, place in zip(pictures.numpy(), places.numpy(), strict=True):
        for i in range(3):
            bright = np.clip(picture[i] - np.delete(picture, i, 0).max(0) - 0.08, 0, None)
            if bright.sum() > 8:
                y, x = (np.average(axis, weights=bright) for axis in np.indices((256, 256)))
                assert np.hypot(x - place[i, 0], y - place[i, 1]) < 1.6
                seen += 1
    assert seen > 60


def test_the_curves_invert_each_other() -> None:
    torch.manual_seed(0)
    mapping = augment.random_mapping(torch.tensor([[40.0, 60.0, 120.0, 90.0]] * 8))
    at = torch.stack(torch.meshgrid(*[torch.arange(256.0)] * 2, indexing="xy"), -1)
    source = (mapping.grid() + 1) * 127.5
    back = mapping.forward(source.flatten(1, 2)).unflatten(1, (256, 256))
    torch.testing.assert_close(back, at.expand_as(back), atol=0.02, rtol=0)


def test_near_and_far_stay_near_and_far_when_mirrored() -> None:
    """Joint 6, the near shoulder, is painted; it is still joint 6 that lies on the paint."""
    frame, mask = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
    mask[60:160, 70:200] = True
    joints = np.full((22, 2), np.nan, np.float32)
    near, far = JOINTS.index("near_shoulder"), JOINTS.index("far_shoulder")
    joints[near], joints[far] = (90, 100), (170, 110)
    frame[95:106, 85:96] = 255
    sample = cut_out(frame, mask, joints, np.where(np.isnan(joints[:, 0]), ABSENT, SEEN))
    (shelf,) = pool_of(Samples.of([sample], ["cow"])).shelves.values()
    torch.manual_seed(1)
    rows = torch.zeros(20, dtype=torch.long)
    mapping = augment.random_mapping(shelf.boxes[rows])
    pictures, alpha = augment.warp(shelf.canvases[rows], mapping)
    pixels = mapping.forward(shelf.joints[rows]).round().long()
    assert (mapping.matrix[:, 0, 0] < 0).any() and (mapping.matrix[:, 0, 0] > 0).any()
    for picture, covered, places in zip(pictures, alpha, pixels, strict=True):
        for joint, tone in ((near, 1.0), (far, 0.0)):
            x, y = places[joint].tolist()
            if 0 <= x < 256 and 0 <= y < 256 and covered[0, y, x] == 1:
                assert abs(float(picture[:, y, x].mean()) - tone) < 0.3


def test_augmented_samples_keep_their_form(lot: np.random.Generator) -> None:
    torch.manual_seed(0)
    pool = pool_of(bank.new_samples("drawn", None, lot, 6))
    batch = pool.next(40, 0.3)
    assert batch.pictures.shape == (40, 3, 256, 256)
    assert batch.pictures.min() >= -1 and batch.pictures.max() <= 1
    assert torch.equal(batch.joints.isnan().any(-1), batch.visibility == ABSENT)
    outside = (batch.joints.abs() > 1).any(-1)
    assert not (batch.visibility[outside] == SEEN).any()
    assert batch.pictures.std((1, 2, 3)).min() > 0.01 and batch.frames().is_contiguous(
        memory_format=torch.channels_last
    )


def test_grounds_are_of_all_kinds() -> None:
    torch.manual_seed(0)
    made, white = looks.grounds(torch.zeros(200, 3, 256, 256))
    assert 0.3 < white.float().mean() < 0.5
    assert (made[white] == 1).all() and made.isfinite().all()
    flat = made.std((2, 3)).amax(1) < 1e-6
    assert (flat & ~white).any() and (~flat).sum() > 60


def test_recolouring_changes_colours_not_shapes() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 256, 256).expand(64, -1, -1, -1)
    after = looks.recolour(picture)
    assert after.isfinite().all() and after.min() >= 0 and after.max() <= 1
    same = (after - picture).abs().mean((1, 2, 3)) < 0.02
    assert same.float().mean() < 0.5
    assert (after - after.mean(1, keepdim=True)).abs().amax((1, 2, 3)).lt(1e-3).any()  # grey


def test_what_is_covered_is_hidden() -> None:
    torch.manual_seed(0)
    at = torch.arange(0, 256, 4.0)
    joints = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).flatten(0, 1)
    pictures = torch.full((60, 3, 256, 256), 2.0)
    after, under = augment.cover(pictures, joints.expand(60, -1, -1))
    chosen = under.any(1)
    assert 10 <= chosen.sum() <= 14
    for picture, hidden in zip(after[chosen], under[chosen], strict=True):
        x, y = joints[hidden].long().unbind(-1)
        assert (picture[:, y, x] <= 1).all()
    assert (after[~chosen] == 2).all()
