"""Gaps between limbs, which enclose a piece of the ground, told from pale patches of a body."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.creatures.skeleton import BONES, JOINTS, PARTS
from anamodiff.lofnet.bone_motion import bone_distances
from anamodiff.video.foreground import GROUND_DISTANCE, border_of, rgb_to_lab
from anamodiff.warp import identity_grid

Mask = NDArray[np.bool_]

# Of a gap's rim: at least so much lies at one part of the body and at another one, and at what is
# free to swing, tail and lower limbs; its colours are so far from the ground's (Lab, median).
ADJOINING, CONTRAST = 0.1, 15.0
SMALLEST = 3e-4  # of the picture
RIM = 3  # pixels
_FREE = np.array(
    [JOINTS[end].endswith(("wrist", "foot", "hock", "tail_tip")) for _, end in BONES], bool
)


def without_gaps(foregrounds: Tensor, frames: Tensor, joints: Tensor) -> Tensor:
    """Foregrounds ``s h w``, bool, without what shows the ground between limbs.

    A hole of a foreground may be a white patch of a white ground's animal, so small ones count as
    the animal's. Those between two parts of the body, one of them a lower limb or the tail, do not.

    Args:
        frames: ``s 3 h w`` in [-1, 1], on a plain ground.
        joints: ``s j 2`` in [-1, 1], NaN where there is none.
    """
    grid = identity_grid(*foregrounds.shape[1:])
    lab = rgb_to_lab(frames)
    apart = np.linalg.norm(lab - np.median(border_of(lab), axis=0), axis=-1)
    opened = foregrounds.cpu().numpy().copy()
    for number, (own, distance) in enumerate(zip(opened, apart, strict=True)):
        for hole, rim in _holes(own, distance < GROUND_DISTANCE):
            nearest = bone_distances(joints[number : number + 1].cpu(), grid[rim][None])[0]
            bones = nearest.flatten(1).argmin(0).numpy()
            share = np.bincount(bones, minlength=len(BONES)) / max(1, len(bones))
            if _between_limbs(share) and np.median(distance[rim]) >= CONTRAST:
                own[hole] = False
    return torch.from_numpy(opened).to(foregrounds.device)


def _holes(own: Mask, pale: Mask) -> list[tuple[Mask, Mask]]:
    """What is pale in a foreground, all ``h w``, part by part, each with its rim."""
    inside = (own & pale).astype(np.uint8)
    count, labels, figures, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    found = []
    for label in range(1, count):
        if figures[label, cv2.CC_STAT_AREA] < SMALLEST * own.size:
            continue
        hole = labels == label
        size = 2 * RIM + 1
        near = cv2.dilate(hole.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        rim = near & own & ~pale
        if rim.any():
            found.append((hole, rim))
    return found


def _between_limbs(share: NDArray[np.float64]) -> bool:
    """Whether a rim with such shares of the bones lies between two parts of which one is free."""
    parts = np.sort(np.bincount(np.array(PARTS), weights=share))
    return bool(parts[-2] >= ADJOINING and share[_FREE].sum() >= ADJOINING)
