"""Near and far limbs, told apart over a whole clip.

On a single frame the near leg and the far one often look alike, and the heat maps of both then have
two peaks. Each pair of joints is read from both maps together, so that no leg is found twice while
the other is lost; then the legs are put in one order for the whole clip: bones keep their lengths,
legs move evenly, and the heat maps' log odds count.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.heat import around, highest, mean_place, peak_place

LIMB_JOINTS = (("shoulder", "elbow", "wrist", "front_foot"), ("hip", "knee", "hock", "hind_foot"))
NEAR, FAR = (
    [[JOINTS.index(f"{side}_{joint}") for joint in limb] for limb in LIMB_JOINTS]
    for side in ("near", "far")
)
WITHERS, SPINE, TAIL = (JOINTS.index(name) for name in ("withers", "spine", "tail_base"))
RADIUS, GAP = 3, 1  # cells about a peak that are its own, and where the next one may begin
SMOOTH = 3
MIN_SECOND_MASS, MAX_FIRST_MASS = (
    0.3,
    1.7,
)  # least mass of a second peak, greatest of the first, for two limbs apart
HEAT_MAP_WEIGHT = 1.0  # of the heat maps' log odds beside bones and steps
MAX_LOG_ODDS = 6.0  # greatest log odds for an order that a frame's maps can give
BONE_SPREAD, STEP_SPREAD, TURN_SPREAD = (
    0.1,
    0.5,
    0.16,
)  # spreads of lengths, steps and changes of step, in trunks
ORDERS = torch.tensor(list(product((0, 1), repeat=4)))  # whether each level's pair is swapped


@dataclass(frozen=True)
class LimbPairs:
    """Joints of a limb pair, `places` ``f 4 2 2`` (level, first and second, xy), and the log odds
    ``f 4`` that the first one is the near limb's."""

    places: Tensor
    odds: Tensor


def read_pairs(near: Tensor, far: Tensor) -> LimbPairs:
    """Places of limb pairs from the maps ``f l h w`` of the near and of the far limb.

    Where the maps' sum has two peaks of about one limb each, these are the two places; else each
    map's own peak is.
    """
    both, size = near + far, near.shape[-2:]
    smooth = torch.nn.functional.avg_pool2d(both, SMOOTH, 1, SMOOTH // 2)
    first = highest(smooth)
    one = around(first, size, RADIUS)
    second = highest(smooth * ~around(first, size, RADIUS + GAP))
    two = around(second, size, RADIUS) & ~one
    apart = (_mass(both, two) > MIN_SECOND_MASS) & (_mass(both, one) < MAX_FIRST_MASS)
    split = torch.stack([_middle(both, one), _middle(both, two)], dim=-2)
    own = torch.stack([peak_place(near), peak_place(far)], dim=-2)
    alone = around(highest(near), size, 1), around(highest(far), size, 1)
    odds = torch.where(apart, _odds(near, far, one, two), _odds(near, far, *alone))
    return LimbPairs(
        torch.where(apart[..., None, None], split, own), odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)
    )


