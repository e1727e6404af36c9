"""Reads the frames of any file people have, as bytes: what `read_clip` makes tensors of.

Needs no torch, whose import takes seconds: a clip that cannot be used is refused before it. Video
files go through PyAV (`video.pyav`), everything else through Pillow (`video.pillow`); either gives
a `FrameSource`, of which only the sampled frames are kept.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anamodiff.resources import expanded
from anamodiff.video.canvas import Letterbox, background_colour, border, fit, place, resize
from anamodiff.video.folder import open_folder
from anamodiff.video.hdr import open_hdr
from anamodiff.video.named import open_named
from anamodiff.video.pillow import open_pictures
from anamodiff.video.pyav import open_video
from anamodiff.video.sampling import (
    ClipError,
    FrameSource,
    Unreadable,
    logger,
    report_rest,
    sample_indices,
    sampled_fps,
)
from anamodiff.video.text import as_text
from anamodiff.video.tiff import TIFF_HEADS


@dataclass(frozen=True)
class Pictures:
    """Sampled frames of a file, as bytes.

    `pixels` are `f h w 3`, RGB, `alpha` is `f h w`, None where a frame is opaque, and `background`
    `3`. The rest is that of `Clip`.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    fps: float
    path: Path
    indices: tuple[int, ...]
    total: int
    box: Letterbox | None
    background: np.ndarray


def read_pictures(
    path: str | Path, *, frames: int | None, size: int | None, minimum: int = 1, role: str = "clip"
) -> Pictures:
    """What `read_clip` reads, with its arguments. Raises `ClipError`."""
    if not isinstance(path, (str, os.PathLike)):
        raise ClipError(f"expected a {role}, got {path!r}; name a file or a folder of frames")
    path = expanded(path)
    _check_numbers(frames=frames, size=size)
    source = open_clip(path, role)
    while True:
        total = len(source.durations)
        _check_count(path, role, total, minimum)
        indices = sample_indices(source.durations, frames)
        try:
            pixels, alpha, box, colour = _decode(source, indices, size)
            break
        except Unreadable:
            if source.recount is None:
                raise ClipError(
                    f"expected a {role} with frames of one size, got several sizes or frames that "
                    f"vanish: {path}; export it anew"
                ) from None
            source = source.recount()
    report_rest(path, source.durations)
    if frames is None and len(indices) < total:
        logger.warning("%s has %d frames: %d of them are used", path, total, len(indices))
    return Pictures(
        pixels, alpha, sampled_fps(source.durations, len(indices)), path, indices, total, box,
        colour,
    )  # fmt: skip


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ClipError(
                f"expected {name} of at least 1, got {number}; leave it out or raise it"
            )


def open_clip(path: Path, role: str) -> FrameSource:
    """Find the reader for a path by what is in it, not by its suffix."""
    try:
        if path.is_dir():
            return open_folder(path, role)
        if not path.exists():
            raise ClipError(
                f"expected a {role} (file or folder), got nothing at {path}; check the name"
            )
        if not path.is_file():
            raise ClipError(
                f"expected a {role} (file or folder), got a pipe, socket or device, which may "
                f"never end: {path}; write it into a file first"
            )
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ClipError(
            f"expected a readable {role}, got '{reason}' from {path}; check its permissions"
        ) from None
    if not head:
        raise ClipError(
            f"expected a {role}, got an empty file (0 bytes): {path}; copy or download it again"
        )
    if pictures := open_hdr(path, role) or open_pictures(path, role):
        return pictures
    if text := as_text(head):
        raise ClipError(
            f"expected a {role} (mp4, webm, gif, webp, png ...), got text that begins with "
            f"{text[:24]!r}: {path}; download it again"
        )
    if head.startswith(TIFF_HEADS):  # FFmpeg takes floats for numbers of 16 bits
        raise ClipError(
            f"expected a {role} that can be decoded, got a TIFF that is damaged or of a kind that "
            f"is not supported: {path}; export it as png"
        )
    return open_named(path, head, role) or open_video(path, role)


def _check_count(path: Path, role: str, total: int, minimum: int) -> None:
    if total < minimum:
        got = "one picture" if total == 1 else f"{total} frames"
        swap = ", or swap the two if the other one moves" if role == "driving clip" else ""
        raise ClipError(
            f"expected a {role} of at least {minimum} frames, got {got}: {path}; "
            f"give a video, an animation or a folder of frames{swap}"
        )


def _decode(
    source: FrameSource, indices: Sequence[int], size: int | None
) -> tuple[np.ndarray, np.ndarray | None, Letterbox | None, np.ndarray]:
    """Decode the chosen frames: bytes `f h w 3`, their alpha, letterbox, and ground's colour.

    Each frame is shrunk as it comes, so that a long or large video needs little memory.
    """
    distinct = sorted(set(indices))
    kept: list[np.ndarray] = []
    alphas: list[np.ndarray | None] = []
    borders: list[np.ndarray] = []
    box, shown = None, None
    for picture in source.pictures(distinct, size):
        if shown is not None and not _alike(picture.size, shown):
            raise Unreadable
        shown = shown or picture.size
        box = box or (fit(*shown, size) if size else None)
        borders.append(border(picture.pixels))
        to = (box.height, box.width) if box else shown
        kept.append(resize(picture.pixels, to))
        alphas.append(None if picture.alpha is None else resize(picture.alpha, to))
    if len(kept) < len(distinct):
        raise Unreadable
    colour = background_colour(borders)
    pictures = place(kept, box, colour) if box else np.stack(kept)
    places = np.searchsorted(distinct, indices)
    return pictures[places], _alpha(alphas, box, places), box, colour


def _alpha(
    alphas: Sequence[np.ndarray | None], box: Letterbox | None, places: np.ndarray
) -> np.ndarray | None:
    """Alpha, bytes `f h w`, of the chosen frames; None where any is opaque."""
    found = [alpha[..., None] for alpha in alphas if alpha is not None]
    if len(found) < len(alphas):
        return None
    whole = place(found, box, np.zeros(1, np.uint8)) if box else np.stack(found)
    return whole[places][..., 0]


def _alike(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether frames (height, width) are of one shape: streams change the size in between."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) < 0.02
