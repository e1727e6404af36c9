"""Pictures through Pillow: stills, gif, animated webp and png, pages of a TIFF, strips."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from anamodiff.video.bare import without_extras
from anamodiff.video.picture import Picture
from anamodiff.video.rgb import Range, is_deep, load, to_picture, to_rgb, upright, value_range
from anamodiff.video.sampling import (
    DEFAULT_FPS,
    ClipError,
    FrameSource,
    Unreadable,
    logger,
    warn_damaged,
)
from anamodiff.video.strips import SHORTEST_STRIP, cut_strip
from anamodiff.video.suffixes import PICTURE_SUFFIXES
from anamodiff.video.tiff import open_tiff

# Without a handler Python prints what Pillow logs of damaged files, which our own line says.
logging.getLogger("PIL").addHandler(logging.NullHandler())

#: What Pillow may open; left to itself it also claims formats that it cannot show.
FORMATS = ("GIF", "PNG", "WEBP", "JPEG", "BMP", "TIFF", "PPM", "AVIF")
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")

#: Pixels of a picture above which it is refused before it is decoded: Pillow's own limit.
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)

#: Browsers show frames of 10 ms and less, 0 included, for 100 ms.
SHORTEST_FRAME, BROWSER_FRAME = 0.011, 0.1

#: TIFF files whose first picture is a thumbnail.
RAW_SUFFIXES = frozenset((".dng", ".nef", ".nrw", ".cr2", ".arw", ".sr2", ".pef", ".orf", ".rw2"))
_RAW_VERSION = 50706  # DNG's

# Bits of a TIFF page's type: a thumbnail of another page, or its mask.
_PAGE_TYPE, _ASIDE = 254, 1 | 4
_BITS, _PLANES = 258, 284

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,  # of the AVIF decoder
    ArithmeticError,
    LookupError,
    TypeError,  # of a TIFF's page without a size
    AssertionError,  # of a gif's frame without a palette
    MemoryError,  # a length in the file that no file has
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def open_pictures(path: Path, role: str) -> FrameSource | None:
    """The frames of a file that Pillow knows, or of a TIFF; None for any other file.

    Raises `ClipError` for a picture that cannot be decoded.
    """
    try:
        image = open_image(path)
    except Image.DecompressionBombError:
        raise too_large(path, role) from None
    except _DAMAGE:
        return open_tiff(path, MOST_PIXELS)
    with image:
        if _RAW_VERSION in getattr(image, "tag_v2", ()) or path.suffix.lower() in RAW_SUFFIXES:
            raise ClipError(
                f"expected a {role}, got a camera's raw picture, which is not supported: {path}; "
                "export it as jpg or png"
            )
        if _is_misread(image) and (pages := open_tiff(path, MOST_PIXELS)):
            return pages
        if image.format in ANIMATED and count_frames(image) != 1:
            return _animation(path, image, role)
        return _still(path, image, role)


def too_large(path: Path, role: str) -> ClipError:
    """The error for a picture that would take too much memory."""
    return ClipError(
        f"expected a {role} of at most {MOST_PIXELS // 10**6} megapixels, got a larger one: "
        f"{path}; scale it down"
    )


def open_image(path: Path) -> Image.Image:
    """Open with the formats above and no other; only regular files, for others may never end."""
    if not path.is_file():
        raise OSError(f"no regular file: {path}")
    Image.init()  # before it, Pillow knows half of them
    bare = without_extras(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken metadata, and of sizes below the limit
        return Image.open(path if bare is None else BytesIO(bare), formats=FORMATS)


def open_picture(path: Path, role: str, size: int | None) -> Picture:
    """One picture, never cut as a strip, for a canvas of `size`."""
    try:
        with open_image(path) as image:
            return to_picture(image, size)
    except Image.DecompressionBombError:
        raise too_large(path, role) from None
    except _DAMAGE:
        raise ClipError(
            f"expected a {role} that can be decoded, got a damaged or truncated picture: {path}; "
            "copy it again or export it anew"
        ) from None


def count_frames(image: Image.Image) -> int:
    """Frames that a file promises; 0 where its end is missing and nobody knows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(image, "n_frames", 1)
    except _DAMAGE:
        return 0


