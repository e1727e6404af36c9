"""TIFF files that Pillow cannot open: floats and 32 bits in several channels, through OpenCV."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from anamodiff.video.picture import Picture
from anamodiff.video.rgb import range_of, scale, without_stderr
from anamodiff.video.sampling import DEFAULT_FPS, FrameSource, Unreadable

_HEADS = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT = 256, 257


def open_tiff(path: Path, most_pixels: int) -> FrameSource | None:
    """The pages of a TIFF of the first page's size; None where they cannot be read."""
    if not _is_modest(path, most_pixels):
        return None
    shapes, found = [], []
    try:
        with without_stderr():
            count = cv2.imcount(str(path))
        for number in range(count):
            page = _page(path, number)
            shapes.append(None if page is None else page.shape)
            found += [] if page is None or shapes[-1] != shapes[0] else [range_of(page)]
    except cv2.error:
        return None
    if not found:
        return None
    places = [number for number, shape in enumerate(shapes) if shape == shapes[0]]
    deep = min(low for low, _ in found), max(high for _, high in found)

    def pictures(indices: Sequence[int], _: int | None) -> Iterator[Picture]:
        for index in indices:
            page = _page(path, places[index])
            if page is None:
                raise Unreadable(path)
            yield Picture.of(scale(page, deep))

    return FrameSource((1 / DEFAULT_FPS,) * len(places), pictures)


def _is_modest(path: Path, most_pixels: int) -> bool:
    """Whether a file is a TIFF that says it has at most so many pixels."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head[:4] not in _HEADS:
                return False
            directory = ImageFileDirectory_v2(head)
            file.seek(directory.next)
            directory.load(file)
            return 0 < directory.get(_WIDTH, 0) * directory.get(_HEIGHT, 0) <= most_pixels
    except Exception:  # a broken directory raises many types
        return False


def _page(path: Path, number: int) -> np.ndarray | None:
    """A page as it is stored, its channels in the order of RGB."""
    with without_stderr():
        read, pages = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_UNCHANGED)
    if not read:
        return None
    page = np.asarray(pages[0])
    if page.ndim == 3 and page.shape[2] in (3, 4):
        return page[..., [2, 1, 0, *range(3, page.shape[2])]]
    return page
