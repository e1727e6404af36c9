"""A moving camera's clip as a still one would have filmed it, by points on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.matting.brightness import camera_by_brightness
from anamodiff.video.letterbox import to_pixels

Array = NDArray[np.float64]

MOST_POINTS, FEWEST_POINTS = 200, 8
QUALITY = 0.01  # of the best point's
LARGEST_ERROR = 1.5  # pixels that a point may be off its camera's motion
SAME = 0.5  # pixels: a camera that moves less stands still


@dataclass(frozen=True)
class Camera:
    """Similarities ``f 2 3`` that bring each frame's pixels onto the first frame's."""

    matrices: Array

    def moves(self, height: int, width: int) -> bool:
        """Whether any corner of the picture moves visibly."""
        x, y = np.array([0, width, 0, width]), np.array([0, 0, height, height])
        corners = np.stack([x, y, np.ones(4)])
        apart = self.matrices @ corners - corners[:2]
        return bool(np.abs(apart).max() > SAME)

    def undo(self, pictures: Tensor, fill: float) -> Tensor:
        """Frames ``f c h w`` as from the first frame's place; outside of them is `fill`."""
        height, width = pictures.shape[-2:]
        channels = rearrange(pictures.detach().cpu().float(), "f c h w -> f h w c").numpy()
        moved = [
            cv2.warpAffine(
                np.ascontiguousarray(picture), matrix, (width, height), flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT, borderValue=(fill,) * 4,
            ).reshape(height, width, -1)
            for picture, matrix in zip(channels, self.matrices, strict=True)
        ]  # fmt: skip
        return rearrange(torch.from_numpy(np.stack(moved)), "f h w c -> f c h w").to(pictures)


def find_camera(frames: Tensor, mask: Tensor) -> Camera | None:
    """The camera's motion, from points outside of the character, or from the ground's brightness.

    None where it cannot be told.

    Args:
        frames: ``f 3 h w`` in [-1, 1].
        mask: ``f h w``, bool, where the character is.
    """
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in to_pixels(frames)]
    kernel = np.ones((5, 5), np.uint8)
    grounds = [1 - cv2.dilate(one.cpu().numpy().astype(np.uint8), kernel) for one in mask]
    matrices = [np.eye(2, 3)]
    for number in range(1, len(greys)):
        step = _step(greys[number], greys[number - 1], grounds[number], grounds[number - 1])
        if step is None:  # a sky, say
            smooth = camera_by_brightness(greys, grounds)
            return None if smooth is None else Camera(smooth)
        matrices.append(_joined(matrices[-1], step))
    return Camera(np.stack(matrices))


def _step(
    own: NDArray[np.uint8], other: NDArray[np.uint8], own_ground: NDArray[np.uint8],
    other_ground: NDArray[np.uint8],
) -> Array | None:  # fmt: skip
    """The similarity ``2 3`` from a frame to the one before."""
    size = max(own.shape)
    points = cv2.goodFeaturesToTrack(
        own, MOST_POINTS, QUALITY, max(3, size / 40), mask=own_ground, blockSize=5
    )
    if points is None or len(points) < FEWEST_POINTS:
        return None
    window = max(9, round(size / 10)) | 1
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        own, other, points, np.empty_like(points), winSize=(window, window), maxLevel=3
    )
    x, y = np.round(found.reshape(-1, 2)).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < own.shape[1]) & (y < own.shape[0])
    kept = (status.ravel() == 1) & inside
    kept[inside] &= other_ground[y[inside], x[inside]] > 0
    if kept.sum() < FEWEST_POINTS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[kept], found[kept], method=cv2.RANSAC, ransacReprojThreshold=LARGEST_ERROR
    )
    if matrix is None or inliers.sum() < max(FEWEST_POINTS, 0.4 * kept.sum()):
        return None
    return matrix


def _joined(first: Array, then: Array) -> Array:
    """The similarity that applies `then` and, after it, `first`."""
    row = np.array([[0.0, 0.0, 1.0]])
    return first @ np.concatenate([then, row])