def _still(path: Path, image: Image.Image, role: str) -> FrameSource:
    """One picture; a png of several square frames side by side or stacked is cut up."""
    try:
        pictures = cut_strip(_strip(image)) if _may_be_strip(image) else []
    except _DAMAGE:
        raise ClipError(
            f"expected a {role} that can be decoded, got a damaged or truncated picture: {path}; "
            "copy it again or export it anew"
        ) from None
    if len(pictures) < 2:
        return FrameSource((1 / DEFAULT_FPS,), lambda _, size: _reopened(path, role, size))
    logger.info(
        "%s is read as a strip of %d frames; save it as jpg if it is one picture",
        path,
        len(pictures),
    )
    return FrameSource(
        durations=(1 / DEFAULT_FPS,) * len(pictures),
        pictures=lambda indices, _: (Picture.of(pictures[index]) for index in indices),
    )


def _reopened(path: Path, role: str, size: int | None) -> Iterator[Picture]:
    yield open_picture(path, role, size)


def _may_be_strip(image: Image.Image) -> bool:
    short, long = sorted(image.size)
    return image.format == "PNG" and long % short == 0 and long // short >= SHORTEST_STRIP


def _animation(path: Path, image: Image.Image, role: str) -> FrameSource:
    """Frames of a gif, webp, png or TIFF as Pillow composes them, disposal modes included.

    All frames are decoded once here: their durations are nowhere else, and only so is a
    truncated file noticed.
    """
    first = 1 if image.info.get("default_image") else 0  # a png's stand-in for old viewers
    promised = count_frames(image) - first
    size, tiff = image.size, image.format == "TIFF"
    places: list[int] = []
    durations: list[float] = []
    ranges: list[Range] = []
    try:
        for place in count(first):
            _seek(image, place)
            if tiff and places and (image.size != size or _is_aside(image)):
                promised -= 1
                continue
            load(image)
            places.append(place)
            durations.append(1 / DEFAULT_FPS if tiff else _seconds(image))
            ranges += [value_range(image)] if is_deep(image) else []
    except EOFError:
        whole = len(places) >= promised and not _lacks_end(path, image.format)
    except _DAMAGE:
        whole = False
    if not places:
        raise ClipError(
            f"expected a {role} that can be decoded, got an animation without a readable frame: "
            f"{path}; export it anew"
        )
    if not whole:
        warn_damaged(path, len(places), promised)
    deep = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None

    def pictures(indices: Sequence[int], size: int | None) -> Iterator[Picture]:
        with open_image(path) as again:
            for index in indices:
                try:
                    _seek(again, places[index])
                    picture = to_picture(again, size, deep)
                except _DAMAGE:
                    raise Unreadable(path) from None
                yield picture

    return FrameSource(tuple(durations), pictures)


def _seek(image: Image.Image, place: int) -> None:
    """Go to a frame or page, without Python's warnings of broken metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.seek(place)


def _is_aside(image: Image.Image) -> bool:
    """Whether a TIFF's page is another one's thumbnail or mask."""
    return bool(int(getattr(image, "tag_v2", {}).get(_PAGE_TYPE, 0)) & _ASIDE)


def _is_misread(image: Image.Image) -> bool:
    """Whether a TIFF has more than 8 bits in channels that are stored one after the other."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANES) == 2 and max(tags.get(_BITS, (8,))) > 8


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


def holds_motion(path: Path) -> bool | None:
    """Whether a picture file is an animation or a strip; None for a picture too damaged to say."""
    try:
        with open_image(path) as image:
            if image.format in ANIMATED and count_frames(image) != 1:
                return True
            return _may_be_strip(image) and len(cut_strip(_strip(image))) > 1
    except _DAMAGE:
        return None if path.suffix.lower() in PICTURE_SUFFIXES else False


def _strip(image: Image.Image) -> np.ndarray:
    """Bytes `h w 3`, or 4 with alpha."""
    load(image)
    return to_rgb(upright(image))
