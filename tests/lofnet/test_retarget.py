"""Retargeting: skeleton trees, the own frame of a clip, what the answer follows and ignores."""

import pytest
import torch
from torch import Tensor

from anamodiff.creatures import JOINTS, Character, draw
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.bones import (
    ORDER,
    PARENT,
    ROOT,
    body_of,
    directed_as,
    fill_in,
    place_of,
    unfold,
)
from anamodiff.lofnet.retarget import Retargeter

MIRROR = torch.tensor([-1.0, 1.0])


@pytest.fixture(scope="module")
def tiny() -> Retargeter:
    """A network that says something: an untrained one holds the source's mean pose."""
    torch.manual_seed(0)
    net = Retargeter(20, 1, 2).eval()
    torch.nn.init.normal_(net.answer.weight, std=0.05)
    return net


def clip(
    species: str, motion: str, frames: int = 6, facing: str = "right"
) -> tuple[Tensor, Tensor]:
    """Joints `f j 2` and weights `f j` of a drawn clip."""
    drawn = draw(Character(species, "grey", facing=facing), motion, frames=frames, size=16)
    joints = torch.from_numpy(drawn.skeleton)
    return joints, (~joints.isnan().any(-1)).float()


def test_the_tree_reaches_every_joint_from_its_parent() -> None:
    assert PARENT[ROOT] == ROOT and sorted([*ORDER, ROOT]) == list(range(22))
    done = {ROOT}
    for i in ORDER:
        assert PARENT[i] in done
        done.add(i)
    up = {JOINTS[i]: JOINTS[p] for i, p in enumerate(PARENT)}
    assert up["near_elbow"] == "near_shoulder" and up["far_hock"] == "far_knee"
    assert up["near_hip"] == "tail_base" and up["far_shoulder"] == "withers"


def test_bones_put_together_give_the_pose_again() -> None:
    joints, weight = clip("horse", "walk", frames=1)
    body = body_of(joints[None], weight[None])
    root = body.joints[:, :, ROOT]
    again = unfold(body.bones[:, None], root)
    torch.testing.assert_close(again, joints[None])


def test_gaps_are_filled_from_the_mean_bone() -> None:
    joints, weight = clip("cow", "walk")
    hock, knee = JOINTS.index("near_hock"), JOINTS.index("near_knee")
    holed, less = joints.clone(), weight.clone()
    holed[2, hock], less[2, hock] = torch.nan, 0
    filled, bones, _ = fill_in(holed[None], less[None])
    torch.testing.assert_close(filled[0, 2, hock], joints[2, knee] + bones[0, hock])
    torch.testing.assert_close(filled[0, 3], joints[3])
    assert not filled.isnan().any()


def test_joints_that_are_lacking_lie_on_their_parents() -> None:
    joints, weight = clip("bird", "walk")
    filled, bones, _ = fill_in(joints[None], weight[None])
    hip, tail = JOINTS.index("near_hip"), JOINTS.index("tail_base")
    torch.testing.assert_close(filled[0, :, hip], joints[:, tail])
    assert (bones[0, hip] == 0).all()


@pytest.mark.parametrize("species", ["horse", "cat", "turtle", "ostrich", "fish", "man"])
def test_the_own_frame_faces_right(species: str) -> None:
    """Mirrored clips look the same in their own frames, and `leave` undoes `enter`."""
    joints, weight = clip(species, "walk")
    moved = joints * MIRROR * 0.6 + torch.tensor([0.2, -0.1])
    one, two = (place_of(x[None], weight[None]) for x in (joints, moved))
    assert one.side.item() == 1 and two.side.item() == -1
    entered = two.enter(moved[None])
    torch.testing.assert_close(entered, one.enter(joints[None]), atol=1e-5, rtol=0, equal_nan=True)
    torch.testing.assert_close(two.leave(entered)[0], moved, equal_nan=True)


