"""Choosing the source frame whose pose is the driving clip's first."""

import torch

from anamodiff import creatures
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.point_motion import nearest_start
from anamodiff.video.letterbox import from_pixels

SQUARE = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1], [0.1, 0.3]])
VAGUE = KeyPoints(torch.zeros(8, 5, 2))


def turned(count: int) -> KeyPoints:
    """The square, sheared further in every frame."""
    time = torch.linspace(0, 0.7, count)
    shear = torch.eye(2) + time[:, None, None] * torch.tensor([[0.0, 1], [0, 0]])
    return KeyPoints(0.5 * SQUARE @ shear.mT)


def rearing(species: str, seed: int) -> torch.Tensor:
    """Eight frames, upright in the middle."""
    character = creatures.Character.sample(seed, species=species, facing="right")
    return from_pixels(creatures.draw(character, "rear", frames=8, size=96).frames)


def test_the_nearest_pose_is_found_wherever_and_however_large_it_is() -> None:
    driving = turned(8)
    poses = KeyPoints(0.4 * driving.value + torch.tensor([0.3, -0.2]))
    for frame in (0, 3, 7):
        assert nearest_start(poses, driving[frame]) == frame
    assert nearest_start(poses, KeyPoints(torch.zeros(1, 5, 2))) in range(8)
    lines = torch.stack([torch.linspace(-0.5, 0.5, 5), torch.zeros(5)], dim=-1)
    assert nearest_start(KeyPoints(lines[None]), driving[0]) == 0


def test_the_first_frame_stays_unless_another_is_clearly_nearer() -> None:
    poses = turned(8)
    between = KeyPoints(poses.value[:1].lerp(poses.value[1:2], 0.51))
    assert nearest_start(poses, between) == 0
    assert nearest_start(poses, poses[1]) == 1


def test_outlines_tell_poses_that_points_do_not() -> None:
    horse, cat = rearing("horse", 3), rearing("cat", 4)
    height = (horse < 0.9).any(dim=1).any(dim=2).sum(dim=1)  # rows that are not white
    upright = nearest_start(VAGUE, VAGUE[0], horse, cat[4:5])
    assert height[upright] > 1.2 * height[0]
    lying = nearest_start(VAGUE, VAGUE[0], horse.roll(4, dims=0), cat[:1])
    assert height.roll(4)[lying] < 1.1 * height[0]
    # Whatever fills the frame has no outline.
    noise = torch.rand(8, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert nearest_start(turned(8), turned(8)[5], noise, cat[:1]) == 5
