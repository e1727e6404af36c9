"""The training frames on disk: clips and drawn creatures, prepared by worker processes.

A part is `NAME.npy`, uint8 `n h w 4`: a character as seen on white (RGB), and how much of each
pixel it covers, so that it can be put on any ground; `NAME.json` has captions and groups
(species). Of both the `.npy` is written last. A worker that starts again leaves parts that are
there as they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

WHITE = (255, 255, 255)
WHITE_TOLERANCE = 14
PURE_WHITE, GAP_PIXELS = 252, 20
CLIPS_PER_PART, DRAWN_PER_PART, MOMENTS = 4, 128, 2
HELD_OUT_SEEDS = 1000  # the last ones below 2**31

Sample = tuple[np.ndarray, str, str]  # frame h w 4, caption, group


def start_workers(
    folder: Path, manifest: Path | None, *, size: int, seed: int, workers: int, frames: int,
    seconds: float | None,
) -> list[subprocess.Popen]:  # fmt: skip
    """Processes that fill `folder` with all training clips and then `frames` drawn frames.

    They end with this process, and after `seconds`. They are started as this file, so that they
    load neither PyTorch nor the models.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = None if seconds is None else time.time() + seconds
    given = {
        "folder": str(folder), "manifest": manifest and str(manifest), "size": size, "seed": seed,
        "workers": workers, "frames": frames, "until": until, "parent": os.getpid(),
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).resolve())]
    paths = os.pathsep.join(path for path in sys.path if path)
    return [
        subprocess.Popen(
            [*command, json.dumps({**given, "index": index})],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        for index in range(workers)
    ]


def fill(
    folder: str, manifest: str | None, size: int, seed: int, index: int, workers: int,
    frames: int, until: float | None, parent: int,
) -> None:  # fmt: skip
    """What one worker does: its share of the clips, then of the drawn parts."""
    cv2.setNumThreads(0)
    os.nice(5)
    rows = training_rows(Path(manifest)) if manifest else []
    parts = [rows[i : i + CLIPS_PER_PART] for i in range(0, len(rows), CLIPS_PER_PART)]
    jobs = [(f"clips-{i:05d}", part) for i, part in enumerate(parts)]
    jobs += [(f"drawn-{i:05d}", None) for i in range(-(-frames // DRAWN_PER_PART))]
    for number, (name, part) in enumerate(jobs):
        if number % workers != index or (Path(folder) / f"{name}.npy").is_file():
            continue
        if (until is not None and time.time() > until) or os.getppid() != parent:
            return
        if part:
            samples = clip_samples(Path(manifest or "").parent, part, size)
        else:
            samples = drawn_samples(np.random.default_rng([seed, number]), size, DRAWN_PER_PART)
        write_part(Path(folder), name, list(samples))


def write_part(folder: Path, name: str, samples: list[Sample]) -> None:
    """Write a part; nothing where there are no samples."""
    if not samples:
        return
    table = {"captions": [s[1] for s in samples], "groups": [s[2] for s in samples]}
    (folder / f"{name}.json").write_text(json.dumps(table))
    temporary = folder / f"{name}.tmp"
    with temporary.open("wb") as file:
        np.save(file, np.stack([s[0] for s in samples]))
    os.replace(temporary, folder / f"{name}.npy")


def training_rows(manifest: Path) -> list[dict]:
    """The clips to train on, of JSON lines with `file`, `caption`, `species` and `split`."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines() if line.strip()]
    return [row for row in rows if row["split"] == "train"]


def clip_samples(folder: Path, rows: list[dict], size: int) -> Iterator[Sample]:
    """All frames of some clips; a clip that cannot be read is named and left out."""
    for row in rows:
        try:
            frames = read_video(folder / row["file"], size)
        except OSError as error:
            print(f"left out: {error}", flush=True)
            continue
        for frame in frames:
            yield np.dstack([frame, coverage(frame)]), row["caption"], row["species"]


def drawn_samples(lot: np.random.Generator, size: int, count: int) -> Iterator[Sample]:
    """Random creatures on white, each at some moments of one motion."""
    from anamodiff import creatures

    for _ in range(count // MOMENTS):
        character = creatures.Character.sample(
            int(lot.integers(2**31 - HELD_OUT_SEEDS)), background=WHITE
        )
        motions = creatures.motions_of(character.species)
        motion, phase = str(lot.choice(motions)), float(lot.random())
        drawn = creatures.draw(character, motion, frames=MOMENTS, size=size, phase=phase)
        for frame, cover in zip(drawn.frames, drawn.coverage, strict=True):
            yield np.dstack([frame, cover]), character.caption, f"drawn {character.species}"


def held_out_samples(size: int, count: int) -> list[Sample]:
    """Creatures of seeds that training does not use, one frame each."""
    samples = []
    for i in range(count):
        samples += drawn_one(2**31 - 1 - i, size)
    return samples


def drawn_one(seed: int, size: int) -> list[Sample]:
    """One frame of the creature of `seed` in a random motion."""
    from anamodiff import creatures

    lot = np.random.default_rng(seed)
    character = creatures.Character.sample(seed, background=WHITE)
    motion = str(lot.choice(creatures.MOTIONS))
    drawn = creatures.draw(character, motion, frames=1, size=size, phase=float(lot.random()))
    frame = np.dstack([drawn.frames[0], drawn.coverage[0]])
    return [(frame, character.caption, f"drawn {character.species}")]


def read_video(path: Path, size: int) -> list[np.ndarray]:
    """Frames uint8 `h w 3` (RGB), square, `size` pixels wide; `OSError` where there are none."""
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = video.read()
        if not there:
            break
        frames.append(_squared(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size))
    video.release()
    if not frames:
        raise OSError(f"expected a video in {path}, got no frames: give another")
    return frames


def _squared(frame: np.ndarray, size: int) -> np.ndarray:
    """A frame in the middle of a white square, resampled to `size`."""
    height, width = frame.shape[:2]
    side = max(height, width)
    if height != width:
        square = np.full((side, side, 3), 255, np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = frame
        frame = square
    if side == size:
        return frame
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(frame, (size, size), interpolation=how)


def coverage(frame: np.ndarray) -> np.ndarray:
    """How much a character on white covers each pixel: uint8 `h w`.

    All that cannot be reached from the border over white is covered, except for whole patches of
    pure white, which are ground between limbs. At the edge, where white and the character mix, the
    share follows from the darkest colour nearby.
    """
    paper = (frame.min(-1) > 255 - WHITE_TOLERANCE).astype(np.uint8)
    padded = np.pad(paper, 1, constant_values=1)
    flooded = np.zeros((padded.shape[0] + 2, padded.shape[1] + 2), np.uint8)
    cv2.floodFill(padded, flooded, (0, 0), 2)
    mask = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    pure = ((frame.min(-1) >= PURE_WHITE) & (mask > 0)).astype(np.uint8)
    _, labels, found, _ = cv2.connectedComponentsWithStats(pure, connectivity=4)
    between = found[:, cv2.CC_STAT_AREA] >= GAP_PIXELS
    between[0] = False
    mask[between[labels]] = 0
    edge = mask - cv2.erode(mask, np.ones((3, 3), np.uint8))
    ink = 255 - frame.min(-1)
    darkest = cv2.dilate(ink, np.ones((5, 5), np.uint8))
    share = ink.astype(np.float32) / np.maximum(darkest, 1) * 255
    mixed = (edge > 0) & (darkest > 60)  # beside a pale character, edges cannot be told
    return np.where(mixed, share, mask * 255.0).round().astype(np.uint8)


if __name__ == "__main__":
    fill(**json.loads(sys.argv[1]))
