"""Clips: read from any file people have, fitted on a square, and written as mp4, webm or gif.

Video files go through PyAV (`video.pyav`), everything else through Pillow (`video.pillow`); either
gives a `FrameSource`, of which only the sampled frames are kept.
"""

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from torch import Tensor

from anamodiff.options import FRAMES
from anamodiff.video.gif import write_gif
from anamodiff.video.letterbox import (
    Letterbox,
    background_colour,
    border,
    fit,
    from_pixels,
    place,
    shrink,
    to_pixels,
)
from anamodiff.video.pillow import (
    holds_motion,
    list_frames,
    natural_order,
    open_folder,
    open_pictures,
)
from anamodiff.video.pyav import ENCODERS, encode_video, open_video
from anamodiff.video.sampling import (
    ClipError,
    FrameSource,
    Unreadable,
    logger,
    sample_indices,
    sampled_fps,
)

#: Suffixes that count as video files in a folder of clips.
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv", ".wmv", ".gif")
)


@dataclass(frozen=True)
class Clip:
    """Frames with their rate, and where they came from.

    `frames` are `f c h w`, RGB float32 in [-1, 1]. `fps` is the rate of these frames, so that
    they take as long as the file. `indices` say which of the file's `total` frames they are.
    `box` is None when the clip was read without a size. `background` is RGB in [-1, 1].
    """

    frames: Tensor
    fps: float
    path: Path | None
    indices: tuple[int, ...]
    total: int
    box: Letterbox | None
    background: tuple[float, float, float]


def read_clip(
    path: str | Path,
    *,
    frames: int | None = FRAMES,
    size: int | None = None,
    minimum: int = 1,
    role: str = "clip",
) -> Clip:
    """Read a video, animation, strip, folder of frames or picture; alpha goes on white.

    `frames` are sampled at even steps of playing time, the first always among them: exactly so
    many (a shorter clip's frames repeat; one picture gives one frame), or with None all, up to
    `sampling.MAX_FRAMES`. `size` fits them on a square canvas of so many pixels, filled with the
    background's own colour; None keeps the file's size. `minimum` is the fewest frames the file
    must hold, `role` the word for it in messages. A damaged file gives the frames that can be
    decoded, with a warning. Raises `ClipError`.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ClipError(f"expected a {role}, got {path!r}; name a file or a folder of frames")
    path = Path(path).expanduser()
    _check_numbers(frames=frames, size=size)
    source = _open(path, role)
    while True:
        total = len(source.durations)
        _check_count(path, role, total, minimum)
        indices = sample_indices(source.durations, frames)
        try:
            pictures, box, colour = _decode(source, indices, size)
            break
        except Unreadable:
            if source.recount is None:
                raise ClipError(
                    f"expected a {role} with frames of one size, got several sizes or frames that "
                    f"vanish: {path}; export it anew"
                ) from None
            source = source.recount()
    if frames is None and len(indices) < total:
        logger.warning("%s has %d frames: %d of them are used", path, total, len(indices))
    red, green, blue = (float(value) / 127.5 - 1 for value in colour)
    return Clip(
        frames=from_pixels(pictures),
        fps=sampled_fps(source.durations, len(indices)),
        path=path,
        indices=indices,
        total=total,
        box=box,
        background=(red, green, blue),
    )


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ClipError(
                f"expected {name} of at least 1, got {number}; leave it out or raise it"
            )


def _open(path: Path, role: str) -> FrameSource:
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
    if pictures := open_pictures(path, role):
        return pictures
    if text := _as_text(head):
        raise ClipError(
            f"expected a {role} (mp4, webm, gif, webp, png ...), got text that begins with "
            f"{text[:24]!r}: {path}; download it again"
        )
    return open_video(path, role)


def _as_text(head: bytes) -> str:
    """A file's beginning as one line if it is plain text, such as a web page saved as a video.

    FFmpeg would render it as a video of a terminal. Empty for anything else.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # may end inside a letter
    except UnicodeDecodeError:
        return ""
    plain = all(letter.isprintable() or letter.isspace() or letter == "\x1b" for letter in text)
    return " ".join(text.split()) if plain else ""


