"""Plain grounds that are not quite even: a vignette, a lamp's falloff, a gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.video.foreground import (
    PLAIN_DISTANCE,
    border_of,
    is_even,
    lab_to_rgb,
    rgb_to_lab,
    without_grain,
)

Array = NDArray[np.float64]

MOST_PIXELS = 20_000
ROUNDS = 8
FAR = 2.0  # Lab: what is further off the surface counts little, as a character's parts do
# Lab: how far a ground's colours have to go from its border's median, and how much nearer to them
# than to that most of the border has to be.
UNEVEN, NEARER, MOST = 0.8, 0.15, 0.7
# Degrees of the polynomial: of the border alone, and of all that fits it.
BORDER_DEGREE, DEGREE = 2, 4


def smooth_ground(frames: Tensor) -> Tensor | None:
    """The colours ``3 h w`` in [-1, 1] of a ground that changes smoothly over the picture.

    None where it is one colour, or textured. In Lab, a polynomial is fitted to the border, and then
    to all pixels that agree with it, so that it holds behind the character, too.

    Args:
        frames: ``f 3 h w`` in [-1, 1].
    """
    lab = without_grain(rgb_to_lab(frames)).astype(np.float64)
    height, width = lab.shape[1:3]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    places = np.broadcast_to(np.stack([x, y], -1), (*lab.shape[:3], 2))
    colours, where = border_of(lab), border_of(places)
    known = _fitted(where, colours, BORDER_DEGREE)
    if not is_even(np.linalg.norm(colours - _terms(where, BORDER_DEGREE) @ known, axis=-1)):
        return None
    whole = places[0].reshape(-1, 2)
    surface = _terms(whole, BORDER_DEGREE) @ known
    for _ in range(2):
        near = np.linalg.norm(lab.reshape(len(lab), -1, 3) - surface, axis=-1) < PLAIN_DISTANCE
        number, place = np.nonzero(near)
        agreeing = lab.reshape(len(lab), -1, 3)[number, place]
        surface = _terms(whole, DEGREE) @ _fitted(whole[place], agreeing, DEGREE)
    off = np.linalg.norm(colours - _along(surface, lab), axis=-1)
    colour = np.median(colours, axis=0)
    before = np.quantile(np.linalg.norm(colours - colour, axis=-1), MOST)
    changes = np.linalg.norm(surface - colour, axis=-1).max() >= UNEVEN
    if not changes or not is_even(off) or before < np.quantile(off, MOST) + NEARER:
        return None
    picture = surface.reshape(1, height, width, 3).astype(np.float32)
    return lab_to_rgb(picture)[0].to(frames)


def _along(surface: Array, lab: Array) -> Array:
    """The border's pixels of one surface ``n 3``, once for each frame."""
    return border_of(np.broadcast_to(surface.reshape(1, *lab.shape[1:]), lab.shape))


def _fitted(places: Array, colours: Array, degree: int) -> Array:
    """Coefficients ``t 3``, by least squares in which what is far off counts little."""
    step = max(1, len(places) // MOST_PIXELS)
    terms, colours = _terms(places[::step], degree), colours[::step]
    weights = np.ones(len(terms))
    known = np.zeros((terms.shape[1], 3))
    for number in range(ROUNDS):
        weighted = terms * weights[:, None]
        ridge = 1e-6 * len(terms) * np.eye(terms.shape[1])
        known = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ colours)
        distance = np.linalg.norm(colours - terms @ known, axis=-1)
        # Wide at first, so that a first guess that is bent by a character comes right.
        scale = max(FAR, float(np.median(distance)) * 2 if number < ROUNDS // 2 else 0.0)
        weights = 1 / (1 + (distance / scale) ** 2) ** 2
    return known


def _terms(places: Array, degree: int) -> Array:
    """Monomials ``n t`` of places ``n 2``."""
    x, y = places.T
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([x**i * y**j for i, j in powers], -1)
