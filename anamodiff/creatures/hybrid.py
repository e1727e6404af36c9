"""Bodies that no species has: parts of two species put together, and every length varied."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anamodiff.creatures.species import VERTEBRATES, Build, Limb

ON_TAIL = ("tuft_tail", "brush_tail", "bushy_tail", "curly_tail", "fan_tail")
ON_BODY = ("udder", "humps", "wool", "shell", "ridge", "bib", "panel")
ON_NECK = ("mane", "short_mane", "swan_neck")


def hybrid(seed: int, species: str, others: Sequence[str]) -> Build:
    """A body of `species` with head, tail, neck and limbs partly those of one of `others`.

    `others` lacking legs or having another number of them are not used. A species with arms or
    wings keeps its parts, and only their lengths vary.
    """
    draw = np.random.default_rng([seed, 3])
    first = VERTEBRATES[species]
    kin = [first]
    if first.front:
        kin += [VERTEBRATES[s] for s in others if s in VERTEBRATES and VERTEBRATES[s].front]
    second = kin[draw.integers(len(kin))]
    head, tail, neck, body = (_one_of(draw, first, second) for _ in range(4))
    features = [f for f in head.features if f not in ON_TAIL + ON_BODY + ON_NECK]
    features += [f for f in body.features if f in ON_BODY]
    features += [f for f in neck.features if f in ON_NECK]
    features += [f for f in tail.features if f in ON_TAIL]
    share = float(draw.random())
    return replace(
        first,
        hind=_limb(draw, first.hind, second.hind, share),
        front=first.front and _limb(draw, first.front, second.front, share),
        girth=_girth(draw, body),
        neck=_varied(draw, neck.neck, (0.3, 0.12, 0.2, 0.2), angle=1, degrees=14.0),
        neck_at=body.neck_at,
        head=(head.head[0], head.head[1] * _factor(draw, 0.15), head.head[2] + draw.normal(0, 9)),
        ear=head.ear,
        tail=_varied(draw, tail.tail, (0.3, 0.0, 0.2, 0.2, 0.3), angle=1, degrees=20.0),
        tail_at=body.tail_at,
        features=tuple(features),
        bow=neck.bow,
        lean=first.lean,
        bend=body.bend * _factor(draw, 0.1),
        stride=first.stride * _factor(draw, 0.08),
    )


def _one_of(draw: np.random.Generator, first: Build, second: Build) -> Build:
    return first if draw.random() < 0.5 else second


def _factor(draw: np.random.Generator, spread: float) -> float:
    """A factor about 1, as likely halved as doubled."""
    return float(np.exp(np.clip(draw.normal(0, spread), -2 * spread, 2 * spread)))


def _varied(
    draw: np.random.Generator,
    values: tuple[float, ...],
    spreads: tuple[float, ...],
    *,
    angle: int,
    degrees: float,
) -> tuple[float, ...]:
    """Lengths times factors; the entry `angle` is turned by some degrees instead."""
    varied = [float(v * _factor(draw, s)) for v, s in zip(values, spreads, strict=True)]
    varied[angle] = float(values[angle] + np.clip(draw.normal(0, degrees), -30, 30))
    return tuple(varied)


def _girth(draw: np.random.Generator, body: Build) -> tuple[tuple[float, float, float], ...]:
    """The trunk's profile, higher or deeper, and more so at one end."""
    up, down, slant = _factor(draw, 0.18), _factor(draw, 0.18), draw.normal(0, 0.12)
    return tuple(
        (s, high * up * (1 + slant * (s - 0.5)), deep * down * (1 + slant * (s - 0.5)))
        for s, high, deep in body.girth
    )


def _limb(draw: np.random.Generator, first: Limb, second: Limb, share: float) -> Limb:
    """A leg between two legs, its length and thickness varied."""
    mixed = [
        np.array(a) * (1 - share) + np.array(b) * share
        for a, b in ((first.bones, second.bones), (first.radii, second.radii))
    ]
    feet = first if draw.random() < 0.5 else second
    length = (first.length * (1 - share) + second.length * share) * _factor(draw, 0.15)
    thick = _factor(draw, 0.2)
    return replace(
        feet,
        length=float(length),
        bones=tuple(float(b * _factor(draw, 0.05)) for b in mixed[0]),
        radii=tuple(float(r * thick) for r in mixed[1]),
        size=feet.size * thick,
        shift=first.shift,
    )
