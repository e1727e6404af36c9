"""Near and far limbs: two peaks are two legs, and a clip keeps its legs in order."""

import torch
from torch import Tensor

from anamodiff.creatures import JOINTS, Character, draw
from anamodiff.lofnet.heat import peak_place, probabilities
from anamodiff.lofnet.limbs import FAR, NEAR, LimbPairs, in_order, read_limbs, read_pairs
from anamodiff.warp import identity_grid

SPREAD = 0.04


def maps(places: Tensor) -> Tensor:
    """Heat maps `f j 64 64` (sums of 1) with one peak at each of places `f j 2`."""
    grid = identity_grid(64, 64)
    apart = (grid - places[:, :, None, None]).square().sum(-1)
    return probabilities(-apart / (2 * SPREAD**2))


def walking(frames: int = 12) -> Tensor:
    """Joints `f 22 2` of a walking horse."""
    drawn = draw(Character("horse", "brown"), "walk", frames=frames, size=16)
    return torch.from_numpy(drawn.skeleton)


def feet(places: Tensor) -> Tensor:
    """The four feet, `f 4 2`."""
    names = ("near_front_foot", "far_front_foot", "near_hind_foot", "far_hind_foot")
    return places[:, [JOINTS.index(name) for name in names]]


def test_one_leg_is_not_found_twice() -> None:
    """Both maps have a peak on either leg, both higher on the same one."""
    first, second = torch.tensor([[[-0.3, 0.5]]]), torch.tensor([[[0.3, 0.5]]])
    one, two = maps(first), maps(second)
    near, far = 0.7 * one + 0.3 * two, 0.6 * one + 0.4 * two
    assert torch.equal(peak_place(near)[..., 0] > 0, peak_place(far)[..., 0] > 0)
    pairs = read_pairs(near, far)
    torch.testing.assert_close(
        pairs.places[0, 0], torch.stack([first[0, 0], second[0, 0]]), atol=0.01, rtol=0
    )
    assert pairs.odds[0, 0] > 0


def test_legs_that_stand_together_stay_together() -> None:
    place = torch.tensor([[[0.1, 0.5]]])
    pairs = read_pairs(maps(place), maps(place + 0.02))
    assert (pairs.places[0, 0] - place[0]).abs().max() < 0.03


def test_sure_maps_are_read_as_they_are() -> None:
    joints = walking()
    found = read_limbs(maps(joints), torch.zeros(12, 22))
    torch.testing.assert_close(found, joints, atol=0.06, rtol=0)


def test_doubtful_maps_give_both_legs_in_one_order() -> None:
    """No frame says which leg is near; the legs' paths are found all the same."""
    joints = walking(16)
    share = maps(joints)
    lot = torch.Generator().manual_seed(0)
    for near, far in zip(NEAR, FAR, strict=True):
        tilt = 0.5 + 0.06 * torch.randn(16, 4, 1, 1, generator=lot)
        one, two = share[:, near], share[:, far]
        share[:, near], share[:, far] = tilt * one + (1 - tilt) * two, (1 - tilt) * one + tilt * two
    found = feet(read_limbs(share, torch.zeros(16, 22)))
    truth = feet(joints)
    for pair in (slice(0, 2), slice(2, 4)):
        as_is = (found[:, pair] - truth[:, pair]).norm(dim=-1).amax()
        swapped = (found[:, pair] - truth[:, pair].flip(1)).norm(dim=-1).amax()
        assert min(as_is, swapped) < 0.08
    at_random = feet(peak_place(share))
    assert (at_random - truth).norm(dim=-1).amax() > 0.15


def test_what_most_frames_say_decides_the_order() -> None:
    joints = walking(12)
    limb = torch.stack([joints[:, NEAR[0]], joints[:, FAR[0]]], dim=2)  # f 4 2 2
    odds = torch.full((12, 4), 3.0)
    odds[3:6] = -1.0
    for places, said in ((limb, odds), (limb.flip(2), -odds)):
        ordered = in_order(LimbPairs(places, said), torch.ones(4), 0.5)
        torch.testing.assert_close(ordered, limb, atol=0.03, rtol=0)


def test_absent_levels_have_no_say() -> None:
    joints = walking(12)
    limb = torch.stack([joints[:, NEAR[0]], joints[:, FAR[0]]], dim=2)
    limb[:, 1] = torch.rand(12, 2, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0])
    ordered = in_order(LimbPairs(limb, torch.full((12, 4), 2.0)), weight, 0.5)
    torch.testing.assert_close(ordered[:, 2:], limb[:, 2:])
