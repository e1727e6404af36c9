"""Gifs, written through Pillow with one palette for all frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

_MOST = 256  # colours of a gif
_SAMPLED = 500_000  # pixels of a clip that its palette is chosen from


def write_gif(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """Write bytes `h w 3` each as a gif that loops, with one palette for all its frames.

    Up to 256 colours in all are kept exactly. Nothing is dithered: dots that jump from frame to
    frame look worse on flat drawings than steps do. The frames are taken one at a time, twice.
    """
    colours = _few_colours(pictures)
    table = _palette(pictures) if colours is None else _unpacked(colours)
    images = _indexed(pictures, table)
    ticks = [round(index * 100 / fps) for index in range(len(pictures) + 1)]
    durations = [10 * max(2, after - before) for before, after in pairwise(ticks)]
    next(images).save(
        path, save_all=True, append_images=images, duration=durations, loop=0, optimize=False
    )


def _few_colours(pictures: Sequence[np.ndarray]) -> np.ndarray | None:
    """All colours of the pictures, as numbers; None for more than 256."""
    colours = np.empty(0, np.uint32)
    for picture in pictures:
        colours = np.union1d(colours, _packed(picture))
        if len(colours) > _MOST:
            return None
    return colours


def _indexed(pictures: Sequence[np.ndarray], table: np.ndarray) -> Iterator[Image.Image]:
    """The pictures in the palette `table` (m 3); the nearest to a colour is looked for once."""
    known = np.zeros(1 << 24, bool)
    nearest = np.zeros(1 << 24, np.uint8)
    for picture in pictures:
        numbers = _packed(picture)
        new = numbers[~known[numbers]]
        if len(new):
            new = np.unique(new)
            nearest[new], known[new] = _nearest(_unpacked(new), table), True
        image = Image.fromarray(nearest[numbers]).convert("P")
        image.putpalette(table.tobytes())
        yield image


def _nearest(colours: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Index (n,) of the colour in `table` (m 3) that is nearest to each of `colours` (n 3)."""
    wanted = table.astype(np.float32)
    found = np.empty(len(colours), np.uint8)
    for first in range(0, len(colours), 8192):  # bounds the distances held at once
        part = colours[first : first + 8192].astype(np.float32)
        found[first : first + 8192] = (np.square(wanted).sum(1) - 2 * part @ wanted.T).argmin(1)
    return found


def _palette(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """256 colours for the pictures, the commonest (the ground) exactly among them."""
    step = max(1, len(pictures) * pictures[0].size // 3 // _SAMPLED)
    # A palette needs statistics, not every pixel.
    parts = [part.reshape(-1, 3)[place % step :: step] for place, part in enumerate(pictures)]
    thin = np.ascontiguousarray(np.concatenate(parts)[None])
    chosen = Image.fromarray(thin).quantize(_MOST - 1, kmeans=3).getpalette()
    kinds, counts = np.unique(_packed(thin), return_counts=True)
    ground = _unpacked(kinds[counts.argmax()][None])
    return np.concatenate([np.array(chosen, dtype=np.uint8).reshape(-1, 3), ground])


def _packed(pictures: np.ndarray) -> np.ndarray:
    """Bytes `... 3` as one number for each pixel."""
    return pictures.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


def _unpacked(numbers: np.ndarray) -> np.ndarray:
    """Numbers `n` as colours, bytes `n 3`."""
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)
