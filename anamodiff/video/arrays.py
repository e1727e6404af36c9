"""Frames that are in memory, of other programs, as a clip: through the reader of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL.Image import Image
from torch import Tensor

from anamodiff.options import FRAMES
from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.sampling import DEFAULT_FPS, ClipError

_SLACK = 0.01  # beyond [0, 1], of rounding


def clip_of_frames(
    given: Any,
    fps: float = DEFAULT_FPS,
    *,
    frames: int | None = FRAMES,
    size: int | None = None,
    minimum: int = 1,
    role: str = "clip",
) -> Clip:
    """A clip of frames in memory, as `read_clip` would give it for a file of them.

    They take its road, lossless, so that sampling, letterbox and transparency are the same.

    Args:
        given: as for `as_pictures`.
        fps: rate of the given frames.
        frames, size, minimum, role: as for `read_clip`.

    Raises:
        ClipError: they cannot be used.
    """
    pictures = as_pictures(given, role)
    if not isfinite(fps) or fps <= 0:
        raise ClipError(f"expected a rate above 0 frames a second of the {role}, got {fps}; try 10")
    with TemporaryDirectory() as name:
        for index, picture in enumerate(pictures):
            iio.imwrite(Path(name) / f"{index:06d}.png", picture, compress_level=1)
        if len(pictures) < minimum:
            raise ClipError(
                f"expected a {role} of at least {minimum} frames, got {len(pictures)}; give more"
            )
        clip = read_clip(name, frames=frames, size=size, minimum=minimum, role=role)
    return replace(clip, path=None, fps=clip.fps * fps / DEFAULT_FPS)


def as_pictures(given: Any, role: str = "clip") -> np.ndarray:
    """Frames as bytes ``f h w 3``, or 4 with alpha.

    Args:
        given: a picture of Pillow or several; an array ``f h w c`` or a tensor ``f c h w``, or a
            sequence of such frames, of bytes or of numbers in [0, 1], RGB or with alpha.

    Raises:
        ClipError: they are anything else.
    """
    several = [given] if isinstance(given, Image) else given
    if isinstance(several, Sequence) and not isinstance(several, str) and len(several):
        sizes = {_size(frame) for frame in several}
        if None in sizes:
            raise _unknown(given, role)
        if len(sizes) > 1:
            got = " and ".join(sorted("x".join(map(str, size or ())) for size in sizes)[:2])
            raise ClipError(f"expected frames of one size in the {role}, got {got}; resize them")
        several = np.stack([_array(frame) for frame in several])
    elif isinstance(several, Tensor):
        several = _array(several)
    if not isinstance(several, np.ndarray) or several.ndim != 4 or 0 in several.shape:
        raise _unknown(given, role)
    if several.shape[-1] not in (3, 4):
        raise ClipError(
            f"expected frames of 3 or 4 channels in the {role}, got {several.shape[-1]}; arrays "
            "are frames x height x width x channels, tensors frames x channels x height x width"
        )
    return several if several.dtype == np.uint8 else _bytes(several, role)


def _size(frame: Any) -> tuple[int, ...] | None:
    return frame.size if isinstance(frame, Image) else getattr(frame, "shape", None)


def _array(frame: Any) -> np.ndarray:
    """A frame, or several in one tensor, with its channels last."""
    if isinstance(frame, Image):
        return np.asarray(frame.convert("RGBA"))
    if isinstance(frame, Tensor):
        frame = frame.detach().cpu()
        frame = frame.float() if frame.is_floating_point() else frame
        return frame.movedim(-3, -1).numpy() if frame.ndim > 2 else frame.numpy()
    return np.asarray(frame)


def _bytes(frames: np.ndarray, role: str) -> np.ndarray:
    if not np.issubdtype(frames.dtype, np.floating):
        raise ClipError(
            f"expected bytes or numbers in [0, 1] in the {role}, got {frames.dtype}; convert them"
        )
    low, high = float(frames.min()), float(frames.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # false for NaN, too
        raise ClipError(
            f"expected colours in [0, 1] in the {role}, got [{low:.3g}, {high:.3g}]; rescale them"
        )
    return np.round(frames.clip(0, 1) * 255).astype(np.uint8)


def _unknown(given: Any, role: str) -> ClipError:
    shape = getattr(given, "shape", None)
    got = type(given).__name__ if shape is None else "x".join(map(str, shape))
    return ClipError(
        f"expected a {role}: a file, pictures of Pillow, an array of frames x height x width x "
        f"channels or a tensor of frames x channels x height x width, got {got or 'a number'}"
    )
