"""Pictures of animals with known joints, cut out of their grounds, and files of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE = 256


@dataclass(frozen=True)
class Sample:
    """One animal in one frame.

    `cut` uint8 `h w 4` is its RGB and foreground (0 or 255) within a box whose upper left pixel
    is `corner` (x, y) of a picture of 256 pixels; `joints` float32 `22 2` are in pixels of that
    picture (centres at whole numbers), NaN where absent; `visibility` uint8 `22`.
    """

    cut: np.ndarray
    corner: tuple[int, int]
    joints: np.ndarray
    visibility: np.ndarray


def cut_out(
    frame: np.ndarray, mask: np.ndarray, joints: np.ndarray, visibility: np.ndarray
) -> Sample | None:
    """The sample of a frame `h w 3` with its foreground `h w`; None where that is empty."""
    if not mask.any():
        return None
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    top, left = max(rows[0] - 2, 0), max(columns[0] - 2, 0)
    box = np.s_[top : rows[-1] + 3, left : columns[-1] + 3]
    alpha = np.where(mask[box], 255, 0).astype(np.uint8)
    cut = np.concatenate([frame[box], alpha[..., None]], axis=-1)
    return Sample(cut, (int(left), int(top)), joints.astype(np.float32), visibility)


def untouched(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sample on white where it was: uint8 `256 256 3`; joints `22 2` in [-1, 1]; visibility."""
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    (x, y), (height, width) = sample.corner, sample.cut.shape[:2]
    rgb, inside = sample.cut[..., :3], sample.cut[..., 3:] > 0
    picture[y : y + height, x : x + width] = np.where(inside, rgb, 255)
    joints = (sample.joints / (SIZE - 1) * 2 - 1).astype(np.float32)
    return picture, joints, sample.visibility


@dataclass(frozen=True)
class Samples:
    """Many samples: all cuts in one flat uint8 array, the rest in arrays `n ...`; `boxes` `n 5` are
    offset, height, width, x and y."""

    pixels: np.ndarray
    boxes: np.ndarray
    joints: np.ndarray
    visibility: np.ndarray
    species: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sample], species: Sequence[str]) -> Samples:
        """From single samples, at least one."""
        offsets = np.cumsum([0] + [s.cut.nbytes for s in samples[:-1]])
        boxes = [(at, *s.cut.shape[:2], *s.corner) for at, s in zip(offsets, samples, strict=True)]
        return cls(
            np.concatenate([s.cut.ravel() for s in samples]),
            np.array(boxes, np.int64),
            np.stack([s.joints for s in samples]).astype(np.float32),
            np.stack([s.visibility for s in samples]).astype(np.uint8),
            np.array(species),
        )

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read what `save` wrote."""
        rest = [name for name in cls.__dataclass_fields__ if name != "pixels"]
        with np.load(path) as known:
            return cls(np.load(path.with_suffix(".npy")), *(known[name] for name in rest))

    def save(self, path: Path) -> None:
        """Write the pixels (.npy: an archive takes much longer to read) and then the rest (.npz),
        each whole or not at all."""
        rest = {name: part for name, part in self.__dict__.items() if name != "pixels"}
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.save(file, self.pixels)
        os.replace(temporary, path.with_suffix(".npy"))
        with temporary.open("wb") as file:
            np.savez(file, **rest)
        os.replace(temporary, path)

    @staticmethod
    def remove(path: Path) -> None:
        """Delete what `save` wrote."""
        path.unlink()
        path.with_suffix(".npy").unlink()

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, i: int) -> Sample:
        offset, height, width, x, y = (int(v) for v in self.boxes[i])
        cut = self.pixels[offset : offset + 4 * height * width].reshape(height, width, 4)
        return Sample(cut, (x, y), self.joints[i], self.visibility[i])

    def where(self, wanted: np.ndarray) -> Samples:
        """Those of which `wanted` bool `n` is true, over the same pixels."""
        rest = (self.boxes, self.joints, self.visibility, self.species)
        return Samples(self.pixels, *(part[wanted] for part in rest))
