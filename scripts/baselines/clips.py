"""Frames of many clips in one file, and random pairs of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from filelock import FileLock
from joints.drawn import random_character
from torch import Tensor

from anamodiff.creatures import draw, motions_of
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.training.augment import Jitter
from anamodiff.lofnet.training.dataset import Pairs
from anamodiff.resources import replacing
from anamodiff.video.clip import read_clip
from anamodiff.video.find import find_clips

#: Clips of a pair that nothing may be trained on: the answer, and masks.
LEFT_OUT = ("truth", "source_mask", "truth_mask")
#: Folders of pairs to measure with.
KEPT_APART = ("bench",)
_NAMED = 3  # of the files left out
_FRAMES, _INDEX = "frames.bin", "clips.json"


@dataclass(frozen=True)
class Wanted:
    """What a bank holds.

    Attributes:
        clips: folders of clips.
        size: side of the frames in pixels.
        drawn: clips of drawn characters beside those, of the species and looks that the joint
            detector and the limb flow are trained on.
    """

    clips: tuple[Path, ...]
    size: int
    drawn: int = 0

    def record(self) -> dict[str, object]:
        """As it is written beside the frames."""
        clips = [str(path.resolve()) for path in self.clips]
        return {"clips": clips, "size": self.size, "drawn": self.drawn}


class Bank:
    """Frames uint8 ``n s s 3``, clip after clip; on the CPU they stay on the disk until used.

    Args:
        folder: what `fill` wrote.
        device: where all frames lie.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.names: list[str] = index["names"]
        self.lengths = np.array(index["lengths"])
        self.starts = self.lengths.cumsum() - self.lengths
        size = index["wanted"]["size"]
        shape = (int(self.lengths.sum()), size, size, 3)
        # Copy on write: torch takes no arrays that are read-only.
        frames = np.memmap(folder / _FRAMES, np.uint8, "c", shape=shape)
        self.frames = torch.from_numpy(frames).to(device)

    @classmethod
    def open(
        cls, folder: Path, wanted: Wanted, say: Callable[[str], None], *,
        device: torch.device | str = "cpu", workers: int = 0,
    ) -> Bank:  # fmt: skip
        """The bank in `folder`, filled by `workers` processes where it is not there yet.

        Of several runs that ask for one bank, one fills it and the others wait.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / _INDEX
        with FileLock(folder / ".lock"):
            if not file.is_file():
                fill(folder, wanted, say, workers)
        made = json.loads(file.read_text(encoding="utf-8"))["wanted"]
        if made != wanted.record():
            raise AnaMoDiffError(
                f"expected frames of {wanted.record()} in {folder}, got {made}: name another with "
                "--bank"
            )
        return cls(folder, device)

    def held_out(self, share: float = 0.03) -> np.ndarray:
        """Which clips are kept out of training, (clips,) of bool, by hashes of their names."""
        order = [hashlib.sha256(name.encode()).digest()[0] for name in self.names]
        chosen = np.array(order) < 256 * share
        some = chosen.any() and not chosen.all()
        return chosen if some else np.arange(len(order)) == 0

    def pairs(
        self, chosen: np.ndarray, count: int, lot: np.random.Generator, flip: bool = True
    ) -> Tensor:
        """Source, then driving frames, ``2*count 3 s s`` in [0, 1], two of one clip each.

        Args:
            chosen: which clips, (clips,) of bool.
            flip: mirror half of the pairs.
        """
        clips = lot.choice(np.flatnonzero(chosen), count)
        lengths = self.lengths[clips]
        places = self.starts[clips] + np.floor(lot.random((2, count)) * lengths).astype(int)
        rows = self.frames[sent(torch.from_numpy(places), self.frames.device).flatten()]
        rows = rows.permute(0, 3, 1, 2).contiguous().float() / 255
        if not flip:
            return rows
        mirrored = torch.from_numpy(np.tile(lot.random(count) < 0.5, 2))
        return torch.where(sent(mirrored, rows.device)[:, None, None, None], rows.flip(-1), rows)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor on a device, which is not waited for."""
    return tensor.to(device, non_blocking=True)


