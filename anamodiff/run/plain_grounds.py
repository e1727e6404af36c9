"""Characters on plain grounds, white ones among them: the same foreground on all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from anamodiff.matting.compression import FINE_DISTANCE, least_distance
from anamodiff.matting.cutout import (
    SOLID,
    WHITE,
    Cutout,
    cut_plain,
    enclosed,
    likely_holes,
    open_parts,
    with_parts,
)
from anamodiff.matting.network import MatteNetwork
from anamodiff.matting.smooth import smooth_ground
from anamodiff.video.foreground import (
    LARGEST_HOLE,
    cleaned,
    differs_from_ground,
    foreground_mask,
    plain_ground,
)

NetworkLoader = Callable[[], MatteNetwork]

# Of what is found by colour: how much more is worth a foreground of one's own on white; how much
# more a finer eye has to see for the network to be asked, on a compressed clip. What the network
# has to agree more (IoU) with a finer eye: on 19 pairs of characters and grounds, -.28 to -.02
# where that saw too much, .08 to .8 where it saw more of the character.
MUCH, DOUBTFUL, AGREED = 0.05, 0.15, 0.05
LARGE_SHARE = 0.15  # of a character's area: enclosed by it, and of the ground's colour
SURE = 0.8  # saliency of what is white, and enclosed by a character

#: What is said where the network is asked; of a clip's role.
IN_DOUBT = (
    "the %s's ground is plain: what has its colour is the character's where a network finds it so"
)


def announced(network: NetworkLoader, say: Callable[[], None]) -> NetworkLoader:
    """A loader that says so where it is used."""

    def load() -> MatteNetwork:
        say()
        return network()

    return load


def plain_colours(frames: Tensor) -> Tensor | None:
    """A plain ground's colour ``(3,)``, or colours ``3 h w`` where they change over the picture.

    None where the ground is textured.
    """
    smooth = smooth_ground(frames)
    return plain_ground(frames) if smooth is None else smooth


def canonical_foreground(frames: Tensor, mattes: Tensor) -> Tensor:
    """Where a character is that was set on white, ``f h w``, bool.

    As `foreground_mask` finds one that was filmed on white, whose edges it takes in as far as they
    can be seen, so that results are the same; and what is white of it.

    Args:
        frames: ``f 3 h w`` in [-1, 1], on white.
        mattes: ``f h w`` in [0, 1].
    """
    different = differs_from_ground(frames, torch.full((3,), WHITE))
    solid = mattes.detach().cpu().numpy() >= SOLID
    return torch.from_numpy(cleaned(different | solid, thin=True)).to(frames.device)


def white_foreground(frames: Tensor, colour: Tensor, network: NetworkLoader) -> Tensor | None:
    """Where the character of a clip on white is, ``f h w``, bool; None where its colours say so.

    What is nearly white of it counts where no compression hides it, and what is white and enclosed
    by others of its colours where the network says so.

    Args:
        frames: ``f 3 h w`` in [-1, 1].
        colour: the ground's ``(3,)``, nearly white.
    """
    different = differs_from_ground(frames, least=least_distance(frames, colour))
    found = torch.from_numpy(cleaned(different, thin=True)).to(frames.device)
    if _has_large_holes(found):
        found = found | likely_holes(found, network().saliency(frames) > SURE).to(found)
    usual = foreground_mask(frames, thin=True)
    more = float((found & ~usual).sum()) > MUCH * float(usual.sum())
    return found | usual if more else None


def cut_from_plain(frames: Tensor, colour: Tensor, network: NetworkLoader) -> Cutout:
    """Cut a character out of a plain ground's colour ``(3,)``, or colours ``3 h w``.

    Where compression hides faint differences and a finer eye sees much more, the network decides.
    """
    saliency = cache(lambda: network().saliency(frames).to(frames.device))  # some may ask
    least = least_distance(frames, colour)
    stained = least > FINE_DISTANCE
    cutout = cut_plain(frames, colour, outlines=True, least=least, stained=stained)
    if _has_large_holes(cutout.mask):
        # Patches of the ground's own colour, on the character or between its legs.
        cutout = cut_plain(
            frames, colour, saliency() > SURE, outlines=True, least=least, stained=stained
        )
    if stained:
        fine = cut_plain(frames, colour, outlines=True, least=FINE_DISTANCE, stained=True)
        more = float((fine.mask & ~cutout.mask).sum())
        if more > DOUBTFUL * float(cutout.mask.sum()):
            salient = saliency() > SOLID
            gain = _overlap(fine.mask, salient) - _overlap(cutout.mask, salient)
            cutout = fine if gain > AGREED else cutout
    if not saliency.cache_info().currsize:
        return cutout
    return with_parts(cutout, frames, open_parts(cutout.mask, saliency() > SURE))


def _has_large_holes(masks: Tensor) -> bool:
    """Whether what is enclosed by a character, ``f h w``, may be a part of it."""
    holes, own = float(enclosed(masks).float().mean()), float(masks.float().mean())
    return holes > min(LARGEST_HOLE, LARGE_SHARE * own)


def _overlap(masks: Tensor, others: Tensor) -> float:
    """Intersection over union of masks ``f h w``."""
    return float((masks & others).sum() / (masks | others).sum().clamp_min(1))
