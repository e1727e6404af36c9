"""A camera's motion over smooth grounds, which have no points to follow (Lucas and Kanade 1981)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLUR = 1.5  # pixels
ROUNDS = 12
LEVELS = 4.0  # of 255: what is further off counts little, as parts of the character do
# Of the normal equations' diagonal: directions that the ground hardly shows stay as they are.
RIDGE = 1e-3
# Levels of 255 by which a ground has to change to move; the share of it that may be left.
LEAST_CHANGE, LEFT = 0.4, 0.6


def camera_by_brightness(
    greys: list[NDArray[np.uint8]], grounds: list[NDArray[np.uint8]]
) -> Array | None:
    """Similarities ``f 2 3`` that bring each frame onto the first; None where none explains it.

    Args:
        greys: frames ``h w``.
        grounds: 1 where no character is, ``h w`` each.
    """
    frames = [cv2.GaussianBlur(grey.astype(np.float32), (0, 0), BLUR) for grey in greys]
    numbers, matrices = np.zeros(4), [np.eye(2, 3)]
    before = left = 0.0
    for frame, ground in zip(frames[1:], grounds[1:], strict=True):
        numbers = _fitted(frame, frames[0], ground, grounds[0], numbers)
        step = _matrix(numbers)
        matrices.append(cv2.invertAffineTransform(step))
        changes = [_residual(frame, frames[0], ground, grounds[0], x) for x in (np.eye(2, 3), step)]
        still, moved = (float(np.abs(r[w > 0]).mean()) if w.any() else 0.0 for r, w in changes)
        before, left = before + still, left + moved
    moves = before > LEAST_CHANGE * max(1, len(frames) - 1)
    return np.stack(matrices) if moves and left < LEFT * before else None


def _fitted(
    frame: NDArray[np.float32], first: NDArray[np.float32], ground: NDArray[np.uint8],
    first_ground: NDArray[np.uint8], numbers: Array,
) -> Array:  # fmt: skip
    """Scale less 1, turn and shift, ``4``, of the first frame's places in another, from a guess."""
    height, width = frame.shape
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    slopes = [cv2.Sobel(frame, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1))]
    for _ in range(ROUNDS):
        matrix = _matrix(numbers)
        residual, weight = _residual(frame, first, ground, first_ground, matrix)
        weight = weight / (1 + (residual / LEVELS) ** 2)
        x, y = (_warped(slope, matrix) for slope in slopes)
        rows = np.stack([across * x + down * y, across * y - down * x, x, y], -1)
        weighted = rows * weight[..., None]
        normal = np.einsum("hwi,hwj->ij", weighted, rows)
        normal += np.diag(RIDGE * normal.diagonal() + 1e-6)
        numbers = numbers - np.linalg.solve(normal, np.einsum("hwi,hw->i", weighted, residual))
    return numbers


def _residual(
    frame: NDArray[np.float32], first: NDArray[np.float32], ground: NDArray[np.uint8],
    first_ground: NDArray[np.uint8], matrix: Array,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """How far the other frame is from the first, in its places, and where that counts."""
    seen = _warped(ground.astype(np.float32), matrix) > 0.99
    return _warped(frame, matrix) - first, (seen & (first_ground > 0)).astype(np.float32)


def _warped(picture: NDArray[np.float32], matrix: Array) -> NDArray[np.float32]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, picture.shape[::-1], flags=flags).astype(np.float32)


def _matrix(numbers: Array) -> Array:
    """The similarity ``2 3`` of scale less 1, turn and shift in pixels."""
    scale, turn, right, down = numbers
    return np.array([[1 + scale, -turn, right], [turn, 1 + scale, down]])
