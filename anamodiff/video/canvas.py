"""Pictures of any size, as bytes, on a square canvas, and the ground that fills its rest.

Needs no torch: clips are looked at before it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np


@dataclass(frozen=True)
class Letterbox:
    """Where the picture lies on its square canvas, in pixels of the canvas.

    `original` is (height, width) of the file's picture. The longer side fills the canvas, so
    the canvas is `max(height, width)` pixels wide and high.
    """

    top: int
    left: int
    height: int
    width: int
    original: tuple[int, int]

    def times(self, factor: int) -> Letterbox:
        """Where the picture lies on a canvas that is so many times as large."""
        place = (self.top, self.left, self.height, self.width)
        return Letterbox(*(factor * pixels for pixels in place), original=self.original)


def fit(height: int, width: int, size: int) -> Letterbox:
    """Place a picture of `height` by `width` pixels in the middle of a `size` canvas."""
    scale = size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    return Letterbox(top, left, *inner, original=(height, width))


def resize(picture: np.ndarray, to: tuple[int, int]) -> np.ndarray:
    """Resize a picture, bytes `h w 3` or `h w`, to (height, width): area average down, cubic up."""
    if picture.shape[:2] == to:
        return picture
    smaller = to[0] * to[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(picture, (to[1], to[0]), interpolation=how)


def place(pictures: Sequence[np.ndarray], box: Letterbox, colour: np.ndarray) -> np.ndarray:
    """Put pictures of the box's size on canvases of one colour `c`: bytes `f n n c`."""
    size = max(box.height, box.width)
    canvas = np.empty((len(pictures), size, size, len(colour)), dtype=np.uint8)
    canvas[:] = colour
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    for index, picture in enumerate(pictures):
        canvas[index, rows, columns] = picture
    return canvas


def border(picture: np.ndarray, most: int = 512) -> np.ndarray:
    """Pixels of the outermost ring, at most about `most` of them, bytes `n 3`."""
    ring = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return ring[:: max(1, len(ring) // most)]


def background_colour(rings: Sequence[np.ndarray]) -> np.ndarray:
    """The ground's colour, bytes `3`: the median over the borders of all frames.

    The median holds as long as the character covers less than half of the border.
    """
    return np.round(np.median(np.concatenate(rings), axis=0)).astype(np.uint8)


def limited(box: Letterbox, longest: int) -> Letterbox:
    """The letterbox of a result whose longer side is at most so many pixels; 0 is any."""
    height, width = box.original
    if not longest or max(height, width) <= longest:
        return box
    scale = longest / max(height, width)
    return replace(box, original=(max(1, round(height * scale)), max(1, round(width * scale))))
