"""Gifs, written through Pillow with one palette for all frames."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image


def write_gif(path: Path, pictures: np.ndarray, fps: float) -> None:
    """Write bytes `f h w 3` as a gif that loops, with one palette for all its frames.

    Up to 256 colours in all are kept exactly. Nothing is dithered: dots that jump from frame to
    frame look worse on flat drawings than steps do.
    """
    colours, where = np.unique(_packed(pictures), return_inverse=True)
    table = _palette(pictures) if len(colours) > 256 else _unpacked(colours)
    nearest = _nearest(_unpacked(colours), table)
    images = []
    for indices in nearest[where].reshape(pictures.shape[:3]):
        image = Image.fromarray(indices).convert("P")
        image.putpalette(table.tobytes())
        images.append(image)
    ticks = [round(index * 100 / fps) for index in range(len(images) + 1)]
    durations = [10 * max(2, after - before) for before, after in pairwise(ticks)]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
    )


def _nearest(colours: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Index (n,) of the colour in `table` (m 3) that is nearest to each of `colours` (n 3)."""
    wanted = table.astype(np.float32)
    found = np.empty(len(colours), np.uint8)
    for first in range(0, len(colours), 8192):  # bounds the distances held at once
        part = colours[first : first + 8192].astype(np.float32)
        found[first : first + 8192] = (np.square(wanted).sum(1) - 2 * part @ wanted.T).argmin(1)
    return found


def _palette(pictures: np.ndarray) -> np.ndarray:
    """256 colours for bytes `f h w 3`, the commonest (the ground) exactly among them."""
    colours = pictures.reshape(1, -1, 3)
    # A palette needs statistics, not every pixel.
    thin = np.ascontiguousarray(colours[:, :: max(1, colours.shape[1] // 500_000)])
    chosen = Image.fromarray(thin).quantize(255, kmeans=3).getpalette()
    kinds, counts = np.unique(_packed(thin), return_counts=True)
    ground = _unpacked(kinds[counts.argmax()][None])
    return np.concatenate([np.array(chosen, dtype=np.uint8).reshape(-1, 3), ground])


def _packed(pictures: np.ndarray) -> np.ndarray:
    """Bytes `... 3` as one number for each pixel."""
    return pictures.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


def _unpacked(numbers: np.ndarray) -> np.ndarray:
    """Numbers `n` as colours, bytes `n 3`."""
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)
