"""Drawn animals with known joints, made as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anamodiff.creatures import SPECIES, Character, draw, hybrid, motions_of

from .samples import Sample, cut_out

HELD_OUT = ("giraffe", "rhino", "camel", "zebra", "dog", "donkey")
BONELESS = tuple(s for s in SPECIES if s in ("butterfly", "flag") or s.startswith("letter"))
TRAINED = tuple(s for s in SPECIES if s not in HELD_OUT + BONELESS)
LESS_OFTEN = ("man", "robot", "penguin", "snake", "fish", "bird", "ostrich")
HYBRIDS, BONELESS_SHARE, SIZE = 0.7, 0.05, 256
WHITE = (255, 255, 255)


def random_character(draw_lot: np.random.Generator, species: Sequence[str] = TRAINED) -> Character:
    """A character of any look, on white; most have bodies and proportions of no species."""
    weights = np.array([0.4 if s in LESS_OFTEN else 1.0 for s in species])
    kind = str(draw_lot.choice(species, p=weights / weights.sum()))
    if draw_lot.random() < BONELESS_SHARE:
        kind = str(draw_lot.choice(BONELESS))
    seed = int(draw_lot.integers(2**31))
    character = Character.sample(seed, species=kind, background=WHITE)
    stretch = np.exp(np.clip(draw_lot.normal(0, 0.16, 5), -0.35, 0.35))
    stretch[2] = np.clip(stretch[2], 0.75, 1.3)  # girth
    character = replace(character, proportions=tuple(float(v) for v in stretch))
    spined = kind not in BONELESS and kind not in ("fish", "snake")
    if spined and draw_lot.random() < HYBRIDS:
        character = replace(character, build=hybrid(seed, kind, species))
    return character


def draw_samples(character: Character, draw_lot: np.random.Generator, count: int) -> list[Sample]:
    """`count` moments of one of the character's motions."""
    motions = motions_of(character.species)
    motion = motions[draw_lot.integers(len(motions))]
    drawn = draw(character, motion, frames=count, size=SIZE, phase=float(draw_lot.random()))
    pixels = (drawn.skeleton + 1) / 2 * (SIZE - 1)
    each = zip(drawn.frames, drawn.masks, pixels, drawn.visibility, strict=True)
    return [sample for sample in (cut_out(*one) for one in each) if sample is not None]


def held_out_samples(count: int, seed: int = 99) -> list[Sample]:
    """Always the same frames of the species kept out, with their own bodies."""
    draw_lot = np.random.default_rng(seed)
    species = [s for s in HELD_OUT if s in SPECIES]
    samples: list[Sample] = []
    while len(samples) < count:
        kind = species[len(samples) % len(species)]
        character = Character.sample(int(draw_lot.integers(2**31)), species=kind, background=WHITE)
        samples += draw_samples(character, draw_lot, 1)
    return samples[:count]
