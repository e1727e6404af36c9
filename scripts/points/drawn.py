"""Drawn triples for the retargeting of key points: a source, a mover, and the source moved so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np

from anamodiff.creatures import Character, draw
from anamodiff.creatures.character import motions_of
from anamodiff.creatures.letters import CENTRE, FRONT, HIND, LETTERS, Leg
from anamodiff.creatures.motion import COMMON
from anamodiff.creatures.species import VERTEBRATES

FRAMES, SIZE = 10, 128
WHITE = (255, 255, 255)
LETTER = "letter m"  # under which every glyph is drawn
#: What is never drawn here, to measure on.
HELD_OUT = ("giraffe", "rhino", "camel", "dog")
HELD_OUT_LETTERS = ("a", "x")
_ANIMALS = tuple(species for species in VERTEBRATES if species not in HELD_OUT)
#: Species of the source, what moves it, how often.
FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], float]] = {
    "letters": ((LETTER,), _ANIMALS, 0.40),
    "letters by letters": ((LETTER,), (LETTER,), 0.06),
    "flags": (("flag",), ("flag",), 0.12),
    "butterflies": (("butterfly",), ("butterfly", "bird", "butterfly"), 0.10),
    "fish": (("fish", "snake"), ("fish", "snake", "crocodile"), 0.10),
    "animals": (_ANIMALS, _ANIMALS, 0.22),
}
INVENTED = 0.6  # share of glyphs that are no letter
_STRETCH, _MOST = 0.16, 0.35  # of proportions: standard deviation and limit of their logarithms

Glyph = tuple[tuple[str, ...], tuple[Leg, ...]]


@dataclass(frozen=True)
class Triple:
    """Frames ``f h w 3`` (uint8, on white) of source, mover and truth, and what they are."""

    source: np.ndarray
    driving: np.ndarray
    truth: np.ndarray
    family: str


def random_triple(lot: np.random.Generator, held_out: bool = False) -> Triple:
    """A triple of any of the families, both characters facing one way.

    With `held_out` a letter by an animal, both of those that are never drawn otherwise, or an
    animal by one.
    """
    names = list(FAMILIES)
    family = names[lot.choice(len(names), p=[FAMILIES[n][2] for n in names])]
    if held_out:
        family = str(lot.choice(["letters", "letters", "animals"]))
    sources, movers, _ = FAMILIES[family]
    movers = HELD_OUT if held_out else movers
    facing = "right" if lot.random() < 0.5 else "left"
    source = random_character(lot, str(lot.choice(sources)), facing)
    mover = random_character(lot, str(lot.choice(movers)), facing)
    common = [m for m in motions_of(source.species) if m in motions_of(mover.species)]
    if family == "flags" and lot.random() < 0.7:
        common = ["wave"]
    motion = str(lot.choice(common))
    phase = float(lot.random())
    own = "idle" if lot.random() < 0.6 else str(lot.choice(COMMON))
    glyphs = [random_glyph(lot, held_out), random_glyph(lot)]

    def clip(character: Character, motion: str, phase: float, glyph: Glyph) -> np.ndarray:
        with patch.dict(LETTERS, {LETTER[-1]: glyph}):
            return draw(character, motion, frames=FRAMES, size=SIZE, phase=phase).frames

    return Triple(
        clip(source, own, float(lot.random()), glyphs[0]), clip(mover, motion, phase, glyphs[1]),
        clip(source, motion, phase, glyphs[0]), family,
    )  # fmt: skip


def random_character(lot: np.random.Generator, species: str, facing: str) -> Character:
    """A character of a species with proportions of its own."""
    seed = int(lot.integers(2**31))
    made = Character.sample(seed, species=species, facing=facing, background=WHITE)
    stretch = np.exp(np.clip(lot.normal(0, _STRETCH, 5), -_MOST, _MOST))
    return replace(made, proportions=tuple(float(v) for v in stretch))


def random_glyph(lot: np.random.Generator, held_out: bool = False) -> Glyph:
    """A letter that is (or is not) kept out, or strokes on one to four legs that are none."""
    if held_out:
        return LETTERS[str(lot.choice(HELD_OUT_LETTERS))]
    if lot.random() >= INVENTED:
        known = [name for name in LETTERS if name not in HELD_OUT_LETTERS]
        return LETTERS[str(lot.choice(known))]
    count = int(lot.choice([1, 2, 3, 4], p=[0.1, 0.5, 0.3, 0.1]))
    gaps = lot.uniform(0.4, 0.9, max(count - 1, 0))
    roots = np.concatenate([[0.0], np.cumsum(gaps)])
    roots = roots - roots.mean() + lot.normal(0, 0.05)
    feet = roots + lot.normal(0, 0.18, count)
    order = {1: (HIND,), 2: (HIND, FRONT), 3: (HIND, CENTRE, FRONT)}
    indices = order.get(count, (HIND, CENTRE, CENTRE, FRONT))
    legs = tuple(
        (float(r), 0.88, float(f), index) for r, f, index in zip(roots, feet, indices, strict=True)
    )
    return (*_tops(lot, roots),), legs


def _tops(lot: np.random.Generator, roots: np.ndarray) -> list[str]:
    """Rigid strokes that join the legs: arches, a bar, a peak or a star, and tall stems."""
    high = lot.uniform(1.2, 1.5)
    style = str(lot.choice(["arches", "bar", "peak", "star"]))
    strokes = []
    if style == "arches" and len(roots) > 1:
        for left, right in zip(roots[:-1], roots[1:], strict=True):
            middle, quarter = (left + right) / 2, (right - left) / 4
            strokes.append(_stroke([
                (left, 0.9), (middle - quarter, high - 0.1), (middle, high),
                (middle + quarter, high - 0.1), (right, 0.9),
            ]))  # fmt: skip
    elif style == "peak":
        top = (float(roots.mean() + lot.normal(0, 0.1)), high + 0.4)
        strokes += [_stroke([(r, 0.85), ((r + top[0]) / 2, high), top]) for r in roots]
    elif style == "star":
        for r in roots:
            end = (-r + lot.normal(0, 0.15), high + 0.4)
            strokes.append(_stroke([(r, 0.85), ((r + end[0]) / 2, (0.85 + end[1]) / 2), end]))
        strokes.append(_stroke([(roots[0], 0.88), (roots[-1] + 0.01, 0.88)]))
    else:
        over = lot.uniform(0, 0.3, 2)
        strokes.append(_stroke([(roots[0] - over[0], high), (roots[-1] + over[1] + 0.02, high)]))
        strokes += [_stroke([(r, 0.85), (r, high)]) for r in roots]
    for r in roots:
        if len(strokes) < 2 or lot.random() < 0.25:  # a letter has two strokes
            strokes.append(_stroke([(r, 0.85), (r, lot.uniform(1.5, 2.0))]))
    return strokes


def _stroke(places: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.3f},{y:.3f}" for x, y in places)
