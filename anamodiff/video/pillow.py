"""Pictures through Pillow: stills, gif, animated webp and png, strips, folders of frames."""

import logging
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from anamodiff.video.sampling import (
    DEFAULT_FPS,
    ClipError,
    FrameSource,
    Unreadable,
    logger,
    warn_damaged,
)

# Without a handler Python prints what Pillow logs of damaged files, which our own line says.
logging.getLogger("PIL").addHandler(logging.NullHandler())

#: What Pillow may open; left to itself it also claims formats that it cannot show.
FORMATS = ("GIF", "PNG", "WEBP", "JPEG", "BMP", "TIFF", "PPM", "AVIF")
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")

#: Suffixes that count as frames in a folder.
PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
)

#: A strip has at least this many square frames: a picture of two to one is a picture.
SHORTEST_STRIP = 3

#: Pixels of a picture above which it is refused before it is decoded: Pillow's own limit.
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)

#: Browsers show frames of 10 ms and less, 0 included, for 100 ms.
SHORTEST_FRAME, BROWSER_FRAME = 0.011, 0.1

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,  # of the AVIF decoder
    ArithmeticError,
    MemoryError,  # a length in the file that no file has
    IndexError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def open_pictures(path: Path, role: str) -> FrameSource | None:
    """The frames of a file that Pillow knows, None for any other file.

    Raises `ClipError` for a picture that cannot be decoded.
    """
    try:
        image = open_image(path)
    except Image.DecompressionBombError:
        raise _too_large(path, role) from None
    except _DAMAGE:
        return None
    with image:
        if image.format in ANIMATED and count_frames(image) != 1:
            return _animation(path, image, role)
        return _still(path, image, role)


def _too_large(path: Path, role: str) -> ClipError:
    return ClipError(
        f"expected a {role} of at most {MOST_PIXELS // 10**6} megapixels, got a larger one: "
        f"{path}; scale it down"
    )


def open_image(path: Path) -> Image.Image:
    """Open with the formats above and no other; only regular files, for others may never end."""
    if not path.is_file():
        raise OSError(f"no regular file: {path}")
    Image.init()  # before it, Pillow knows half of them
    return Image.open(path, formats=FORMATS)


def count_frames(image: Image.Image) -> int:
    """Frames that a file promises; 0 where its end is missing and nobody knows."""
    try:
        return getattr(image, "n_frames", 1)
    except _DAMAGE:
        return 0


def to_rgb(image: Image.Image) -> np.ndarray:
    """Any Pillow picture as RGB bytes `h w 3`: upright, 8 bits, transparency on white."""
    with _without_stderr() if image.format == "TIFF" else nullcontext():
        image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        grey = np.round(np.asarray(image).astype(np.float64) / 257).clip(0, 255)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    return on_white(np.asarray(image.convert("RGBA")))


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Without what libtiff itself prints of a damaged file, which our own line says."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def on_white(picture: np.ndarray) -> np.ndarray:
    """Composite RGBA bytes `h w 4` on white: RGB bytes `h w 3`."""
    colour, alpha = picture[..., :3].astype(np.uint32), picture[..., 3:].astype(np.uint32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _still(path: Path, image: Image.Image, role: str) -> FrameSource:
    """One picture; a png of several square frames side by side or stacked is cut up."""
    try:
        picture = to_rgb(image)
    except _DAMAGE:
        raise ClipError(
            f"expected a {role} that can be decoded, got a damaged or truncated picture: {path}; "
            "copy it again or export it anew"
        ) from None
    pictures = cut_strip(picture) if image.format == "PNG" else [picture]
    if len(pictures) > 1:
        logger.info(
            "%s is read as a strip of %d frames; save it as jpg if it is one picture",
            path,
            len(pictures),
        )
    return FrameSource(
        durations=(1 / DEFAULT_FPS,) * len(pictures),
        pictures=lambda indices: (pictures[index] for index in indices),
    )


def _animation(path: Path, image: Image.Image, role: str) -> FrameSource:
    """Frames of a gif, webp or png as Pillow composes them, disposal modes included.

    All frames are decoded once here: their durations are nowhere else, and only so is a
    truncated file noticed.
    """
    first = 1 if image.info.get("default_image") else 0  # a png's stand-in for old viewers
    promised = count_frames(image) - first
    durations: list[float] = []
    try:
        for index in count(first):
            image.seek(index)
            image.load()
            durations.append(_seconds(image))
    except EOFError:
        whole = len(durations) >= promised and not _lacks_end(path, image.format)
    except _DAMAGE:
        whole = False
    if not durations:
        raise ClipError(
            f"expected a {role} that can be decoded, got an animation without a readable frame: "
            f"{path}; export it anew"
        )
    if not whole:
        warn_damaged(path, len(durations), promised)

    def pictures(indices: Sequence[int]) -> Iterator[np.ndarray]:
        with open_image(path) as again:
            for index in indices:
                try:
                    again.seek(first + index)
                    picture = to_rgb(again)
                except _DAMAGE:
                    raise Unreadable(path) from None
                yield picture

    return FrameSource(tuple(durations), pictures)


def _seconds(image: Image.Image) -> float:
    """How long the current frame is shown, as browsers do it."""
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= SHORTEST_FRAME else BROWSER_FRAME


def _lacks_end(path: Path, kind: str | None) -> bool:
    """Whether a gif that was cut between two frames misses its closing byte."""
    if kind != "GIF":
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16))
        return not file.read().rstrip(b"\0").endswith(b";")