def test_the_answer_follows_the_source(tiny: Retargeter) -> None:
    """It is moved, scaled and mirrored as the source is, whatever is done to the driving clip."""
    source, driving = clip("horse", "idle", 4), clip("cat", "gallop", 7)
    found = tiny.retarget(*source, *driving)
    assert found.place.shape == (7, 22, 2) and found.expected_error.shape == (7, 22)
    shift = torch.tensor([0.3, 0.2])
    other = tiny.retarget(
        source[0] * MIRROR * 0.5 + shift, source[1], driving[0] * MIRROR * 1.7 - shift, driving[1]
    )
    torch.testing.assert_close(other.place, found.place * MIRROR * 0.5 + shift, atol=1e-4, rtol=0)
    torch.testing.assert_close(other.expected_error, 0.5 * found.expected_error)
    assert (found.place[1:] - found.place[:-1]).abs().max() > 1e-3


def test_the_order_of_source_frames_does_not_matter(tiny: Retargeter) -> None:
    source, driving = clip("pig", "walk", 5), clip("dog", "jump", 6)
    turned = (source[0].flip(0), source[1].flip(0))
    torch.testing.assert_close(
        tiny.retarget(*source, *driving).place, tiny.retarget(*turned, *driving).place
    )


def test_joints_that_the_source_lacks_stay_absent(tiny: Retargeter) -> None:
    source, driving = clip("bird", "idle", 1), clip("horse", "walk", 5)
    found = tiny.retarget(*source, *driving).place
    absent = source[0][0].isnan().any(-1)
    assert absent.any() and torch.equal(found.isnan().any(-1), absent.expand(5, -1))


def test_long_clips_go_in_windows(tiny: Retargeter) -> None:
    source, driving = clip("cow", "idle", 3), clip("horse", "trot", 60)
    found = tiny.retarget(*source, *driving).place
    assert found.shape == (60, 22, 2) and found.isfinite().all()
    jumps = found.diff(dim=0).norm(dim=-1).mean(1)
    assert jumps.max() < 8 * jumps.median()


def test_an_untrained_network_turns_bones_as_the_driver_does() -> None:
    """A driver that stands still leaves the source's pose; the same body driving gives itself."""
    untrained = Retargeter(20, 1, 2)
    source, still = clip("cow", "idle", 1), clip("horse", "idle", 1)
    found = untrained.retarget(*source, *(x.expand(5, *x.shape[1:]) for x in still)).place
    torch.testing.assert_close(found, source[0].expand(5, -1, -1), atol=0.01, rtol=0)
    same = clip("cow", "walk", 8)
    torch.testing.assert_close(untrained.retarget(*same, *same).place, same[0], atol=0.02, rtol=0)


def test_directions_are_taken_with_own_lengths() -> None:
    (cow, weight), (horse, other) = clip("cow", "idle", 1), clip("horse", "jump", 5)
    body = body_of(cow[None], weight[None])
    mover = body_of(horse[None], other[None])
    made = directed_as(body.bones, mover)
    elbow = JOINTS.index("near_wrist")
    across = made[..., 0] * mover.bones_now[..., 1] - made[..., 1] * mover.bones_now[..., 0]
    assert across[:, :, elbow].abs().max() < 1e-5
    torch.testing.assert_close(made.norm(dim=-1).mean(1)[0, elbow], body.lengths[0, elbow])


def test_files(tiny: Retargeter, tmp_path) -> None:
    source, driving = clip("cow", "idle", 3), clip("horse", "trot", 5)
    tiny.save(tmp_path / "retargeter")
    again = Retargeter.load(tmp_path / "retargeter").retarget(*source, *driving)
    torch.testing.assert_close(again.place, tiny.retarget(*source, *driving).place)
    with pytest.raises(AnaMoDiffError, match="missing"):
        Retargeter.load(tmp_path / "other")
    (tmp_path / "retargeter.json").write_text('{"features": 24, "layers": 1, "heads": 2}')
    with pytest.raises(AnaMoDiffError, match="fit"):
        Retargeter.load(tmp_path / "retargeter")
