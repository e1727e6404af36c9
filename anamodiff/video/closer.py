"""A part of a clip, read anew from its file with all the pixels that the file has there."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anamodiff.video.canvas import Letterbox
from anamodiff.video.clip import Clip
from anamodiff.video.letterbox import from_pixels
from anamodiff.video.reading import open_clip
from anamodiff.video.sampling import ClipError, Unreadable, silent

_MARGIN = 8  # pixels beside the part that resampling looks at
#: What cubic resampling of a part's pixels must gain over enlarging those of the canvas.
LEAST_GAIN = 1.2


def read_closer(clip: Clip, top: int, left: int, side: int) -> Clip | None:
    """A square of a clip's canvas at the canvas's size, from the file.

    One decoded frame is kept at a time.

    Args:
        clip: as `read_clip` gave it with a size.
        top, left, side: the square, in pixels of the canvas.

    Returns:
        The same frames of it, without a box: what lies beside the picture has the ground's colour,
        and is transparent. None where the file has no more pixels there, or is not there any more.
    """
    box, size = clip.box, clip.frames.shape[-1]
    if clip.path is None or box is None or max(box.original) < LEAST_GAIN * size:
        return None
    if len(clip.indices) != len(clip.frames):  # others than the file's
        return None
    square = top - box.top, left - box.left, side
    colour = ((torch.tensor(clip.background) + 1) * 127.5).round().byte().numpy()
    try:
        with silent():
            found = _read(clip, square, box, colour, size)
    except (ClipError, OSError):
        return None
    if found is None:
        return None
    frames, alpha = found
    return replace(clip, frames=frames, alpha=alpha, box=None)


def _read(
    clip: Clip, square: tuple[int, int, int], box: Letterbox, colour: np.ndarray, size: int
) -> tuple[Tensor, Tensor | None] | None:
    """Frames ``f 3 n n`` and alpha ``f n n`` of a square of the picture."""
    assert clip.path is not None
    source = open_clip(clip.path, "clip")
    distinct = sorted(set(clip.indices))
    wanted = ceil(size * max(1.0, size / square[2]))  # decoders give at least twice as many
    while source is not None:
        kept: list[np.ndarray] = []
        alphas: list[np.ndarray] = []
        # A header that counts frames otherwise than `clip`, which was decoded, is wrong.
        counted = distinct if len(source.durations) == clip.total else []
        try:
            for picture in source.pictures(counted, wanted) if counted else ():
                kept.append(_cut(picture.pixels, square, box, size, colour))
                if picture.alpha is not None:
                    alphas.append(_cut(picture.alpha[..., None], square, box, size, np.zeros(1)))
        except Unreadable:
            kept = []
        if len(kept) == len(distinct):
            break
        source = source.recount() if source.recount else None
    else:
        return None
    places = np.searchsorted(distinct, clip.indices)
    frames = from_pixels(np.stack(kept)[places])
    if len(alphas) < len(kept):
        return frames, None
    alpha = torch.from_numpy(np.stack(alphas)[places][..., 0]).float() / 255
    return frames, alpha


def _cut(
    pixels: np.ndarray, square: tuple[int, int, int], box: Letterbox, size: int, colour: np.ndarray
) -> np.ndarray:
    """A square of a picture, bytes ``n n c``.

    Args:
        pixels: bytes ``h w c``.
        square: top, left and side, in pixels of the canvas from the picture's corner.
        colour: ``c``, of what lies beside the picture.
    """
    height, width = pixels.shape[:2]
    down, across = height / box.height, width / box.width
    y, x = square[0] * down, square[1] * across
    bottom, right = (square[0] + square[2]) * down, (square[1] + square[2]) * across
    rows = floor(y) - _MARGIN, ceil(bottom) + _MARGIN
    columns = floor(x) - _MARGIN, ceil(right) + _MARGIN
    part = np.empty((rows[1] - rows[0], columns[1] - columns[0], pixels.shape[2]), np.uint8)
    part[:] = colour
    own = slice(max(0, rows[0]), min(height, rows[1]))
    beside = slice(max(0, columns[0]), min(width, columns[1]))
    part[
        own.start - rows[0] : own.stop - rows[0],
        beside.start - columns[0] : beside.stop - columns[0],
    ] = pixels[own, beside]
    image = Image.fromarray(part if part.shape[2] == 3 else part[..., 0])
    place = x - columns[0], y - rows[0], right - columns[0], bottom - rows[0]
    resized = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=place))
    return resized.reshape(size, size, -1)
