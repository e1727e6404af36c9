"""Pictures of animals with known joints, cut out of their grounds, and where they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


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


class Store:
    """Samples on disk: all cuts in one flat file that is mapped, the rest in arrays."""

    def __init__(self, folder: Path) -> None:
        index = np.load(folder / "index.npz")
        self.joints, self.visibility = index["joints"], index["visibility"]
        self.species, self.held_out = index["species"], index["held_out"]
        self.boxes = index["boxes"]  # n 5: offset, height, width, x, y
        self.pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, i: int) -> Sample:
        offset, height, width, x, y = (int(v) for v in self.boxes[i])
        cut = self.pixels[offset : offset + 4 * height * width].reshape(height, width, 4)
        return Sample(np.asarray(cut), (x, y), self.joints[i], self.visibility[i])


class StoreWriter:
    """Writes samples one by one; `close` makes them a `Store`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rows, self.offset = folder, [], 0
        self.file = (folder / "pixels.bin").open("wb")

    def add(self, sample: Sample | None, species: str, held_out: bool) -> None:
        """Append a sample; None is left out."""
        if sample is None:
            return
        height, width = sample.cut.shape[:2]
        self.file.write(sample.cut.tobytes())
        box = (self.offset, height, width, *sample.corner)
        self.rows.append((box, sample.joints, sample.visibility, species, held_out))
        self.offset += sample.cut.nbytes

    def close(self) -> None:
        """Write the index; without it there is no store."""
        self.file.close()
        boxes, joints, visibility, species, held_out = zip(*self.rows, strict=True)
        np.savez(
            self.folder / "index.npz",
            boxes=np.array(boxes, np.int64),
            joints=np.stack(joints),
            visibility=np.stack(visibility),
            species=np.array(species),
            held_out=np.array(held_out),
        )