def _odds(near: Tensor, far: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Log odds that the near limb is at `one` and the far one at `two`, not the other way round."""
    masses = [_mass(p, at).clamp_min(1e-3).log() for p in (near, far) for at in (one, two)]
    return masses[0] + masses[3] - masses[1] - masses[2]


def _mass(share: Tensor, where: Tensor) -> Tensor:
    return (share * where).sum((-2, -1))


def _middle(share: Tensor, where: Tensor) -> Tensor:
    cut = share * where
    return mean_place(cut / cut.sum((-2, -1), keepdim=True).clamp_min(1e-9))


def read_limbs(share: Tensor, absent: Tensor) -> Tensor:
    """Places ``f j 2`` of a clip's joints from its heat maps ``f j h w`` (each summing to one).

    Args:
        absent: ``f j``, the probability that there is no such joint; those have no say.
    """
    places = peak_place(share)
    trunk = (places[:, WITHERS] - places[:, SPINE]).norm(dim=-1)
    trunk = (trunk + (places[:, SPINE] - places[:, TAIL]).norm(dim=-1)).mean().clamp_min(0.05)
    for near, far in zip(NEAR, FAR, strict=True):
        pairs = read_pairs(share[:, near], share[:, far])
        weight = 1 - absent[:, near + far].mean(0).unflatten(0, (2, 4)).amax(0)
        # The search goes from frame to frame over a few numbers: on a GPU each would be waited for.
        pairs = LimbPairs(pairs.places.cpu(), pairs.odds.cpu())
        ordered = in_order(pairs, weight.cpu(), trunk.cpu()).to(places.device)
        places[:, near], places[:, far] = ordered.unbind(2)
    return places


def in_order(pairs: LimbPairs, weight: Tensor, size: Tensor | float) -> Tensor:
    """The most likely order of limb pairs over a clip: ``f 4 2 2``, near before far.

    Every frame has 16 orders of its four levels. The best path through them is found by dynamic
    programming over two frames at a time.

    Args:
        pairs: of ``f`` frames.
        weight: of the levels, ``4``.
        size: length of the trunk, in which distances are measured.
    """
    # The path is read number by number, for which a GPU would be waited for.
    places, odds, weight = pairs.places.cpu(), pairs.odds.cpu(), weight.cpu()
    options = _options(places) / float(size)  # f 16 4 2 2
    alone = _alone(options, odds, weight)  # f 16
    best = _path(options, alone, weight)
    chosen = ORDERS[best]  # f 4
    ordered = torch.where(chosen[..., None, None].bool(), places.flip(2), places)
    return ordered.to(pairs.places.device)


def _options(places: Tensor) -> Tensor:
    """All orders of every frame, ``f 16 4 2 2``."""
    swap = ORDERS.bool()[None, :, :, None, None]
    return torch.where(swap, places.flip(2)[:, None], places[:, None])


def _alone(options: Tensor, odds: Tensor, weight: Tensor) -> Tensor:
    """Costs of every frame's orders by themselves, ``f 16``: what the maps say, and bones that
    keep the lengths which they have in the shortest orders."""
    heat_map_cost = (ORDERS * odds[:, None] * weight).sum(-1)
    lengths = options.diff(dim=2).norm(dim=-1)  # f 16 3 2
    shortest = lengths.sum((2, 3)).argmin(1)
    usual = lengths[torch.arange(len(lengths)), shortest].mean(-1).median(0).values  # 3
    apart = (lengths - usual[:, None]).square().sum(-1) / (2 * BONE_SPREAD**2)
    return HEAT_MAP_WEIGHT * heat_map_cost + (apart * weight[1:] * weight[:-1]).sum(-1)


def _path(options: Tensor, alone: Tensor, weight: Tensor) -> Tensor:
    """Numbers ``f`` of the orders on the cheapest path."""
    frames = len(options)
    if frames == 1:
        return alone[0].argmin()[None]
    w = weight[:, None, None]
    step = (options[1:, None] - options[:-1, :, None]).square() * w  # f-1 before after ...
    steps = step.sum((-3, -2, -1)) / (2 * STEP_SPREAD**2)
    cost = alone[0][:, None] + alone[1] + steps[0]  # of paths that end in (before, after)
    back = []
    for t in range(2, frames):
        turn = options[t] - 2 * options[t - 1][:, None] + options[t - 2][:, None, None]
        turn = (turn.square() * w).sum((-3, -2, -1)) / (2 * TURN_SPREAD**2)  # first before after
        total = cost[:, :, None] + turn
        cost, first = total.min(dim=0)
        cost = cost + steps[t - 1] + alone[t]
        back.append(first)
    end = cost.argmin()
    path = [int(end % 16), int(end // 16)]
    for first in reversed(back):
        path.append(int(first[path[-1], path[-2]]))
    return torch.tensor(path[::-1])