def cut_strip(picture: np.ndarray) -> list[np.ndarray]:
    """Cut a strip, bytes `h w 3`, into its square frames; any other picture stays whole.

    A strip is an exact multiple, at least `SHORTEST_STRIP`, as wide as high or as high as wide
    (the layout of MGIF and of the first-order model's data sets), and not one wide picture:
    that one's content runs on across its cuts.
    """
    height, width = picture.shape[:2]
    along = 1 if width > height else 0
    if not _is_strip(picture if along else np.swapaxes(picture, 0, 1)):
        return [picture]
    return np.split(picture, max(height, width) // min(height, width), axis=along)


def _is_strip(picture: np.ndarray) -> bool:
    """Whether a picture at least as wide as high is a row of square frames."""
    height, width = picture.shape[:2]
    if width % height or width // height < SHORTEST_STRIP:
        return False
    return not _runs_across_cuts(picture)


def _runs_across_cuts(picture: np.ndarray) -> bool:
    """Whether something besides the ground crosses a cut, and nothing breaks off at any.

    The ground at the cuts is what the picture's own left and right edges show.
    """
    height, width = picture.shape[:2]
    cuts = np.arange(height, width, height)
    after, before = picture[:, cuts].astype(np.float32), picture[:, cuts - 1].astype(np.float32)
    edges = picture[:, None, [0, -1]].astype(np.float32)
    beside_ground = np.abs(after[:, :, None] - edges).mean(axis=(0, 3)).min(axis=1)
    step = np.abs(after - before).mean(axis=(0, 2))
    contrast = after.std(axis=0).mean(axis=1)
    return bool((beside_ground > 6).any() and (step <= np.maximum(3, 0.3 * contrast)).all())


def holds_motion(path: Path) -> bool | None:
    """Whether a picture file is an animation or a strip; None for a picture too damaged to say."""
    try:
        with open_image(path) as image:
            if image.format in ANIMATED and count_frames(image) != 1:
                return True
            short, long = sorted(image.size)
            may_be_strip = image.format == "PNG" and long % short == 0 and long > short
            return may_be_strip and len(cut_strip(to_rgb(image))) > 1
    except _DAMAGE:
        return None if path.suffix.lower() in PICTURE_SUFFIXES else False


def list_frames(folder: Path) -> list[Path]:
    """Pictures directly in a folder, hidden ones left out, 2 before 10."""
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(
        (path for path in files if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()),
        key=natural_order,
    )


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def open_folder(folder: Path, role: str) -> FrameSource:
    """The frames of a folder of pictures; raises `ClipError` without pictures."""
    paths = list_frames(folder)
    if not paths:
        others = sum(1 for path in folder.iterdir() if not path.name.startswith("."))
        raise ClipError(
            f"expected pictures (png, jpg, webp ...) in the {role}'s folder {folder}, got none "
            f"among {others} files; name the folder that holds the frames, or one file"
        )

    def pictures(indices: Sequence[int]) -> Iterator[np.ndarray]:
        size = None
        for index in indices:
            picture = _frame_of_folder(paths[index], role)
            size = size or picture.shape
            if picture.shape != size:
                raise ClipError(
                    f"expected frames of one size, got {_by(size)} and {_by(picture.shape)} "
                    f"({paths[index].name}) in {folder}; resize them alike"
                )
            yield picture

    return FrameSource((1 / DEFAULT_FPS,) * len(paths), pictures)


def _frame_of_folder(path: Path, role: str) -> np.ndarray:
    """One frame, never cut as a strip."""
    try:
        with open_image(path) as image:
            return to_rgb(image)
    except Image.DecompressionBombError:
        raise _too_large(path, role) from None
    except _DAMAGE:
        raise ClipError(
            f"expected a {role} whose frames can be decoded, got a damaged one: {path}; "
            "remove it or export it anew"
        ) from None


def _by(shape: tuple[int, ...]) -> str:
    """A picture's size for a message, width first."""
    return f"{shape[1]}x{shape[0]}"
