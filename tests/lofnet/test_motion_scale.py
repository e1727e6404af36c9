"""Wider and narrower motion, of key points' Jacobians and of skeletons."""

import math

import pytest
import torch
from torch.testing import assert_close

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.adapt import adapt_points
from anamodiff.lofnet.bones import PARENT, ROOT
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.motion_scale import scale_affine, scale_poses


def turned(angle: float, size: float = 1.0) -> torch.Tensor:
    cos, sin = size * math.cos(angle), size * math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]])


def test_turns_sizes_and_stretches_are_scaled() -> None:
    assert_close(scale_affine(turned(0.4, 1.5), 2.0), turned(0.8, 2.25))
    stretch = torch.diag(torch.tensor([2.0, 0.5]))
    assert_close(scale_affine(stretch, 2.0), torch.diag(torch.tensor([4.0, 0.25])))
    assert_close(scale_affine(stretch, 0.5), torch.diag(torch.tensor([2**0.5, 0.5**0.5])))


def test_scaled_matrices_keep_their_orientation() -> None:
    matrices = torch.eye(2) + 0.4 * torch.randn(
        500, 2, 2, generator=torch.Generator().manual_seed(0)
    )
    before = torch.linalg.det(matrices)
    for scale in (0.0, 0.5, 3.0):
        after = torch.linalg.det(scale_affine(matrices, scale))
        assert after.isfinite().all() and (after[before > 0.05] > 0).all()
    assert_close(scale_affine(matrices, 1.0), matrices)
    near = scale_affine(matrices, 1.0 + 1e-6)
    assert_close(near, matrices, atol=1e-3, rtol=1e-3)
    proper = before > 0.05
    assert_close(scale_affine(matrices, 0.0)[proper], torch.eye(2).expand(int(proper.sum()), 2, 2))
    mirrored = torch.diag(torch.tensor([1.0, -1.0]))
    assert_close(scale_affine(mirrored, 2.0), mirrored)


def test_points_move_so_many_times_as_far_from_the_source() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = 0.1 * torch.randn(4, 5, 2, generator=generator)
    driving = KeyPoints(steps, torch.eye(2) + 0.1 * torch.randn(4, 5, 2, 2, generator=generator))
    source = KeyPoints(torch.randn(1, 5, 2, generator=generator), torch.eye(2).expand(1, 5, 2, 2))
    once, half, none = (
        adapt_points(driving, driving[0], source, motion_scale=scale) for scale in (1.0, 0.5, 0.0)
    )
    assert_close(half.value - source.value, 0.5 * (once.value - source.value))
    assert_close(none.value, source.value.expand_as(once.value))
    assert_close(none.jacobian, source.jacobian.expand_as(once.jacobian), atol=1e-5, rtol=1e-5)
    assert_close(half.value[0], source.value[0])


@pytest.fixture
def poses() -> torch.Tensor:
    """A body that rises while one near leg swings by 0.4 to either side; without a tail's tip."""
    joints = torch.stack([torch.linspace(-0.5, 0.5, len(JOINTS))] * 2, -1)
    joints[:, 1] = torch.sin(7 * torch.arange(len(JOINTS)))  # no two in one place
    clip = joints.expand(5, -1, -1).clone()
    foot = JOINTS.index("near_front_foot")
    for frame, swing in enumerate((0.4, 0.2, 0.0, -0.2, -0.4)):
        own = joints[foot] - joints[PARENT[foot]]
        clip[frame, foot] = joints[PARENT[foot]] + turned(swing) @ own
        clip[frame, :, 1] -= 0.05 * frame
    clip[:, JOINTS.index("tail_tip")] = torch.nan
    return clip


def direction(poses: torch.Tensor, name: str) -> torch.Tensor:
    joint = JOINTS.index(name)
    bone = poses[:, joint] - poses[:, PARENT[joint]]
    return torch.atan2(bone[:, 1], bone[:, 0])


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_poses_swing_and_rise_so_many_times_as_far(poses: torch.Tensor, scale: float) -> None:
    moved = scale_poses(poses, scale)
    assert torch.equal(moved.isnan(), poses.isnan())
    swing = direction(moved, "near_front_foot") - direction(poses, "near_front_foot")[2]
    assert_close(swing, scale * torch.tensor([0.4, 0.2, 0.0, -0.2, -0.4]), atol=1e-4, rtol=0)
    assert_close(moved[0, ROOT], poses[0, ROOT])
    rise = moved[:, ROOT, 1] - moved[0, ROOT, 1]
    assert_close(rise, -0.05 * scale * torch.arange(5.0))
    lengths = [(clip - clip[:, list(PARENT)]).norm(dim=-1).nan_to_num() for clip in (poses, moved)]
    assert_close(lengths[1], lengths[0], atol=1e-4, rtol=1e-3)


def test_once_as_far_changes_nothing(poses: torch.Tensor) -> None:
    assert_close(scale_poses(poses, 1.0), poses, equal_nan=True)
    assert_close(scale_poses(poses, 1.0 + 1e-7), poses, equal_nan=True, atol=1e-4, rtol=1e-4)


def test_a_bone_that_turns_all_around_does_not_jump() -> None:
    clip = torch.zeros(12, len(JOINTS), 2)
    head = JOINTS.index("withers")
    around = torch.linspace(0, 2 * math.pi, 12)
    clip[:, head] = torch.stack([around.cos(), around.sin()], -1)
    moved = scale_poses(clip, 0.5)[:, head]
    steps = moved.diff(dim=0).norm(dim=-1)
    assert steps.max() < 0.5, "half a turn in twelve even steps"
