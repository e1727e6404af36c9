"""Rendered animals: motion triples and labelled clips, decoded once into a `Store`."""

from __future__ import annotations

import itertools
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from .samples import Store, StoreWriter, cut_out

CLIPS = ("source", "driving", "truth")
# Species whose skeletons no other species shares: never trained on, so that they tell what the
# detector makes of an animal that it has not seen.
HELD_OUT = ("goat", "ibex", "hippo", "rabbit")
WHITE_TOLERANCE = 14


def rendered_store(folder: Path, motion: Path, clips: Path) -> Store:
    """The samples of `motion` (triples) and `clips` (labelled clips), cached in `folder`."""
    if not (folder / "index.npz").is_file():
        writer = StoreWriter(folder)
        for clip in itertools.chain(triples(motion), labelled(motion, clips)):
            frames, masks, joints, visibility, species = clip
            for frame, mask, place, seen in zip(frames, masks, joints, visibility, strict=True):
                sample = cut_out(frame, mask, place - 0.5, seen)
                writer.add(sample, species, species in HELD_OUT)
        writer.close()
    return Store(folder)


Clip = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]


def triples(motion: Path) -> Iterator[Clip]:
    """Of every clip of every triple: frames, masks, joints (pixel centres at .5), visibility and
    species."""
    root = motion / "train_pairs"
    known = np.load(root / "joints.npz")
    metas = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    for meta, joints, visibility in zip(metas, known["xy"], known["vis"], strict=True):
        folder = root / "triples" / meta["id"]
        bits = np.frombuffer(lzma.decompress((folder / "masks.bin.xz").read_bytes()), np.uint8)
        masks = np.unpackbits(bits).reshape(3, 10, 256, 256).astype(bool)
        for i, clip in enumerate(CLIPS):
            species = meta["driving_species" if clip == "driving" else "source_species"]
            yield read(folder / f"{clip}.mp4"), masks[i], joints[i], visibility[i], species


def labelled(motion: Path, clips: Path) -> Iterator[Clip]:
    """The same of the clips for which joints are known."""
    known = np.load(motion / "train_joints" / "joints.npz")
    metas = json.loads((motion / "train_joints" / "joints.json").read_text())
    for name, meta in metas.items():
        frames = read(clips / meta["file"])
        masks = np.stack([foreground(frame) for frame in frames])
        yield frames, masks, known[f"{name}/xy"], known[f"{name}/vis"], meta["species"]


def read(path: Path) -> np.ndarray:
    """Frames uint8 `f h w 3`."""
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def foreground(frame: np.ndarray) -> np.ndarray:
    """What cannot be reached from the border over white, bool `h w`."""
    height, width = frame.shape[:2]
    paper = (frame.min(-1) > 255 - WHITE_TOLERANCE).astype(np.uint8)
    padded = np.pad(paper, 1, constant_values=1)
    flooded = np.zeros((height + 4, width + 4), np.uint8)
    cv2.floodFill(padded, flooded, (0, 0), 2)
    mask = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
