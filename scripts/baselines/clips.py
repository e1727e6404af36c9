"""Frames of many clips in one file, and random pairs of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.training.augment import Jitter
from anamodiff.lofnet.training.dataset import Pairs
from anamodiff.resources import replacing
from anamodiff.video.clip import read_clip
from anamodiff.video.find import find_clips

logger = logging.getLogger(__name__)

#: Clips of a pair that nothing may be trained on: the answer, and masks.
LEFT_OUT = ("truth", "source_mask", "truth_mask")
#: Folders of pairs to measure with.
KEPT_APART = ("bench",)
_NAMED = 3  # of the files left out
_FRAMES, _INDEX = "frames.npy", "clips.json"


class Bank:
    """Frames uint8 ``n s s 3`` in a memory-mapped file, clip after clip.

    Args:
        folder: what `fill` wrote.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.frames = np.load(folder / _FRAMES, mmap_mode="r")
        self.names: list[str] = index["names"]
        self.starts, self.lengths = np.array(index["starts"]), np.array(index["lengths"])

    @classmethod
    def open(
        cls, folder: Path, clips: Sequence[Path], size: int, say: Callable[[str], None]
    ) -> Bank:
        """The bank in `folder`, filled from folders of clips where it is not there yet."""
        wanted = {"clips": [str(path.resolve()) for path in clips], "size": size}
        file = folder / _INDEX
        if not file.is_file():
            fill(folder, clips, wanted, say)
        made = json.loads(file.read_text(encoding="utf-8"))["wanted"]
        if made != wanted:
            raise AnaMoDiffError(
                f"expected frames of {wanted} in {folder}, got {made}: name another with --bank"
            )
        return cls(folder)

    def held_out(self, share: float = 0.03) -> np.ndarray:
        """Which clips are kept out of training, (clips,) of bool, by hashes of their names."""
        order = [hashlib.sha256(name.encode()).digest()[0] for name in self.names]
        chosen = np.array(order) < 256 * share
        some = chosen.any() and not chosen.all()
        return chosen if some else np.arange(len(order)) == 0

    def pairs(
        self, chosen: np.ndarray, count: int, lot: np.random.Generator, flip: bool = True
    ) -> Tensor:
        """Source, then driving frames, ``2 count 3 s s`` in [0, 1], two of one clip each.

        Args:
            chosen: which clips, (clips,) of bool.
            flip: mirror half of the pairs.
        """
        clips = lot.choice(np.flatnonzero(chosen), count)
        lengths = self.lengths[clips]
        places = self.starts[clips] + np.floor(lot.random((2, count)) * lengths).astype(int)
        frames = np.array(self.frames[places])  # 2 count s s 3
        if flip:
            mirrored = lot.random(count) < 0.5
            frames[:, mirrored] = frames[:, mirrored, :, ::-1]
        rows = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2).contiguous()
        return rows.float() / 255


def fill(folder: Path, clips: Sequence[Path], wanted: dict, say: Callable[[str], None]) -> None:
    """Decode folders of clips; what cannot be read is named and left out."""
    files = [path for place in clips for path in find_clips(place) if _is_wanted(path)]
    if not files:
        raise AnaMoDiffError(f"expected clips in {', '.join(map(str, clips))}, got none")
    folder.mkdir(parents=True, exist_ok=True)
    names, lengths, left_out = [], [], []
    with replacing(folder / "frames.bin") as unfinished, unfinished.open("wb") as out:
        for file in files:
            try:
                frames = read_clip(file, frames=None, size=wanted["size"], minimum=2).frames
            except AnaMoDiffError as error:
                left_out.append(str(error))
                continue
            pixels = (frames.permute(0, 2, 3, 1) * 127.5 + 127.5).round().byte().numpy()
            out.write(pixels.tobytes())
            names.append(str(file))
            lengths.append(len(pixels))
    if len(names) < 2:  # one is kept out of training
        (folder / "frames.bin").unlink()
        raise AnaMoDiffError(
            f"expected at least two clips of two frames or more in {', '.join(map(str, clips))}, "
            f"got {len(names)} among {len(files)} files: name folders with more"
        )
    total = sum(lengths)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    for reason in left_out[:_NAMED]:
        say(f"left out: {reason}")
    if more := left_out[_NAMED:]:
        say(f"and {len(more)} more files that are no clips of two frames or more")
    _as_array(folder, total, wanted["size"])
    index = {"wanted": wanted, "names": names, "starts": starts, "lengths": lengths}
    with replacing(folder / _INDEX) as unfinished:
        unfinished.write_text(json.dumps(index), encoding="utf-8")
    say(f"{len(names)} clips, {total} frames of {wanted['size']} pixels in {folder}")


def _as_array(folder: Path, total: int, size: int) -> None:
    """Put numpy's head before the raw frames."""
    raw = np.memmap(folder / "frames.bin", np.uint8, "r", shape=(total, size, size, 3))
    with replacing(folder / _FRAMES) as unfinished:
        np.save(unfinished, raw)
    del raw
    (folder / "frames.bin").unlink()


def _is_wanted(path: Path) -> bool:
    return path.stem not in LEFT_OUT and not set(KEPT_APART) & set(path.parts)


def jittered(frames: Tensor, colour: float, size: float) -> Tensor:
    """Sources, then driving frames, in [0, 1], with other colours and sizes, alike in a pair."""
    jitter = Jitter.random(len(frames) // 2, colour=colour, size=size)
    moved = jitter(Pairs(2 * frames - 1, frames[:, :1])).frames
    return (moved + 1) / 2
