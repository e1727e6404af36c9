"""Pictures for people: key points on frames, captions, comparisons side by side, sheets."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded, replacing
from anamodiff.video.letterbox import from_pixels, to_pixels

#: Smallest height, in pixels, at which a comparison is comfortable to watch.
WATCHABLE = 256

#: Height of one frame on a contact sheet, in pixels, at least and at most.
SHEET_CELL = (96, 256)

#: Frames in a row of what objects show of themselves in a notebook, and their height in pixels.
NOTEBOOK_COLUMNS, NOTEBOOK_CELL = 6, 192

_PAPER, _INK, _GAP = 255, 25, 4
_RIM = (20, 20, 20)
_POINTS = (
    (230, 25, 40),  # red
    (0, 110, 255),  # blue
    (40, 180, 60),  # green
    (255, 225, 25),  # yellow
    (150, 40, 200),  # violet
    (0, 225, 235),  # cyan
    (255, 130, 20),  # orange
    (240, 60, 220),  # pink
    (145, 90, 40),  # brown
    (175, 245, 90),  # lime
    (128, 128, 128),  # grey
    (0, 0, 120),  # navy
)


def point_colours(count: int) -> list[tuple[int, int, int]]:
    """RGB colours told apart at a glance; point k has the same one in every picture."""
    colours = list(_POINTS[:count])
    for k in range(len(colours), count):
        # Steps of the golden ratio around the hue circle never come back to the same hue.
        red, green, blue = colorsys.hsv_to_rgb(0.618034 * k % 1, 0.6, 0.9)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def draw_points(frames: Tensor, points: Tensor) -> Tensor:
    """Draw key points as discs with a dark rim.

    `frames` are `f 3 h w` in [-1, 1]; `points` are `f k 2`, (x, y) in [-1, 1] with the corner
    pixels' centres at -1 and 1 (one frame or one row of points serves for all). Points outside
    the picture or not finite are left out. Raises `AnaMoDiffError` where the counts differ.
    """
    if points.ndim != 3 or points.shape[-1] != 2:
        raise AnaMoDiffError(
            f"expected points of shape f x k x 2, got {tuple(points.shape)}; reshape them"
        )
    count = max(len(frames), len(points))
    if {len(frames), len(points)} - {1, count}:
        raise AnaMoDiffError(
            f"expected points for each of {len(frames)} frames, got {len(points)}; detect them "
            "on the same frames"
        )
    height, width = frames.shape[-2:]
    pictures = to_pixels(frames.expand(count, -1, -1, -1))
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    places = ((points.detach().float().cpu() + 1) * half).expand(count, -1, -1).numpy()
    radius = max(2.0, 0.018 * min(height, width))
    for picture, row in zip(pictures, places, strict=True):
        for place, colour in zip(row, point_colours(points.shape[1]), strict=True):
            if (np.abs(place) < 4 * max(height, width)).all():  # false for NaN
                _disc(picture, place, radius, colour)
    return from_pixels(pictures)


def _disc(
    picture: np.ndarray, place: np.ndarray, radius: float, colour: tuple[int, int, int]
) -> None:
    """Draw one disc at sub-pixel (x, y) with a dark rim, a third of its radius wide.

    Each pixel takes the paint in proportion to its cover, measured from its distance: OpenCV's
    own circles turn into diamonds at the few pixels that a small frame leaves them.
    """
    reach = int(np.ceil(radius * 4 / 3)) + 1
    left, top = (max(0, int(value) - reach) for value in place)
    part = picture[
        top : max(0, int(place[1]) + reach + 1), left : max(0, int(place[0]) + reach + 1)
    ]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    distance = np.hypot(columns + left - place[0], rows + top - place[1])[..., None]
    blend = part.astype(np.float32)
    for edge, paint in ((radius * 4 / 3, _RIM), (radius, colour)):
        blend += (np.array(paint) - blend) * np.clip(edge - distance + 0.5, 0, 1)
    part[:] = np.round(blend)


def label(frames: Tensor, text: str) -> Tensor:
    """Put a caption on a strip above the frames: `f 3 h w` becomes `f 3 h+s w` in [-1, 1]."""
    return from_pixels(_captioned(to_pixels(frames), text))


def _captioned(pictures: np.ndarray, text: str) -> np.ndarray:
    """Bytes `f h w 3` with a caption strip above, dark on white."""
    count, height, width = pictures.shape[:3]
    strip = _caption(text, width, max(14, round(height * 0.09)))
    strips = np.broadcast_to(strip, (count, *strip.shape))
    return np.concatenate([strips, pictures], axis=1)


def _caption(text: str, width: int, height: int) -> np.ndarray:
    """One line of text in the middle of a strip, smaller if it is long: bytes `height width 3`."""
    image = Image.new("RGB", (width, height), (_PAPER,) * 3)
    draw = ImageDraw.Draw(image)
    points = height * 0.72
    font = ImageFont.load_default(points)
    room = max(1, width - 4)
    if draw.textlength(text, font) > room:
        font = ImageFont.load_default(max(7.0, points * room / draw.textlength(text, font)))
        while len(text) > 1 and draw.textlength(text, font) > room:
            text = text.rstrip(".")[:-1] + "..." if len(text) > 4 else text[:-1]
    draw.text((width / 2, height / 2), text, (_INK,) * 3, font, anchor="mm")
    return np.asarray(image)


def side_by_side(columns: Sequence[tuple[str, Tensor]]) -> Tensor:
    """Set clips beside each other under their names, for watching: `f 3 h w` in [-1, 1].

    Each column is (name, frames `f 3 h w`). All become as high as the highest, at least
    `WATCHABLE` pixels. A column of fewer frames is stretched over the time of the longest by
    repeating, so one picture stands still.
    """
    if not columns:
        raise AnaMoDiffError("expected at least one column to show, got none; name one")
    height = max(WATCHABLE, *(frames.shape[-2] for _, frames in columns))
    count = max(len(frames) for _, frames in columns)
    parts: list[np.ndarray] = []
    for name, frames in columns:
        pictures = _stretched(_resized(to_pixels(frames), height), count)
        part = _captioned(pictures, name)
        if parts:
            parts.append(np.full((*part.shape[:2], _GAP, 3), _PAPER, dtype=np.uint8))
        parts.append(part)
    return from_pixels(np.concatenate(parts, axis=2))


def enlarge(frames: Tensor, height: int) -> Tensor:
    """Frames `f 3 h w` in [-1, 1] at least so high, aspect kept: drawings want room."""
    if frames.shape[-2] >= height:
        return frames
    return from_pixels(_resized(to_pixels(frames), height))


def _resized(pictures: np.ndarray, height: int) -> np.ndarray:
    """Bytes `f h w 3` at another height, aspect kept."""
    if pictures.shape[1] == height:
        return pictures
    how = cv2.INTER_CUBIC if pictures.shape[1] < height else cv2.INTER_AREA
    width = max(1, round(pictures.shape[2] * height / pictures.shape[1]))
    return np.stack([cv2.resize(p, (width, height), interpolation=how) for p in pictures])


def _stretched(pictures: np.ndarray, count: int) -> np.ndarray:
    """`count` frames evenly from those given, repeating or leaving out."""
    return pictures[np.arange(count) * len(pictures) // count]


def contact_sheet(rows: Sequence[tuple[str, Tensor]], columns: int = 10) -> np.ndarray:
    """Lay clips out as rows of at most `columns` frames under their names: bytes `h w 3`.

    Each row is (name, frames `f 3 h w` in [-1, 1]); a longer clip is thinned evenly, a shorter
    one leaves its row unfinished. All frames are as high as the highest, within `SHEET_CELL`.
    """
    if not rows or columns < 1:
        raise AnaMoDiffError(
            f"expected at least one row and one column, got {len(rows)} and {columns}; add some"
        )
    low, high = SHEET_CELL
    height = min(high, max(low, *(frames.shape[-2] for _, frames in rows)))
    lines = []
    for name, frames in rows:
        count = min(columns, len(frames))
        chosen = [index * len(frames) // count for index in range(count)]
        pictures = _resized(to_pixels(frames[chosen]), height)
        spaced = np.pad(pictures, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=_PAPER)
        lines.append((name, np.concatenate(list(spaced), axis=1)))
    width = max(line.shape[1] for _, line in lines)
    sheet = []
    for name, line in lines:
        sheet.append(_heading(name, width))
        sheet.append(
            np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=_PAPER)
        )
    return np.concatenate(sheet, axis=0)


def few(frames: Tensor) -> Tensor:
    """`NOTEBOOK_COLUMNS` of frames `f ...`, taken evenly; all if there are fewer."""
    count = min(NOTEBOOK_COLUMNS, len(frames))
    return frames[[index * len(frames) // count for index in range(count)]]


def sheet_jpeg(rows: Sequence[tuple[str, Tensor]]) -> bytes:
    """A contact sheet for a notebook: rows as `contact_sheet` takes them, thinned by `few`."""
    large = [(name, enlarge(few(frames), NOTEBOOK_CELL)) for name, frames in rows]
    return jpeg(contact_sheet(large, NOTEBOOK_COLUMNS), quality=90)


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Bytes `h w 3` as a JPEG; `quality` is from 1 to 100."""
    written, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert written
    return data.tobytes()


def _heading(text: str, width: int) -> np.ndarray:
    """A row's name, at the left: bytes `20 width 3`."""
    image = Image.new("RGB", (width, 20), (_PAPER,) * 3)
    ImageDraw.Draw(image).text((4, 10), text, (_INK,) * 3, ImageFont.load_default(13), anchor="lm")
    return np.asarray(image)


def save_picture(path: str | Path, array: np.ndarray) -> Path:
    """Write bytes `h w 3` as png, jpg or webp by the suffix; missing folders are made.

    The file appears only when it is complete.
    """
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        iio.imwrite(unfinished, array)
    return path
