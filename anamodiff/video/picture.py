"""A decoded frame, and its transparency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A decoded frame and the size at which it is shown.

    Attributes:
        pixels: RGB bytes `h w 3`, upright, on white where they are transparent. They are fewer than
            `size` where the decoder made the frame smaller, and of another shape where the file's
            pixels are not square.
        size: (height, width).
        alpha: bytes `h w`; None where all is opaque.
    """

    pixels: Bytes
    size: tuple[int, int]
    alpha: Bytes | None = None

    @classmethod
    def of(cls, pixels: Bytes, size: tuple[int, int] | None = None) -> Picture:
        """A frame of bytes `h w 3`, or 4 with alpha that is not multiplied in."""
        size = size or (pixels.shape[0], pixels.shape[1])
        if pixels.shape[2] == 3:
            return cls(pixels, size)
        alpha = pixels[..., 3]
        opaque = bool((alpha == 255).all())
        return cls(on_white(pixels), size, None if opaque else np.ascontiguousarray(alpha))


def on_white(picture: Bytes) -> Bytes:
    """Composite RGBA bytes `h w 4` on white: RGB bytes `h w 3`."""
    colour, alpha = picture[..., :3].astype(np.uint32), picture[..., 3:].astype(np.uint32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
