"""Motion in figures: how far tracklets move alike, and how many joints are where they should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.tracklets import Tracklets
from anamodiff.video.foreground import foreground_mask

# In [-1, 1]. A point is still that never is further than `STILL` from its own mean place: four
# pixels of 256. Of the others, a step below `STILL_STEP`, half a pixel of 256, has no direction.
STILL, STILL_STEP = 0.03, 0.004
LEAST_SEEN = 0.5  # of the steps, for a tracklet to count
PCK_SHARE = 0.1  # of the longer side of the body

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Directions:
    """Directions of the moving tracklets.

    Attributes:
        unit: ``n s 2``, unit vectors of all steps; 0 where a point is lost or stands still.
        moves, seen: ``n s``, 1.0 where a step has a direction, and where the point is seen.
        lost: whether there were points, but none could be followed long enough.
    """

    unit: Array
    moves: Array
    seen: Array
    lost: bool

    @classmethod
    def of(cls, tracklets: Tracklets) -> Directions:
        """Without tracklets that stand still or are mostly lost."""
        places = tracklets.places
        steps = np.diff(places, axis=1)
        seen = np.isfinite(steps).all(axis=-1)
        length = np.linalg.norm(np.where(seen[..., None], steps, 0), axis=-1)
        moves = length > STILL_STEP
        unit = np.where(moves[..., None], steps / np.maximum(length, STILL_STEP)[..., None], 0)
        there = np.isfinite(places)
        mean = np.where(there, places, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        apart = np.linalg.norm(np.where(there, places - mean[:, None], 0), axis=-1)
        followed = seen.mean(axis=1) >= LEAST_SEEN
        kept = followed & (apart.max(axis=1, initial=0) > STILL) & moves.any(axis=1)
        parts = (part[kept].astype(np.float32) for part in (unit, moves, seen))
        return cls(*parts, lost=len(places) > 0 and not followed.any())

    def __len__(self) -> int:
        return len(self.unit)


def motion_fidelity(own: Tracklets, reference: Tracklets) -> float:
    """Motion Fidelity: how alike the directions are in which points of two clips move; 1 is best.

    Of Yatim et al. 2024, "Space-Time Diffusion Features for Zero-Shot Text-Driven Motion Transfer".
    Two tracklets' correlation is the mean cosine of their displacements from frame to frame. Each
    tracklet of either clip is compared with its best match in the other clip; the means of both
    directions are averaged. Places, sizes and looks have no part in it, which is why it can compare
    different characters.

    Points that stand still are left out, and so are steps in which both of two points do; a step in
    which one of them does counts as 0. Where nothing of `own` moves, the measure is 0. It is NaN
    where nothing of `reference` moves, for there is no motion to follow, and where no point of
    `own` could be followed, which says nothing of its motion.

    Args:
        own, reference: of clips with equally many frames.
    """
    frames = [part.places.shape[1] for part in (own, reference)]
    if frames[0] != frames[1]:
        raise AnaMoDiffError(
            f"expected tracklets of equally many frames, got {frames[0]} and {frames[1]}: read "
            "both clips with the same frames"
        )
    if frames[0] < 2:
        raise AnaMoDiffError("expected at least 2 frames to follow points over, got 1: read more")
    ours, theirs = Directions.of(own), Directions.of(reference)
    if not len(theirs) or ours.lost:
        return float("nan")
    if not len(ours):
        return 0.0
    alike = _correlations(ours, theirs)
    return float((alike.max(axis=1).mean() + alike.max(axis=0).mean()) / 2)


def _correlations(one: Directions, other: Directions) -> Array:
    """Mean cosine of the steps of each two tracklets, ``n m``."""
    cosines = np.einsum("nsc,msc->nm", one.unit, other.unit)
    # Both seen, and at least one of them moving.
    counted = one.moves @ other.seen.T + one.seen @ other.moves.T - one.moves @ other.moves.T
    return cosines / np.maximum(counted, 1)


def pck(joints: Tensor, truth: Tensor, counted: Tensor, sides: Tensor) -> float:
    """PCK: the share of joints that are near their true places; 1 is best.

    Percentage of correct keypoints of Yang and Ramanan 2013, "Articulated Human Detection with
    Flexible Mixtures of Parts": a joint is right within `PCK_SHARE` of the body's longer side, in
    its own frame. A near leg in the place of the far one is wrong. NaN where no joint counts.

    Args:
        joints, truth: places ``f j 2`` in [-1, 1].
        counted: ``f j``, bool, which joints the truth shows.
        sides: ``f``, longer side of the body in [-1, 1]; 0 where there is none, which leaves the
            frame out.
    """
    counted = counted & (sides > 0)[:, None] & truth.isfinite().all(dim=-1)
    right = (joints - truth).norm(dim=-1) <= PCK_SHARE * sides[:, None]
    return float(right[counted].float().mean())  # NaN for none


def body_sides(frames: Tensor) -> Tensor:
    """Longer side of the foreground's box in each of the frames ``f 3 h w``: ``f``, in [-1, 1]."""
    mask = foreground_mask(frames, thin=True).cpu()
    sides = []
    for axis in (1, 2):
        there = mask.any(dim=axis).int()  # f n
        length = there.shape[1] - there.flip(1).argmax(dim=1) - there.argmax(dim=1)
        sides.append(length * there.any(dim=1) * 2 / there.shape[1])
    return sides[0].maximum(sides[1])
