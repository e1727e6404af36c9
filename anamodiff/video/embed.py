"""Clips inside a page, such as a notebook: one HTML element that holds the video itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from anamodiff.video.canvas import resize
from anamodiff.video.pyav import encode_video

#: Sides in pixels of a square of as many pixels, and most frames, to try until the video fits.
SIZES = ((512, 240), (384, 160), (256, 96), (128, 48))
LIMIT = 2_000_000  # bytes of a video; a third more in base64
_SHOWN = 256  # pixels of the page that the longer side of a smaller picture takes
_SLOWEST = 0.1  # frames a second: slower ones overrun an encoder's clock
_SQUARE, _PALE, _GREY = 8, 255, 204  # of the chequers behind transparent clips: pixels, colours


def clip_html(pictures: Sequence[np.ndarray] | np.ndarray, fps: float, caption: str = "") -> str:
    """An HTML element that plays frames over and over; one frame is a picture.

    Large and long clips are shrunk and thinned until they take no more than `LIMIT` bytes.

    Args:
        pictures: bytes ``h w 3``, or ``h w 4`` with alpha, which is shown on chequers.
        fps: frames a second.
        caption: words below it.
    """
    first = _small(pictures[0], SIZES[0][0])
    height, width = first.shape[:2]
    wide = round(width * max(1.0, _SHOWN / max(height, width)))
    style = f'style="width: {wide}px; max-width: 100%"'
    if len(pictures) == 1:
        source = f"data:image/png;base64,{_base64(_png(first))}"
        element = f'<img {style} alt="" src="{source}">'
    else:
        source = f"data:video/mp4;base64,{_base64(_mp4_within_limit(pictures, fps))}"
        element = f'<video {style} autoplay loop muted playsinline controls src="{source}"></video>'
    return f"<div>{element}<br><small>{html.escape(caption)}</small></div>"


def on_chequers(picture: np.ndarray) -> np.ndarray:
    """Bytes ``h w 4``, alpha last, before grey squares: ``h w 3``; ``h w 3`` stays as it is."""
    height, width, channels = picture.shape
    if channels == 3:
        return picture
    odd = np.add.outer(np.arange(height) // _SQUARE, np.arange(width) // _SQUARE) % 2
    ground = np.where(odd, _GREY, _PALE)[..., None]
    alpha = picture[..., 3:] / 255
    return np.round(alpha * picture[..., :3] + (1 - alpha) * ground).astype(np.uint8)


def _small(picture: np.ndarray, side: int) -> np.ndarray:
    """Opaque, and of no more pixels than a square of `side`; a comparison may be wide."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / (height * width) ** 0.5)
    to = max(1, round(height * scale)), max(1, round(width * scale))
    return on_chequers(resize(picture, to))


def _mp4_within_limit(pictures: Sequence[np.ndarray] | np.ndarray, fps: float) -> bytes:
    film = b""
    for side, most in SIZES:
        count = min(most, len(pictures))
        chosen = (pictures[index * len(pictures) // count] for index in range(count))
        film = _mp4([_small(picture, side) for picture in chosen], fps * count / len(pictures))
        if len(film) <= LIMIT:
            break
    return film


def _mp4(pictures: Sequence[np.ndarray], fps: float) -> bytes:
    with TemporaryDirectory() as name:
        path = Path(name) / "clip.mp4"
        encode_video(path, pictures, max(fps, _SLOWEST))
        return path.read_bytes()


def _png(picture: np.ndarray) -> bytes:
    written, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert written
    return data.tobytes()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
