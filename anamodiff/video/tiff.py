"""TIFF files that Pillow cannot open: floats, 32 bits in several channels, channels apart.

tifffile reads them all, but few compressions; OpenCV those compressions, but no half floats, and
channels that are stored one after the other wrongly.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from anamodiff.video.picture import Picture
from anamodiff.video.rgb import range_of, scale, without_stderr
from anamodiff.video.sampling import DEFAULT_FPS, FrameSource, Unreadable

# Without a handler Python prints what it logs of damaged files.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

#: How a TIFF begins; the last two are those of files above 4 GB.
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _FORMAT = 256, 257, 258, 262, 284, 339
_BLACK_IS_ZERO, _RGB, _APART, _FLOAT = 1, 2, 2, 3
_MOST_CHANNELS = 4

_Pages = Callable[[int], np.ndarray | None]


def open_tiff(path: Path, most_pixels: int) -> FrameSource | None:
    """The pages of a TIFF of the first page's size; None where they cannot be read."""
    tags = _tags(path)
    if not 0 < tags.get(_WIDTH, 0) * tags.get(_HEIGHT, 0) <= most_pixels:
        return None
    if tags.get(_PHOTOMETRIC) not in (_BLACK_IS_ZERO, _RGB):
        return _opened(*_by_opencv(path))
    found = _opened(*_by_tifffile(path))
    half = tags.get(_FORMAT) == _FLOAT and tags.get(_BITS) == 16
    if found is None and not half and tags.get(_PLANES) != _APART:
        return _opened(*_by_opencv(path))
    return found


def _opened(count: int, page_at: _Pages) -> FrameSource | None:
    """The pages, as wide and high as the first one that can be read."""
    shapes, found = [], []
    for number in range(count):
        page = page_at(number)
        shapes.append(None if page is None else page.shape)
        found += [] if page is None or shapes[-1] != shapes[0] else [range_of(page)]
    if not found:
        return None
    places = [number for number, shape in enumerate(shapes) if shape == shapes[0]]
    deep = min(low for low, _ in found), max(high for _, high in found)

    def pictures(indices: Sequence[int], _: int | None) -> Iterator[Picture]:
        for index in indices:
            page = page_at(places[index])
            if page is None:
                raise Unreadable
            yield Picture.of(scale(page, deep))

    return FrameSource((1 / DEFAULT_FPS,) * len(places), pictures)


def _tags(path: Path) -> dict[int, int]:
    """Those of the first page that are whole numbers, or begin with one, whatever their types say.

    None where the file is no TIFF, or its directory is broken.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head[:4] not in TIFF_HEADS:
                return {}
            head += file.read(8) if head[:4] in TIFF_HEADS[2:] else b""
            directory = ImageFileDirectory_v2(head)
            file.seek(directory.next)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of values that are missing
                directory.load(file)
            first = {tag: np.ravel(value)[:1].tolist() for tag, value in directory.items()}
            return {tag: found[0] for tag, found in first.items() if [int] == [*map(type, found)]}
    except Exception:  # raises many types
        return {}


def _by_tifffile(path: Path) -> tuple[int, _Pages]:
    """How many pages tifffile counts, and what gives one, `h w` or `h w c`; None: it cannot."""
    import tifffile  # takes long, and few need it

    def page_at(number: int) -> np.ndarray | None:
        try:
            with tifffile.TiffFile(path) as file:
                page = file.pages[number]
                if not isinstance(page, tifffile.TiffPage):
                    page = page.aspage()
                most = _MOST_CHANNELS * page.imagewidth * page.imagelength
                if page.axes not in ("YX", "YXS", "SYX") or page.size > most:
                    return None
                values = np.asarray(page.asarray(maxworkers=1))
                # Of a page whose data is missing it makes an empty array, whatever its size.
                if values.dtype.kind not in "uif" or values.shape != page.shape or not values.size:
                    return None
                return np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
        except Exception:  # of damaged files it raises many types
            return None

    try:
        with tifffile.TiffFile(path) as file:
            return len(file.pages), page_at
    except Exception:
        return 0, page_at


def _by_opencv(path: Path) -> tuple[int, _Pages]:
    """The same by OpenCV."""

    def page_at(number: int) -> np.ndarray | None:
        try:
            with without_stderr():
                read, pages = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_UNCHANGED)
        except cv2.error:
            return None
        if not read:
            return None
        page = np.asarray(pages[0])
        if page.ndim == 3 and page.shape[2] in (3, 4):
            return page[..., [2, 1, 0, *range(3, page.shape[2])]]
        return page

    try:
        with without_stderr():
            return cv2.imcount(str(path)), page_at
    except cv2.error:
        return 0, page_at
