"""Pairs of clips with a known answer, from a folder or drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from anamodiff import creatures
from anamodiff.errors import AnaMoDiffError
from anamodiff.letterbox import from_pixels
from anamodiff.video import read_clip

KINDS = ("source", "driving", "truth")
FIRST_SEED = 9000


@dataclass(frozen=True)
class Pair:
    """Frames f 3 h w in [-1, 1]: a character, another's motion, and the first in that motion."""

    name: str
    source: Tensor
    driving: Tensor
    truth: Tensor


def folder_pairs(folder: Path, size: int) -> Iterator[Pair]:
    """Pairs `NAME/source.*`, `NAME/driving.*` and `NAME/truth.*`, read at one size.

    Raises `AnaMoDiffError` where there are none.
    """
    homes = sorted(path.parent for path in folder.glob("*/driving.*"))
    if not homes:
        raise AnaMoDiffError(
            f"expected pairs (NAME/source.mp4, driving.mp4, truth.mp4) in {folder}, found none: "
            "name a folder laid out like that"
        )
    for home in homes:
        files = [next(iter(sorted(home.glob(f"{kind}.*"))), home / kind) for kind in KINDS]
        yield Pair(home.name, *(read_clip(file, size=size).frames for file in files))


def drawn_pairs(number: int, size: int) -> Iterator[Pair]:
    """So many pairs of drawn creatures of unlike species, always the same ones."""
    found = 0
    for seed in count(FIRST_SEED):
        if found == number:
            return
        pair = creatures.draw_pair(seed, size=size)
        species = [c.species for c in (pair.source_character, pair.driving_character)]
        if species[0] != species[1]:
            found += 1
            name = "-".join([*species, pair.motion]).replace(" ", "_")
            drawn = (pair.source, pair.driving, pair.truth)
            yield Pair(name, *(from_pixels(clip.frames) for clip in drawn))
