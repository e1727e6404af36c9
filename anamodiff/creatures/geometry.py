"""Smooth shapes that bend: splines, tubes and rigid outlines, for all frames of a clip at once.

Every array here has the frames in front: a point is `f 2`, an outline `f n 2`. Units are those of
the figure (one body length or so), x to the front, y up, angles in radians, anticlockwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

TUBE_SAMPLES = 12
CAP_ANGLES = np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1, None]
CAP_ACROSS, CAP_ALONG = np.sin(CAP_ANGLES), np.cos(CAP_ANGLES)
CAP_FIRST, CAP_LAST = CAP_ANGLES > 0, CAP_ANGLES <= 0


@lru_cache(maxsize=256)
def spline_weights(k: int, m: int, closed: bool = False) -> np.ndarray:
    """Weights `m k` that turn `k` control points into `m` points of a Catmull-Rom spline."""
    at = np.arange(m) * k / m if closed else np.linspace(0, k - 1, m)
    first = np.minimum(at.astype(int), k - 1 if closed else max(k - 2, 0))
    t = at - first
    basis = 0.5 * np.stack(
        [
            -(t**3) + 2 * t**2 - t,
            3 * t**3 - 5 * t**2 + 2,
            -3 * t**3 + 4 * t**2 + t,
            t**3 - t**2,
        ]
    )
    weights = np.zeros((m, k))
    for row in range(m):
        for step in range(4):
            _add_weight(weights[row], first[row] + step - 1, basis[step, row], closed)
    return weights


def _add_weight(row: np.ndarray, index: int, weight: float, closed: bool) -> None:
    """Add a control point's weight; points beyond an open end are mirrored through that end."""
    k = len(row)
    if closed or 0 <= index < k:
        row[index % k] += weight
    else:
        end, inner = (0, 1) if index < 0 else (k - 1, k - 2)
        row[end] += 2 * weight
        row[inner] -= weight


@lru_cache(maxsize=1024)
def points(text: str) -> np.ndarray:
    """Points `n 2` from "x,y x,y ...", the notation of SVG polygons."""
    array = np.array([[float(number) for number in pair.split(",")] for pair in text.split()])
    array.setflags(write=False)
    return array


@lru_cache(maxsize=512)
def smooth_outline(text: str, per_point: int = 3) -> np.ndarray:
    """A closed smooth outline `n 2` through a few points "x,y x,y ..."."""
    control = points(text)
    return spline_weights(len(control), per_point * len(control), closed=True) @ control


@lru_cache(maxsize=512)
def ellipse(x: float, y: float, rx: float, ry: float, n: int = 16) -> np.ndarray:
    """Outline `n 2` of an ellipse about (x, y)."""
    turn = np.arange(n) * 2 * np.pi / n
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=-1)


def polar(length: np.ndarray | float, angle: np.ndarray | float) -> np.ndarray:
    """Vectors `... 2` of the given length and direction."""
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1)


@dataclass(frozen=True)
class Frame:
    """A moving coordinate frame: origin `f 2` and angle `f`."""

    origin: np.ndarray
    angle: np.ndarray

    def place(self, points: np.ndarray | Sequence[float]) -> np.ndarray:
        """Local points `n 2`, `f n 2` or one point `2` in world coordinates (`f n 2` or `f 2`)."""
        local = np.asarray(points, dtype=float)
        single = local.ndim == 1
        local = local[None, None] if single else local if local.ndim == 3 else local[None]
        cos, sin = np.cos(self.angle)[:, None], np.sin(self.angle)[:, None]
        x, y = local[..., 0], local[..., 1]
        world = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1) + self.origin[:, None]
        return world[:, 0] if single else world

    def child(self, point: Sequence[float], turn: np.ndarray | float = 0.0) -> "Frame":
        """A frame fixed to this one at a local point, turned by `turn` radians."""
        return Frame(self.place(point), self.angle + turn)