def _check_count(path: Path, role: str, total: int, minimum: int) -> None:
    if total < minimum:
        got = "one picture" if total == 1 else f"{total} frames"
        raise ClipError(
            f"expected a {role} of at least {minimum} frames, got {got}: {path}; "
            "give a video, an animation or a folder of frames"
        )


def _decode(
    source: FrameSource, indices: Sequence[int], size: int | None
) -> tuple[np.ndarray, Letterbox | None, np.ndarray]:
    """Decode the chosen frames: bytes `f h w 3`, the letterbox, and the ground's colour.

    Each frame is shrunk as it comes, so that a long or large video needs little memory.
    """
    distinct = sorted(set(indices))
    kept: list[np.ndarray] = []
    borders: list[np.ndarray] = []
    box = None
    for picture in source.pictures(distinct):
        height, width = picture.shape[:2]
        box = box or (fit(height, width, size) if size else None)
        borders.append(border(picture))
        kept.append(shrink(picture, box) if box else picture)
    if len(kept) < len(distinct) or len({picture.shape for picture in kept}) > 1:
        raise Unreadable
    colour = background_colour(borders)
    pictures = place(kept, box, colour) if box else np.stack(kept)
    return pictures[np.searchsorted(distinct, indices)], box, colour


def write_video(path: str | os.PathLike[str], frames: Tensor, fps: float) -> Path:
    """Write frames `f c h w` in [-1, 1] as .mp4 (h264), .webm (vp9) or .gif, by the suffix.

    The file appears only when it is complete; missing folders are made. Video codecs need even
    sizes: an odd edge is repeated once. A gif loops for ever, shares one palette, counts time
    in hundredths of a second (the total is kept, at most 50 frames a second) and stores
    frames that equal the one before as a longer duration. Raises `ClipError`.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in (".gif", *ENCODERS):
        raise ClipError(
            f"expected a video name that ends in .mp4, .gif or .webm, got '{path.name}'; "
            "choose one of the three"
        )
    if not isfinite(fps) or fps <= 0:
        raise ClipError(f"expected a rate above 0 frames a second, got {fps}; try 10")
    pictures = to_pixels(frames)
    with _replacing(path) as unfinished:
        if suffix == ".gif":
            write_gif(unfinished, pictures, fps)
        else:
            encode_video(unfinished, pictures, fps)
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes the place of `path` if all goes well."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise ClipError(
            f"expected to write {path}, got '{error.strerror or error}'; "
            "choose a folder that you may write to, with space left"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def write_frames(folder: str | Path, frames: Tensor) -> None:
    """Write frames `f c h w` in [-1, 1] as 0000.png, 0001.png ...

    Numbered pictures of an earlier, longer clip are removed; other files stay.
    """
    folder = Path(folder).expanduser()
    for index, picture in enumerate(to_pixels(frames)):
        with _replacing(folder / f"{index:04d}.png") as unfinished:
            iio.imwrite(unfinished, picture)
    for old in folder.glob("[0-9][0-9][0-9][0-9].png"):
        if int(old.stem) >= len(frames):
            old.unlink()


def find_clips(folder: str | Path) -> list[Path]:
    """List the clips in a folder: videos, animations, strips, and folders of frames, sorted.

    Folders of clips inside it are searched too. A folder that holds only plain pictures is one
    clip, its frames. Pictures too damaged to tell are listed beside clips, so that whoever reads
    them says so. Hidden files are left out. Raises `ClipError` where there is none.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ClipError(f"expected a folder of clips, got {folder}; name an existing folder")
    clips = _clips_in(folder)
    if not clips:
        raise ClipError(
            f"expected videos, animations, strips or folders of frames in {folder}, got none; "
            "put clips there or name another folder"
        )
    return clips


def _clips_in(folder: Path) -> list[Path]:
    clips: list[Path] = []
    damaged = 0
    for path in sorted(folder.iterdir(), key=natural_order):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            clips += _clips_in(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES or (moves := holds_motion(path)):
            clips.append(path)
        elif moves is None:
            clips.append(path)
            damaged += 1
    if len(clips) == damaged and len(list_frames(folder)) > 1:
        return [folder]
    return clips
