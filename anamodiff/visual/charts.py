"""Charts and moving pictures for a page that opens without a network: SVG, and data URIs."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from torch import Tensor

from anamodiff.video.letterbox import to_pixels
from anamodiff.visual.sheets import jpeg

WIDTH, HEIGHT = 640, 220
_LEFT, _BOTTOM, _TOP = 46, 24, 8
_CHANNELS = ("#d33", "#2a2", "#36d")
BINS = 32


def film_strip(frames: Tensor, chosen: Sequence[int], side: int, quality: int) -> bytes:
    """Frames beside each other in one JPEG, for a page to show one after the other.

    Args:
        frames: ``f 3 h w`` in [-1, 1].
        chosen: indices of the frames to show, in order.
        side: longer side of a frame in the strip, in pixels.
        quality: JPEG's, 1 to 100.
    """
    pictures = to_pixels(frames[list(chosen)])
    height, width = pictures.shape[1:3]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    strip = np.concatenate([cv2.resize(p, size, interpolation=how) for p in pictures], 1)
    return jpeg(strip, quality)


def data_uri(jpeg: bytes) -> str:
    """A JPEG as an address that holds the picture itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def loss_curves(curves: Mapping[str, Sequence[float | None]], colours: Sequence[str]) -> str:
    """Losses by iteration as SVG: each value a dot, and their running geometric mean a line.

    The scale is logarithmic. Values that are None or not above 0 are left out.
    """
    points = {name: _positive(values) for name, values in curves.items()}
    levels = [math.log10(value) for values in points.values() for _, value in values]
    if not levels:
        return "<p>No iterations.</p>"
    low, high = math.floor(min(levels)), max(math.ceil(max(levels)), math.floor(min(levels)) + 1)
    last = max(1, *(len(values) - 1 for values in curves.values()))

    def place(iteration: float, level: float) -> str:
        x = _LEFT + (WIDTH - _LEFT - 8) * iteration / last
        y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - level) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for level in range(low, high + 1):
        start, end = place(0, level), place(last, level)
        y = start.partition(",")[2]
        parts.append(f'<path class="rule" d="M{start}L{end}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end">{10.0**level:g}</text>'
        )
    for (name, values), colour in zip(points.items(), colours, strict=False):
        dots = "".join(f"M{place(i, math.log10(v))}h0" for i, v in values)
        parts.append(f'<path class="dots" stroke="{colour}" d="{dots}"/>')
        mean = " ".join(place(i, level) for i, level in _running_mean(values))
        title = f"<title>{html.escape(name)}</title>"
        parts.append(f'<polyline class="line" stroke="{colour}" points="{mean}">{title}</polyline>')
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">0</text>')
    parts.append(f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{last}</text>')
    middle = (WIDTH + _LEFT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">iteration</text>')
    return _svg(parts, WIDTH, HEIGHT)


def _positive(values: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(i, v) for i, v in enumerate(values) if v is not None and 0 < v < math.inf]


def _running_mean(values: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Iteration and mean logarithm of the values about it, a sixth of them."""
    reach = max(1, len(values) // 12)
    logs = [math.log10(value) for _, value in values]
    means = (logs[max(0, k - reach) : k + reach + 1] for k in range(len(logs)))
    return [(i, sum(part) / len(part)) for (i, _), part in zip(values, means, strict=True)]


def colour_histogram(colours: np.ndarray) -> str:
    """Histograms of red, green and blue of bytes ``n 3`` as SVG, each scaled to its own peak."""
    width, height = 256, 80
    parts = []
    for channel, colour in enumerate(_CHANNELS):
        counts, _ = np.histogram(colours[:, channel], BINS, (0, 256))
        heights = np.sqrt(counts / max(1, counts.max()))  # small counts are to be seen, too
        step = width / BINS
        corners = [f"{(k + 0.5) * step:.0f},{height * (1 - h):.1f}" for k, h in enumerate(heights)]
        parts.append(f'<polyline class="line" stroke="{colour}" points="{" ".join(corners)}"/>')
    parts.append(f'<path class="rule" d="M0,{height}H{width}"/>')
    return _svg(parts, width, height + 1)


def _svg(parts: Sequence[str], width: int, height: int) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
