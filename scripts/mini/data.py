"""Frames with captions: drawn creatures and a folder of clips."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Frames:
    """Frames of many clips, n h w 3 uint8 (memory-mapped), with a caption and species for each."""

    pixels: np.ndarray
    captions: list[str]
    species: list[str]
    starts: np.ndarray  # first frame of each clip, and one past the last

    def clip(self, index: int) -> np.ndarray:
        return self.pixels[self.starts[index] : self.starts[index + 1]]


def load_clips(manifest: Path, cache: Path, size: int) -> Frames:
    """Decode the clips of a manifest's `train` split once into one array on disk.

    A manifest is JSON lines with `file`, `caption`, `species` and `split`, beside the clips.
    """
    pixels, table = cache / f"clips{size}.npy", cache / f"clips{size}.json"
    if not (pixels.is_file() and table.is_file()):
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        rows = [row for row in rows if row["split"] == "train"]
        _decode(rows, manifest.parent, pixels, table, size)
    rows = json.loads(table.read_text())
    return Frames(
        pixels=np.load(pixels, mmap_mode="r"),
        captions=[row["caption"] for row in rows],
        species=[row["species"] for row in rows],
        starts=np.array([row["start"] for row in rows] + [rows[-1]["stop"]]),
    )


def _decode(rows: list[dict], folder: Path, pixels: Path, table: Path, size: int) -> None:
    from anamodiff.video.clip import read_clip

    clips, entries, start = [], [], 0
    for row in rows:
        frames = read_clip(folder / row["file"], frames=None, size=size).frames
        clips.append(((frames + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        stop = start + len(frames)
        entries.append(
            {"caption": row["caption"], "species": row["species"], "start": start, "stop": stop}
        )
        start = stop
    pixels.parent.mkdir(parents=True, exist_ok=True)
    temporary = pixels.with_name("temporary.npy")
    np.save(temporary, np.concatenate(clips))
    os.replace(temporary, pixels)
    table.write_text(json.dumps(entries))


def draw_creature(seed: int, size: int, frames: int = 1) -> tuple[np.ndarray, str]:
    """Frames f h w 3 uint8 of a random creature in a random motion, and its caption."""
    from anamodiff import creatures

    rng = np.random.default_rng(seed)
    character = creatures.Character.sample(seed)
    motion = str(rng.choice(creatures.MOTIONS))
    drawn = creatures.draw(character, motion, frames=frames, size=size, phase=float(rng.random()))
    return drawn.frames, character.caption


def random_crop(frame: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A size x size crop around a random point of the character; white ground teaches little."""
    height, width = frame.shape[:2]
    ground = frame[0, 0].astype(np.int16)
    y, x = rng.integers(0, height), rng.integers(0, width)
    for _ in range(24):
        if np.abs(frame[y, x] - ground).sum() > 30:
            break
        y, x = rng.integers(0, height), rng.integers(0, width)
    top = int(np.clip(y - rng.integers(0, size), 0, height - size))
    left = int(np.clip(x - rng.integers(0, size), 0, width - size))
    return frame[top : top + size, left : left + size]


def recolour(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour augmentation of half of the frames: channels permuted, each made darker."""
    if rng.random() < 0.5:
        return frame
    frame = frame[..., rng.permutation(3)]
    gain = 1 - 0.3 * rng.random(3) * (rng.random() < 0.5)
    return cv2.convertScaleAbs(frame * gain)
