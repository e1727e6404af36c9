"""Joint tracks without pictures: drawn characters in all motions, and rendered animals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anamodiff.creatures import MOTIONS, SPECIES, Character
from anamodiff.creatures.character import figure_of, legs_of
from anamodiff.creatures.motion import POSES
from anamodiff.creatures.paint import fit_of, place
from anamodiff.creatures.pose import join
from anamodiff.creatures.skeleton import skeleton_of

from .drawn import BONELESS, HELD_OUT, TRAINED, random_character
from .rendered import HELD_OUT as RENDERED_HELD_OUT

PHASES = 40
LEGLESS = ("fish", "snake")
PACE = 64.0  # pixels of 128 in a unit of [-1, 1]


@dataclass(frozen=True)
class Bank:
    """Drawn characters: `tracks` float `n m p j 2` in [-1, 1] holds `n` characters in `m`
    motions at `p` phases of a cycle (NaN: absent); `legs` `n` is 0, 2 or 4."""

    tracks: np.ndarray
    legs: np.ndarray

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Bank:
        """The characters of all files."""
        known = [np.load(path) for path in paths]
        return cls(*(np.concatenate([one[name] for one in known]) for name in ("tracks", "legs")))

    def save(self, path: Path) -> None:
        """Write one file in half precision, whole or not at all."""
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, tracks=self.tracks.astype(np.float16), legs=self.legs)
        os.replace(temporary, path)


def make_bank(count: int, seed: int | Sequence[int], species: Sequence[str] | None = None) -> Bank:
    """`count` characters, of bodies of all kinds; those of given species have their own bodies."""
    lot = np.random.default_rng([*np.atleast_1d(seed), 7])
    characters = []
    while len(characters) < count:
        if species is None:
            character = random_character(lot, TRAINED)
        else:
            kind = species[len(characters) % len(species)]
            character = Character.sample(int(lot.integers(2**31)), species=kind)
        if character.species not in BONELESS:
            characters.append(character)
    tracks = np.stack([_tracks(character) for character in characters]).astype(np.float32)
    legs = [0 if c.species in LEGLESS else legs_of(c.species) for c in characters]
    return Bank(tracks, np.array(legs))


def _tracks(character: Character) -> np.ndarray:
    """All motions at all phases, `m p j 2`."""
    phases, legs = np.arange(PHASES) / PHASES, legs_of(character.species)
    poses = join([POSES[motion](phases, legs) for motion in MOTIONS])
    skeleton = skeleton_of(figure_of(character, poses), len(MOTIONS) * PHASES)
    placed = place(skeleton, character, fit_of(character))
    return placed.reshape(len(MOTIONS), PHASES, *placed.shape[1:])


def cached(path: Path, make: Callable[[], Bank]) -> Bank:
    """A bank from a file, made first if there is none."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        make().save(path)
    return Bank.load([path])


def held_out_bank(count: int) -> Bank:
    """Characters of the species that are kept out."""
    return make_bank(count, 99, [s for s in HELD_OUT if s in SPECIES])


@dataclass(frozen=True)
class Triples:
    """Rendered triples: `tracks` float32 `n 3 f j 2` in [-1, 1] (source, driving, truth), whether
    both have one skeleton, and whether a species that is kept out takes part."""

    tracks: np.ndarray
    same: np.ndarray
    held_out: np.ndarray


def rendered_triples(motion: Path, kept_out: Sequence[str] = RENDERED_HELD_OUT) -> Triples:
    """The joints of all motion triples, of which those with species `kept_out` are held out."""
    root = motion / "train_pairs"
    tracks = to_unit(np.load(root / "joints.npz")["xy"])
    metas = [json.loads(line) for line in (root / "index.jsonl").read_text().splitlines()]
    species = [(meta["source_species"], meta["driving_species"]) for meta in metas]
    held = [any(name in kept_out for name in pair) for pair in species]
    return Triples(tracks, np.array([meta["same_skeleton"] for meta in metas]), np.array(held))


def rendered_tracks(motion: Path, kept_out: Sequence[str] = RENDERED_HELD_OUT) -> list[np.ndarray]:
    """Tracks `f j 2` of the labelled clips but for species `kept_out`."""
    known = np.load(motion / "train_joints" / "joints.npz")
    metas = json.loads((motion / "train_joints" / "joints.json").read_text())
    names = [n for n, meta in metas.items() if meta["species"] not in kept_out]
    return [to_unit(known[f"{name}/xy"]) for name in names]


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """From pixels of 256 (centres at .5) to [-1, 1]."""
    return ((pixels - 0.5) / 255 * 2 - 1).astype(np.float32)