def fill(folder: Path, wanted: Wanted, say: Callable[[str], None], workers: int = 0) -> None:
    """Decode folders of clips, and draw; what cannot be read is named and left out."""
    files = [path for place in wanted.clips for path in find_clips(place) if _is_wanted(path)]
    shown = ", ".join(map(str, wanted.clips))
    if not files:
        raise AnaMoDiffError(f"expected clips in {shown}, got none")
    sources: list[Path | int] = [*files, *range(wanted.drawn)]
    names, lengths, left_out = [], [], []
    with (
        replacing(folder / _FRAMES) as unfinished,
        unfinished.open("wb") as out,
        _mapped(partial(_frames, size=wanted.size), sources, workers) as made,
    ):
        for source, frames in zip(sources, made, strict=True):
            if isinstance(frames, str):
                left_out.append(frames)
                continue
            out.write(frames.tobytes())
            names.append(f"drawn {source}" if isinstance(source, int) else str(source))
            lengths.append(len(frames))
    if len(names) - wanted.drawn < 2:  # one is kept out of training
        (folder / _FRAMES).unlink()
        raise AnaMoDiffError(
            f"expected at least two clips of two frames or more in {shown}, got "
            f"{len(names) - wanted.drawn} among {len(files)} files: name folders with more"
        )
    for reason in left_out[:_NAMED]:
        say(f"left out: {reason}")
    if more := left_out[_NAMED:]:
        say(f"and {len(more)} more files that are no clips of two frames or more")
    total = sum(lengths)
    index = {"wanted": wanted.record(), "names": names, "lengths": lengths}
    with replacing(folder / _INDEX) as unfinished:
        unfinished.write_text(json.dumps(index), encoding="utf-8")
    say(f"{len(names)} clips, {total} frames of {wanted.size} pixels in {folder}")


@contextmanager
def _mapped(
    function: Callable[[Path | int], np.ndarray | str], sources: Sequence[Path | int], workers: int
) -> Iterator[Iterator[np.ndarray | str]]:
    """What a function makes of each source, in their order."""
    if workers < 2:
        yield map(function, sources)
        return
    # Forked copies of a process that has threads may wait for these for ever.
    with multiprocessing.get_context("spawn").Pool(workers, _one_thread) as pool:
        yield pool.imap(function, sources, chunksize=8)


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _frames(source: Path | int, size: int) -> np.ndarray | str:
    """Frames uint8 ``f s s 3`` of a file or of a drawn character; why there are none."""
    if isinstance(source, int):
        lot = np.random.default_rng([source, 23])
        character = random_character(lot)
        motion = str(lot.choice(motions_of(character.species)))
        return draw(character, motion, frames=10, size=size, phase=float(lot.random())).frames
    try:
        frames = read_clip(source, frames=None, size=size, minimum=2).frames
    except AnaMoDiffError as error:
        return str(error)
    return (frames.permute(0, 2, 3, 1) * 127.5 + 127.5).round().byte().numpy()


def _is_wanted(path: Path) -> bool:
    if path.name.endswith(".npz.xz"):  # of motion triples: dense correspondence
        return False
    return path.stem not in LEFT_OUT and not set(KEPT_APART) & set(path.parts)


def jittered(frames: Tensor, colour: float, size: float) -> Tensor:
    """Sources, then driving frames, in [0, 1], with other colours and sizes, alike in a pair."""
    jitter = Jitter.random(len(frames) // 2, colour=colour, size=size)
    parts = (jitter.colours, jitter.zooms)
    jitter = Jitter(*(None if part is None else sent(part, frames.device) for part in parts))
    moved = jitter(Pairs(2 * frames - 1, frames[:, :1])).frames
    return (moved + 1) / 2
