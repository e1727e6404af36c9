"""Contact sheets: frames with joints drawn on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anamodiff.creatures import SEEN
from anamodiff.lofnet.bones import ORDER, PARENT

TRUNK, BLACK = (0, 150, 0), (0, 0, 0)
LIMBS = ((220, 0, 0), (255, 150, 150), (0, 0, 220), (140, 140, 255))  # fore near, far; hind


def colour_of(joint: int) -> tuple[int, int, int]:
    """Green for the trunk, red fore and blue hind limbs, the far ones pale."""
    return TRUNK if joint < 6 else LIMBS[(joint - 6) // 4]


def with_joints(
    frame: np.ndarray, places: np.ndarray, visibility: np.ndarray, truth: np.ndarray | None = None
) -> np.ndarray:
    """A copy of a frame uint8 `h w 3` with bones and joints `22 2` ([-1, 1]); hidden ones hollow.

    Lines lead from each joint to its `truth`, where there is one.
    """
    picture = np.ascontiguousarray(frame)
    height, width = picture.shape[:2]
    scale = np.array([width - 1, height - 1]) / 2
    pixels = (np.nan_to_num(places) + 1) * scale
    at = [tuple(int(v) for v in p) for p in np.round(pixels)]
    for i in ORDER:
        if visibility[i] and visibility[PARENT[i]]:
            cv2.line(picture, at[PARENT[i]], at[i], colour_of(i), 1, cv2.LINE_AA)
    for i in np.nonzero(visibility)[0]:
        fill = -1 if visibility[i] == SEEN else 1
        cv2.circle(picture, at[i], 3, colour_of(i), fill, cv2.LINE_AA)
        if truth is not None and not np.isnan(truth[i]).any():
            goal = tuple(int(v) for v in np.round((truth[i] + 1) * scale))
            cv2.line(picture, at[i], goal, BLACK, 1, cv2.LINE_AA)
    return picture


def tiled(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows of `columns`."""
    blank = np.full_like(pictures[0], 255)
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows)