@dataclass(frozen=True)
class Tube:
    """A bent, tapered body part: centre line `f m 2`, normals `f m 2`, half-widths `m`.

    The normals point to the left of the direction of travel: up, for a part drawn to the front.
    """

    path: np.ndarray
    normal: np.ndarray
    up: np.ndarray
    down: np.ndarray

    def outline(self) -> np.ndarray:
        """The closed outline `f n 2` with rounded ends."""
        left = self.path + self.normal * self.up[:, None]
        right = self.path - self.normal * self.down[:, None]
        return np.concatenate([left, self._cap(-1, 1), right[:, ::-1], self._cap(0, -1)], axis=1)

    def _cap(self, end: int, sign: int) -> np.ndarray:
        """The round end `f 5 2`: `end` 0 or -1 on the centre line, `sign` -1 or 1 along it."""
        normal = self.normal[:, end, None]
        along = normal[..., ::-1] * np.array([sign, -sign])
        up, down = self.up[end], self.down[end]
        side = (
            sign
            * CAP_ACROSS
            * (CAP_FIRST * (up if sign > 0 else down) + CAP_LAST * (down if sign > 0 else up))
        )
        return self.path[:, end, None] + normal * side + along * (CAP_ALONG * (0.5 * (up + down)))

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """World points `f n 2` at `u` in [0, 1] along and `v` in [-1, 1] across (1 is up)."""
        u, v = np.broadcast_arrays(np.clip(u, 0, 1), v)
        place = u * (self.path.shape[1] - 1)
        low = np.minimum(place.astype(int), self.path.shape[1] - 2)
        part = place - low
        radius = np.where(v > 0, self.up[low], self.down[low]) * (1 - part)
        radius = radius + np.where(v > 0, self.up[low + 1], self.down[low + 1]) * part
        part = part[:, None]
        path = self.path[:, low] * (1 - part) + self.path[:, low + 1] * part
        normal = self.normal[:, low] * (1 - part) + self.normal[:, low + 1] * part
        return path + normal * (v * radius)[:, None]

    def strip(self, v0: float, v1: float, u0: float = 0.0, u1: float = 1.0) -> np.ndarray:
        """Outline `f n 2` of the band between two heights, tapering to both of its ends."""
        s = np.linspace(0, 1, 9)
        u, swell = u0 + (u1 - u0) * s, np.sin(np.pi * s) ** 0.5
        inner = v1 + (v0 - v1) * swell
        return self.at(np.r_[u, u[::-1]], np.r_[np.full(9, v1), inner[::-1]])


def tube(
    centres: np.ndarray,
    up: Sequence[float] | np.ndarray,
    down: Sequence[float] | np.ndarray | None = None,
    *,
    samples: int = TUBE_SAMPLES,
    upright: bool = False,
) -> Tube:
    """A tube through control centres `f k 2` with half-widths `k` above and below.

    `upright` measures the widths along y, whatever the direction of the centre line.
    """
    weights = spline_weights(centres.shape[1], samples)
    path = weights @ centres
    up = np.maximum(weights @ np.asarray(up, dtype=float), 1e-3)
    down = up if down is None else np.maximum(weights @ np.asarray(down, dtype=float), 1e-3)
    if upright:
        normal = np.broadcast_to(np.array([0.0, 1.0]), path.shape)
    else:
        tangent = np.empty_like(path)
        tangent[:, 1:-1] = path[:, 2:] - path[:, :-2]
        tangent[:, 0], tangent[:, -1] = path[:, 1] - path[:, 0], path[:, -1] - path[:, -2]
        tangent /= np.sqrt((tangent**2).sum(-1, keepdims=True)) + 1e-9
        normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    return Tube(path, normal, up, down)


def grow(outlines: np.ndarray, width: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Move outlines outwards: several of them at once, one after the other in `outlines` `f n 2`.

    `width` is one number per point `n`; `counts` says how many points each outline has.
    """
    starts = np.cumsum([0, *counts[:-1]])
    after, before = np.arange(1, sum(counts) + 1), np.arange(-1, sum(counts) - 1)
    after[starts + counts - 1], before[starts] = starts, starts + counts - 1
    following = outlines[:, after]
    x, y = outlines[..., 0], outlines[..., 1]
    area = np.add.reduceat(x * following[..., 1] - y * following[..., 0], starts, axis=1)
    tangent = following - outlines[:, before]
    step = np.sqrt(tangent[..., 0] ** 2 + tangent[..., 1] ** 2) + 1e-9
    scale = width / step * np.repeat(np.sign(area), counts, axis=1)
    return outlines + np.stack([tangent[..., 1] * scale, -tangent[..., 0] * scale], axis=-1)


def bend_limb(
    root: np.ndarray, end: np.ndarray, upper: float, lower: float, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Two-bone inverse kinematics: the middle joint `f 2`, and the end that can be reached `f 2`.

    `side` is +1 where the joint points to the front (for a limb that hangs down), else -1.
    """
    line = end - root
    distance = np.sqrt((line**2).sum(-1)) + 1e-9
    reach = np.clip(distance, abs(upper - lower) * 1.02 + 1e-6, (upper + lower) * 0.998)
    line = line / distance[:, None]
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    across = np.sqrt(np.maximum(upper**2 - along**2, 0.0)) * side
    normal = np.stack([-line[:, 1], line[:, 0]], axis=-1)
    joint = root + line * along[:, None] + normal * across[:, None]
    return joint, root + line * reach[:, None]
