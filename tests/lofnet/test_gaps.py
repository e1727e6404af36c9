"""Gaps between limbs, told from pale patches."""

import torch

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.gaps import without_gaps

GREY = -0.4


def animal() -> tuple[torch.Tensor, torch.Tensor]:
    """A body on two legs whose feet touch, 128 pixels, and its joints."""
    frame = torch.ones(1, 3, 128, 128)
    frame[..., 30:60, 20:110] = GREY
    frame[..., 60:100, 30:38] = frame[..., 60:100, 50:58] = frame[..., 92:100, 30:58] = GREY
    joints = torch.full((1, len(JOINTS), 2), torch.nan)
    places = {
        "withers": (30, 45), "spine": (60, 45), "tail_base": (108, 45), "near_shoulder": (34, 48),
        "near_elbow": (34, 60), "near_wrist": (34, 80), "near_front_foot": (34, 98),
        "far_shoulder": (54, 48), "far_elbow": (54, 60), "far_wrist": (54, 80),
        "far_front_foot": (54, 98),
    }  # fmt: skip
    for name, place in places.items():
        joints[0, JOINTS.index(name)] = torch.tensor(place) / 63.5 - 1
    return frame, joints


def filled(frame: torch.Tensor) -> torch.Tensor:
    """Its foreground with holes closed, as it is found on white."""
    mask = frame[:, 0] < 0.9
    mask[:, 60:92, 38:50] = True
    return mask


def test_what_legs_enclose_is_ground() -> None:
    frame, joints = animal()
    opened = without_gaps(filled(frame), frame, joints)
    assert torch.equal(opened, frame[:, 0] < 0.9)


def test_a_white_patch_of_the_trunk_stays() -> None:
    frame, joints = animal()
    mask = frame[:, 0] < 0.9
    frame[..., 38:50, 70:90] = 1.0
    assert torch.equal(without_gaps(mask, frame, joints), mask)


def test_a_patch_that_fades_into_a_pale_leg_stays() -> None:
    frame, joints = animal()
    pale = torch.where(frame < 0.9, 0.85, 1.0)
    assert torch.equal(without_gaps(filled(frame), pale, joints), filled(frame))


def test_without_joints_nothing_is_opened() -> None:
    frame, _ = animal()
    nothing = torch.full((1, len(JOINTS), 2), torch.nan)
    assert torch.equal(without_gaps(filled(frame), frame, nothing), filled(frame))
