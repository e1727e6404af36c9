"""Clips: read from any file people have, fitted on a square, and written as mp4, webm or gif."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from anamodiff.options import FRAMES
from anamodiff.resources import expanded, remove_stale, replacing
from anamodiff.video.canvas import Letterbox, background_colour, border, fit
from anamodiff.video.embed import clip_html
from anamodiff.video.gif import write_gif
from anamodiff.video.letterbox import from_pixels, to_pixels
from anamodiff.video.pyav import encode_video
from anamodiff.video.reading import read_pictures
from anamodiff.video.sampling import DEFAULT_FPS, ClipError
from anamodiff.video.suffixes import WRITTEN_SUFFIXES


@dataclass(frozen=True)
class Clip:
    """Frames with their rate, and where they came from.

    `frames` are `f c h w`, RGB float32 in [-1, 1]. `fps` is the rate of these frames, so that
    they take as long as the file. `indices` say which of the file's `total` frames they are.
    `box` is None when the clip was read without a size. `background` is RGB in [-1, 1]. `alpha`
    is `f h w` in [0, 1], 0 beside the picture; None where a frame is opaque.
    """

    frames: Tensor
    fps: float
    path: Path | None
    indices: tuple[int, ...]
    total: int
    box: Letterbox | None
    background: tuple[float, float, float]
    alpha: Tensor | None = None

    @classmethod
    def of(cls, frames: Tensor, fps: float = DEFAULT_FPS) -> "Clip":
        """Frames ``f 3 h w`` in [-1, 1] that are in memory, as they are.

        Square ones can be transferred where the backbone's frames are as large. Raises `ClipError`.
        """
        pictures = to_pixels(frames)
        count, height, width = pictures.shape[:3]
        return cls(
            frames=frames.detach().float().cpu(),
            fps=fps,
            path=None,
            indices=tuple(range(count)),
            total=count,
            box=fit(height, width, height) if height == width else None,
            background=_colour(background_colour([border(picture) for picture in pictures])),
        )

    def first(self) -> "Clip":
        """The first frame alone."""
        alpha = None if self.alpha is None else self.alpha[:1]
        return replace(self, frames=self.frames[:1], indices=self.indices[:1], alpha=alpha)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._summary}>"

    def _repr_html_(self) -> str:
        """A video, for notebooks."""
        return clip_html(to_pixels(self.frames), self.fps, self._summary)

    @property
    def _summary(self) -> str:
        count, _, height, width = self.frames.shape
        name = "" if self.path is None else f"{self.path.name}, "
        many = "1 frame" if count == 1 else f"{count} frames"
        rate = "" if count == 1 else f", {self.fps:.3g} frames a second"
        return f"{name}{many} of {width}x{height}{rate}"


def read_clip(
    path: str | Path,
    *,
    frames: int | None = FRAMES,
    size: int | None = None,
    minimum: int = 1,
    role: str = "clip",
) -> Clip:
    """Read a video, animation, strip, folder of frames or picture; alpha goes on white,
    and is kept beside.

    `frames` are sampled at even steps of playing time, the first always among them: exactly so
    many (a shorter clip's frames repeat; one picture gives one frame), or with None all, up to
    `sampling.MAX_FRAMES`. `size` fits them on a square canvas of so many pixels, filled with the
    background's own colour; None keeps the file's size. `minimum` is the fewest frames the file
    must hold, `role` the word for it in messages. A damaged file gives the frames that can be
    decoded, with a warning. Raises `ClipError`.
    """
    read = read_pictures(path, frames=frames, size=size, minimum=minimum, role=role)
    return Clip(
        frames=from_pixels(read.pixels),
        fps=read.fps,
        path=read.path,
        indices=read.indices,
        total=read.total,
        box=read.box,
        background=_colour(read.background),
        alpha=None if read.alpha is None else torch.from_numpy(read.alpha).float().div_(255),
    )


def _colour(colour: np.ndarray) -> tuple[float, float, float]:
    """Bytes ``3`` in [-1, 1]."""
    red, green, blue = (float(value) / 127.5 - 1 for value in colour)
    return red, green, blue


def write_video(
    path: str | os.PathLike[str], frames: Tensor | Sequence[np.ndarray], fps: float
) -> Path:
    """Write frames as .mp4, .mov, .m4v or .mkv (h264), .webm (vp9) or .gif, by the suffix.

    The frames are `f c h w` in [-1, 1], or a sequence of bytes `h w 3`, taken one at a time.
    The file appears only when it is complete; missing folders are made. Video codecs need even
    sizes: an odd edge is repeated once. A gif loops for ever, shares one palette, counts time
    in hundredths of a second (the total is kept, at most 50 frames a second) and stores
    frames that equal the one before as a longer duration. Raises `ClipError`.
    """
    path = expanded(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise ClipError(
            f"expected a video name that ends in {', '.join(WRITTEN_SUFFIXES)}, got "
            f"'{path.name}'; choose one of them"
        )
    if not isfinite(fps) or fps <= 0:
        raise ClipError(f"expected a rate above 0 frames a second, got {fps}; try 10")
    pictures = list(to_pixels(frames)) if isinstance(frames, Tensor) else frames
    with replacing_clip(path) as unfinished:
        if suffix == ".gif":
            write_gif(unfinished, pictures, fps)
        else:
            encode_video(unfinished, pictures, fps)
    return path


@contextmanager
def replacing_clip(path: Path, durable: bool = True) -> Iterator[Path]:
    """`replacing` in a folder that is made, with a `ClipError` where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable) as unfinished:
            yield unfinished
    except OSError as error:
        raise ClipError(
            f"expected to write {path}, got '{error.strerror or error}'; "
            "choose a folder that you may write to, with space left"
        ) from error


def write_frames(folder: str | Path, frames: Tensor | Sequence[np.ndarray]) -> None:
    """Write frames, as `write_video` takes them, as 0000.png, 0001.png ...

    Numbered pictures of an earlier, longer clip are removed; other files stay.
    """
    folder = expanded(folder)
    remove_stale(folder, "[0-9][0-9][0-9][0-9]", ".png")
    for index, picture in enumerate(to_pixels(frames) if isinstance(frames, Tensor) else frames):
        with replacing_clip(folder / f"{index:04d}.png", durable=False) as unfinished:
            # Larger files in a quarter of the time.
            iio.imwrite(unfinished, picture, compress_level=1)
    for old in folder.glob("[0-9][0-9][0-9][0-9].png"):
        if int(old.stem) >= len(frames):
            old.unlink()
