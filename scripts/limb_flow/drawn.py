"""Pairs of drawn characters: the outlines of their parts, point by point, tell the flow."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from joints.drawn import HELD_OUT, random_character

from anamodiff.creatures import SPECIES, Character, motions_of
from anamodiff.creatures.character import figure_of, legs_of
from anamodiff.creatures.motion import POSES
from anamodiff.creatures.paint import _strokes, fit_of, place
from anamodiff.creatures.pose import join
from anamodiff.creatures.skeleton import skeleton_of

from .pairs import CANVAS, GRID, Pairs, cell_pixels, number_colour, numbers_in, some_pairs, to_unit

SAME = 16  # levels within which two colours are one
FIXED_POINT = 16.0  # OpenCV's, of a pixel


def drawn_pairs(
    lot: np.random.Generator, frames: int = 6, count: int = 12, character: Character | None = None
) -> Pairs | None:
    """`count` pairs among `frames` moments of a character's motions."""
    character = character or random_character(lot)
    legs, motions = legs_of(character.species), motions_of(character.species)
    poses = []
    for _ in range(frames):
        motion = motions[lot.integers(len(motions))]
        poses.append(POSES[motion](np.array([lot.random()]), legs))
    figure, fit = figure_of(character, join(poses)), fit_of(character)
    strokes = _strokes(figure, character, fit, CANVAS)
    skeleton = place(skeleton_of(figure, frames), character, fit).astype(np.float32)
    if np.isnan(skeleton).all():
        return None
    outlines = [points for points, _ in strokes]
    colours = np.array([colour[:3] for _, colour in strokes], np.uint8)
    maps = [stroke_map([o[f] for o in outlines]) for f in range(frames)]
    pictures = [picture_of(m, colours) for m in maps]
    return some_pairs(pictures, skeleton, partial(true_flow, outlines, colours, maps), lot, count)


def stroke_map(outlines: list[np.ndarray]) -> np.ndarray:
    """Which stroke (+ 1) was painted last over each pixel, int32 ``256 256``."""
    canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    for i, outline in enumerate(outlines):
        cv2.fillPoly(canvas, [outline], number_colour(i + 1), cv2.LINE_8, 4)
    return numbers_in(canvas)


def picture_of(strokes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A picture uint8 ``64 64 4`` with coverage, on white."""
    table = np.concatenate([np.full((1, 3), 255, np.uint8), colours])
    mask = (strokes > 0).astype(np.uint8) * 255
    whole = np.concatenate([table[strokes], mask[..., None]], -1)
    return cv2.resize(whole, (GRID, GRID), interpolation=cv2.INTER_AREA)


def true_flow(
    outlines: list[np.ndarray], colours: np.ndarray, maps: list[np.ndarray], source: int,
    target: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Flow ``64 64 2`` in [-1, 1] (NaN: no character) and what the source shows, bool."""
    x, y = cell_pixels()
    stroke = maps[target][y, x]
    flow = np.full((GRID, GRID, 2), np.nan, np.float32)
    seen = np.zeros((GRID, GRID), bool)
    for number in np.unique(stroke[stroke > 0]):
        rows, columns = np.nonzero(stroke == number)
        cells = np.stack([x[rows, columns], y[rows, columns]], -1).astype(float)
        before = outlines[number - 1][target] / FIXED_POINT
        after = outlines[number - 1][source] / FIXED_POINT
        moved = follow(cells, before, after)
        flow[rows, columns] = to_unit(moved)
        seen[rows, columns] = _shown(maps[source], colours, moved, colours[number - 1])
    return flow, seen


def follow(points: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where points ``m 2`` go when an outline's points ``n 2`` do: affine fits, nearer points of
    the outline weighing more (moving least squares)."""
    apart = points[:, None] - before[None]
    weight = 1 / ((apart**2).sum(-1) + 4.0)
    weight /= weight.sum(1, keepdims=True)
    middle, there = weight @ before, weight @ after
    p, q = before[None] - middle[:, None], after[None] - there[:, None]
    square = np.einsum("mn,mni,mnj->mij", weight, p, p)
    square += (0.02 * np.trace(square, axis1=1, axis2=2)[:, None, None] + 0.05) * np.eye(2)
    cross = np.einsum("mn,mni,mnj->mij", weight, p, q)
    affine = np.linalg.solve(square, cross)
    return there + np.einsum("mi,mij->mj", points - middle, affine)


def _shown(
    strokes: np.ndarray, colours: np.ndarray, place: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    """Whether the source has about that colour at or beside the places ``n 2``."""
    table = np.concatenate([np.full((1, 3), 255, np.uint8), colours]).astype(int)
    shown = np.zeros(len(place), bool)
    for dx, dy in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
        at = np.clip(np.round(place).astype(int) + (dx, dy), 0, CANVAS - 1)
        found = strokes[at[:, 1], at[:, 0]]
        same = np.abs(table[found] - colour.astype(int)).max(1) <= SAME
        shown |= (found > 0) & same
    return shown


def held_out_pairs(seed: int, count: int) -> list[Pairs]:
    """Characters of the species that are kept out."""
    lot, species = np.random.default_rng([seed, 11]), [s for s in HELD_OUT if s in SPECIES]
    made = []
    for i in range(count):
        character = Character.sample(
            int(lot.integers(2**31)), species=species[i % len(species)],
            background=(255, 255, 255),
        )  # fmt: skip
        made.append(drawn_pairs(lot, frames=4, count=4, character=character))
    return [pairs for pairs in made if pairs is not None]
