"""Move the driving points onto the source's shape (paper, section 3.3)."""

from typing import Literal

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.flow import invert_2x2
from anamodiff.lofnet.keypoints import KeyPoints

ScaleRule = Literal["hull", "none"]

# Below this share of the squared spread a hull is a line drawn with rounding errors.
_FLAT = 1e-3


def adapt_points(
    driving: KeyPoints, driving_first: KeyPoints, source: KeyPoints, *, scale: ScaleRule = "hull"
) -> KeyPoints:
    """Give the source's points the driving motion.

    ``k = s (k_d - k_d0) + k_s`` and ``J = J_d J_d0^-1 J_s``, where `s` is the square root of the
    ratio of the hull areas of source and first driving points (``scale="hull"``) or one.

    Args:
        driving: `f` frames of driving points.
        driving_first: points of the first driving frame, a batch of one.
        source: points of the source frame, a batch of one.

    Returns:
        `f` frames of points on the source's shape; the frame that equals `driving_first` becomes
        `source`.

    Raises:
        AnaMoDiffError: an unknown scale rule.
    """
    if scale not in ("hull", "none"):
        raise AnaMoDiffError(f"expected a scale of hull or none, got {scale!r}: name one of them")
    factor = 1.0
    if scale == "hull":
        factor = shape_scale(source.value[0], driving_first.value[0])
    value = factor * (driving.value - driving_first.value) + source.value
    if driving.jacobian is None or driving_first.jacobian is None or source.jacobian is None:
        return KeyPoints(value)
    change = driving.jacobian @ invert_2x2(driving_first.jacobian)
    return KeyPoints(value, change @ source.jacobian)


def shape_scale(source: Tensor, driving: Tensor) -> float:
    """How many times larger the source's points ``k 2`` lie than the driving's ``k 2``.

    Falls back to the ratio of spreads where a hull has no area, to one where points coincide.
    """
    spreads = [_spread(source), _spread(driving)]
    areas = [hull_area(source), hull_area(driving)]
    if all(area > _FLAT * spread**2 for area, spread in zip(areas, spreads, strict=True)):
        return (areas[0] / areas[1]) ** 0.5
    return spreads[0] / spreads[1] if min(spreads) > 1e-6 else 1.0


def hull_area(points: Tensor) -> float:
    """Area of the convex hull of points ``k 2``; 0 for fewer than three or collinear ones."""
    places = sorted({(float(x), float(y)) for x, y in points.detach().double().cpu()})
    if len(places) < 3:
        return 0.0
    hull = _half_hull(places) + _half_hull(places[::-1])
    return 0.5 * sum(
        _cross((0.0, 0.0), a, b) for a, b in zip(hull, hull[1:] + hull[:1], strict=True)
    )


def _spread(points: Tensor) -> float:
    """Root mean square distance of points ``k 2`` from their centre."""
    centred = points.detach().double() - points.detach().double().mean(dim=0)
    return float(torch.sqrt(centred.square().sum(dim=-1).mean()))


def _half_hull(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One side of the hull of sorted places (monotone chain), without its last place."""
    chain: list[tuple[float, float]] = []
    for place in places:
        while len(chain) > 1 and _cross(chain[-2], chain[-1], place) <= 0:
            chain.pop()
        chain.append(place)
    return chain[:-1]


def _cross(origin: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    """Twice the signed area of the triangle of three places."""
    return (a[0] - origin[0]) * (b[1] - origin[1]) - (a[1] - origin[1]) * (b[0] - origin[0])
