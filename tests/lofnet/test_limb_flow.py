"""Bones as motions, the flow chosen among them, and the background beside it."""

import pytest
import torch

from anamodiff.creatures.skeleton import BONES, JOINTS
from anamodiff.lofnet.bone_motion import bone_distances, bone_motions
from anamodiff.lofnet.limb_flow import LimbFlow, LimbMotion
from anamodiff.lofnet.silhouette import GRID
from anamodiff.warp import identity_grid, warp


def skeleton(seed: int = 0) -> torch.Tensor:
    """Joints ``1 22 2`` anywhere within the picture."""
    lot = torch.Generator().manual_seed(seed)
    return torch.rand(1, len(JOINTS), 2, generator=lot) * 1.4 - 0.7


def test_bones_meet_at_joints_of_the_skeleton() -> None:
    named = [(JOINTS[a], JOINTS[b]) for a, b in BONES]
    assert ("withers", "head") in named and ("near_hip", "near_knee") in named
    assert ("far_wrist", "far_front_foot") in named and len(named) == 17


def test_a_motion_takes_the_targets_bone_to_the_sources() -> None:
    source, target = skeleton(0), skeleton(1)
    motions = bone_motions(source, target)
    for n, (a, b) in enumerate(BONES):
        start = motions.matrix[0, n] @ target[0, a] + motions.shift[0, n]
        torch.testing.assert_close(start, source[0, a])
        end = motions.matrix[0, n] @ (target[0, b] - target[0, a])
        direction = (source[0, b] - source[0, a]) / (source[0, b] - source[0, a]).norm()
        torch.testing.assert_close(end / end.norm(), direction)


def test_a_moved_body_is_moved_back_whole() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    target = skeleton(2)
    source = target @ turn.T + torch.tensor([0.1, -0.2])
    motions = bone_motions(source, target)
    torch.testing.assert_close(motions.matrix, turn.expand(1, len(BONES), 2, 2))
    torch.testing.assert_close(
        motions.shift, torch.tensor([0.1, -0.2]).expand(1, len(BONES), 2), atol=1e-5, rtol=0
    )


def test_a_bone_without_an_end_is_unknown() -> None:
    source = skeleton()
    source[0, JOINTS.index("tail_tip")] = torch.nan
    motions = bone_motions(source, skeleton(1))
    assert (~motions.known).nonzero().tolist() == [[0, BONES.index((4, 5))]]
    assert not motions.matrix.isnan().any() and not motions.shift.isnan().any()
    far = bone_distances(source, identity_grid(8, 8))
    assert (far[0, BONES.index((4, 5))] == 9).all() and not far.isnan().any()


def test_distances_are_to_segments() -> None:
    joints = torch.full((1, len(JOINTS), 2), torch.nan)
    joints[0, 0], joints[0, 1] = torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0])
    grid = torch.tensor([[[0.0, 0.3], [1.0, 0.0]]])
    found = bone_distances(joints, grid)[0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.3, 0.5]), atol=1e-4, rtol=0)


@pytest.fixture
def net() -> LimbFlow:
    torch.manual_seed(0)
    return LimbFlow(widths=(8, 8, 16)).eval()


def test_equal_poses_leave_the_character_where_it_is(net: LimbFlow) -> None:
    pose = skeleton()
    motion = net(torch.rand(1, 4, GRID, GRID), pose, pose)
    torch.testing.assert_close(motion.character[0], identity_grid(GRID, GRID), atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.mask.sum(1), torch.ones(1, GRID, GRID))


def test_unknown_bones_get_no_weight(net: LimbFlow) -> None:
    pose = skeleton()
    pose[0, 18:] = torch.nan
    motion = net(torch.rand(1, 4, GRID, GRID), pose, pose)
    assert motion.mask[0, 1 + 14 :].max() < 1e-6
    assert not motion.character.isnan().any()


def blob(size: int = 64) -> torch.Tensor:
    """A foreground with a broad body and a leg one pixel wide."""
    foreground = torch.zeros(size, size, dtype=torch.bool)
    foreground[20:34, 10:50] = True
    foreground[34:50, 30] = True
    return foreground


def test_the_flow_shows_character_where_it_is_and_background_elsewhere(net: LimbFlow) -> None:
    pose = skeleton()
    motion = net(torch.rand(1, 4, GRID, GRID), pose, pose + 0.1)
    foreground = blob()
    shown = warp(
        foreground[None, None].float(),
        motion.flow(foreground[None], torch.zeros(1, dtype=torch.long)),
    )[:, 0]
    beside = motion.ground > 0
    assert beside.any() and (~beside).any()
    assert (shown[beside] == 0).all()
    # Half a pixel off, both ways, is near enough to the end of a leg that is one pixel wide.
    assert shown[~beside].min() > 0.24 and shown[~beside].mean() > 0.9
    assert motion.flow(foreground[None], torch.zeros(1, dtype=torch.long), 32, 48).shape == (
        1,
        32,
        48,
        2,
    )


def test_errors_in_the_sources_own_pose_are_taken_out() -> None:
    """A network that looks up beside, and takes too much for background, in every pose alike."""
    size, rim = 2 * GRID, 8
    foreground = torch.zeros(size, size, dtype=torch.bool)
    foreground[32:96, 24:104] = True
    grid = identity_grid(GRID, GRID)
    outside = (grid.abs() - torch.tensor([0.625, 0.5])).amax(-1)
    shifted = torch.tensor([0.25, 0.0])  # 16 pixels

    def motion(place: torch.Tensor) -> LimbMotion:
        ground = 20 * (outside + 0.02)[None]
        nothing = torch.zeros(1, GRID, GRID)
        return LimbMotion((grid + place + 0.06)[None], nothing[:, None], ground, nothing)

    frames = torch.zeros(1, dtype=torch.long)
    own = motion(torch.zeros(2))
    first = own.flow(foreground[None], frames, size, size, own)[0]
    inner = (slice(32 + rim, 96 - rim), slice(24 + rim, 104 - rim))
    still = identity_grid(size, size)
    torch.testing.assert_close(first[inner], still[inner], atol=1e-3, rtol=0)
    # All of the character is shown, and nothing else; without the correction a part is lost.
    shown = warp(foreground[None, None].float(), first[None], interpolation="nearest")[0, 0] > 0
    plain = own.flow(foreground[None], frames, size, size)
    lost = warp(foreground[None, None].float(), plain, interpolation="nearest")[0, 0] > 0
    assert (shown != foreground).sum() < 0.4 * (lost != foreground).sum()
    moved = motion(-shifted).flow(foreground[None], frames, size, size, own)[0]
    both = (slice(32 + rim, 96 - rim), slice(40 + rim, 104 - rim))
    torch.testing.assert_close(moved[both], (still - shifted)[both], atol=1e-3, rtol=0)


def test_saved_weights_give_the_same_flow(net: LimbFlow, tmp_path) -> None:
    net.save(tmp_path / "limb_flow")
    again = LimbFlow.load(tmp_path / "limb_flow")
    picture, pose = torch.rand(1, 4, GRID, GRID), skeleton()
    torch.testing.assert_close(
        again(picture, pose, pose + 0.1).character, net(picture, pose, pose + 0.1).character
    )
