"""Rendered animals: motion triples and labelled clips, as `Samples`."""

from __future__ import annotations

import functools
import itertools
import json
import lzma
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .samples import Sample, Samples, cut_out

CLIPS = ("source", "driving", "truth")
# Species whose skeletons no other species shares: never trained on, so that they tell what the
# detector makes of an animal that it has not seen.
HELD_OUT = ("goat", "ibex", "hippo", "rabbit")
# Species that only confidence is learnt from: on those whose joints are learnt a detector is right
# nearly always, and would come to trust itself on all others as well.
CONFIDENCE = ("wildebeest", "boar", "peacock", "stegosaurus", "catfish")


@dataclass(frozen=True)
class Split:
    """Rendered species that are `kept_out` of training, and those that are only `judged`: of them
    nothing but confidence is learnt."""

    kept_out: tuple[str, ...]
    judged: tuple[str, ...]


# With `scored`, species nobody trained on tell how good a recipe is. Weights that are shipped learn
# from them, too: a good part of all there is with four legs.
SPLITS = {
    "scored": Split(HELD_OUT, CONFIDENCE),
    "shipped": Split((), ("boar", "peacock", "catfish")),
}
WHITE_TOLERANCE = 14
PARTS = 48  # files that all the samples are made into, by as many workers as there are

Clip = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]


def jobs(motion: Path, clips: Path | None) -> list[int | str]:
    """Triples by number and labelled clips by name."""
    return [*range(len(metas(motion))), *(labels(motion) if clips else ())]


def part_files(folder: Path, motion: Path, clips: Path | None) -> list[Path]:
    """The files that hold all the samples."""
    parts = min(PARTS, len(jobs(motion, clips)))
    return [folder / f"rendered-{part:02d}.npz" for part in range(parts)]


def make_part(path: Path, motion: Path, clips: Path | None, part: int) -> None:
    """Write one of `part_files`; clips that cannot be read are named and left out."""
    found: list[tuple[Sample, str]] = []
    for job in jobs(motion, clips)[part::PARTS]:
        try:
            found += cuts(motion, clips, job)
        except (OSError, ValueError) as error:
            print(f"{job} is left out: {error}", file=sys.stderr)
    samples, species = zip(*found, strict=True)
    Samples.of(samples, species).save(path)


def cuts(motion: Path, clips: Path | None, job: int | str) -> list[tuple[Sample, str]]:
    """The samples of a triple or a labelled clip, with their species."""
    made = triple(motion, job) if isinstance(job, int) else [labelled(motion, clips, job)]
    found = []
    for frames, masks, joints, visibility, species in made:
        for frame, mask, place, seen in zip(frames, masks, joints, visibility, strict=True):
            if sample := cut_out(frame, mask, place - 0.5, seen):
                found.append((sample, species))
    return found


@functools.cache
def metas(motion: Path) -> list[dict]:
    """What is known of every triple."""
    return [json.loads(line) for line in (motion / "train_pairs" / "index.jsonl").open()]


@functools.cache
def tracks(motion: Path) -> tuple[np.ndarray, np.ndarray]:
    """Joints `n 3 f j 2` (pixel centres at .5) and visibility `n 3 f j` of all triples."""
    known = np.load(motion / "train_pairs" / "joints.npz")
    return known["xy"], known["vis"]


@functools.cache
def labels(motion: Path) -> dict[str, dict]:
    """What is known of every labelled clip, by name."""
    return json.loads((motion / "train_joints" / "joints.json").read_text())


def triple(motion: Path, number: int) -> Iterator[Clip]:
    """Of every clip of a triple: frames, masks, joints (pixel centres at .5), visibility and
    species."""
    meta, (joints, visibility) = metas(motion)[number], tracks(motion)
    folder = motion / "train_pairs" / "triples" / meta["id"]
    kept = folder / "masks.bin.xz"
    masks = itertools.repeat(None)
    if kept.is_file():
        bits = np.frombuffer(lzma.decompress(kept.read_bytes()), np.uint8)
        masks = np.unpackbits(bits).reshape(3, 10, 256, 256).astype(bool)
    for i, (clip, mask) in enumerate(zip(CLIPS, masks, strict=False)):
        frames = read(folder / f"{clip}.mp4")
        mask = foregrounds(frames) if mask is None else mask
        species = meta["driving_species" if clip == "driving" else "source_species"]
        yield frames, mask, joints[number, i], visibility[number, i], species


def labelled(motion: Path, clips: Path, name: str) -> Clip:
    """The same of a clip for which joints are known."""
    meta = labels(motion)[name]
    with np.load(motion / "train_joints" / "joints.npz") as known:
        joints, visibility = known[f"{name}/xy"], known[f"{name}/vis"]
    frames = read(clips / meta["file"])
    return frames, foregrounds(frames), joints, visibility, meta["species"]


def read(path: Path) -> np.ndarray:
    """Frames uint8 `f h w 3`, read by OpenCV, which more machines have than PyAV."""
    one_thread = [cv2.CAP_PROP_N_THREADS, 1]  # many short clips are read by many processes
    video, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, one_thread), []
    while True:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame[..., ::-1])
    if not frames:
        raise ValueError(f"expected a video in {path}; no frame could be read: is it there?")
    return np.stack(frames)


def foregrounds(frames: np.ndarray) -> np.ndarray:
    """Foregrounds bool `f h w` of frames on white."""
    return np.stack([foreground(frame) for frame in frames])


def foreground(frame: np.ndarray) -> np.ndarray:
    """What cannot be reached from the border over white, bool `h w`."""
    height, width = frame.shape[:2]
    paper = (frame.min(-1) > 255 - WHITE_TOLERANCE).astype(np.uint8)
    padded = np.pad(paper, 1, constant_values=1)
    flooded = np.zeros((height + 4, width + 4), np.uint8)
    cv2.floodFill(padded, flooded, (0, 0), 2)
    mask = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
