"""Move the driving points onto the source's shape (paper, section 3.3)."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from einops import einsum
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.flow import invert_2x2
from anamodiff.lofnet.keypoints import KeyPoints

ScaleRule = Literal["hull", "none", "axes", "parts"]
SCALES: tuple[str, ...] = get_args(ScaleRule)

#: No body moves more than so many times as far as the driving one, or as many times less.
LARGEST_SCALE = 4.0
#: Longest smoothing, in frames: beyond it hardly any motion is left.
LONGEST_SMOOTHING = 10.0

# Below this share of the squared spread a hull is a line drawn with rounding errors.
_FLAT = 1e-3
_TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class AdaptationOptions:
    """How the driving points are moved onto the source's shape.

    Attributes:
        scale: rule for the size of the motion, see `adapt_points`.
        smooth: standard deviation, in frames, of the smoothing of the driving points; 0 is none.
    """

    scale: str = "hull"
    smooth: float = 0.0

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise AnaMoDiffError(
                f"expected a scale of {', '.join(SCALES)}, got {self.scale!r}: name one of them"
            )
        if not 0 <= self.smooth <= LONGEST_SMOOTHING:
            raise AnaMoDiffError(
                f"expected smoothing over 0 to {LONGEST_SMOOTHING:g} frames, got {self.smooth}: "
                "about 1 takes out jitter, 0 smooths nothing"
            )


def adapt_points(
    driving: KeyPoints, driving_first: KeyPoints, source: KeyPoints, *, scale: str = "hull"
) -> KeyPoints:
    """Give the source's points the driving motion.

    ``k = s (k_d - k_d0) + k_s`` and ``J = J_d J_d0^-1 J_s``. The rules for `s`:

    - ``hull``: square root of the ratio of the hull areas of source and first driving points.
    - ``none``: one.
    - ``axes``: ratio of the points' standard deviations, along x and along y: a long low body
      strides as far as it is long and jumps as high as it is high. Its Jacobians are stretched
      alike, ``J = S J_d J_d0^-1 S^-1 J_s``; a single scale would cancel.
    - ``parts``: ``hull`` for the motion that all points share; what each does beside it is also
      scaled by its distances to its neighbours: long legs swing further than short ones.

    Args:
        driving: `f` frames of driving points.
        driving_first: points of the first driving frame, a batch of one.
        source: points of the source frame, a batch of one.

    Returns:
        `f` frames of points on the source's shape; the frame that equals `driving_first` becomes
        `source`. Every scale is within `LARGEST_SCALE`, also where points coincide or lie on a
        line.

    Raises:
        AnaMoDiffError: an unknown scale rule.
    """
    AdaptationOptions(scale=scale)  # refuses unknown rules
    shared, own = _scales(source.value[0], driving_first.value[0], scale)
    moved = driving.value - driving_first.value
    common = moved.mean(dim=1, keepdim=True)
    value = shared * common + own * (moved - common) + source.value
    if driving.jacobian is None or driving_first.jacobian is None or source.jacobian is None:
        return KeyPoints(value)
    change = driving.jacobian @ invert_2x2(driving_first.jacobian)
    if scale == "axes":
        change = shared[:, None] * change / shared
    return KeyPoints(value, change @ source.jacobian)


def smooth_points(points: KeyPoints, frames: float) -> KeyPoints:
    """Smooth points over time with a Gaussian, without delay.

    The filter is symmetric and the motion is continued point-symmetrically beyond both ends: the
    first and the last frame, and uniform motion, stay as they are.

    Args:
        points: of the `f` frames of one clip.
        frames: standard deviation; 0 changes nothing.
    """
    count = len(points)
    if frames <= 0 or count < 3:
        return points
    radius = max(1, round(4 * frames))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / frames) ** 2)
    frame = np.eye(count)
    # One row for each frame and each of those beyond the ends, as a sum of the clip's frames.
    longer = np.pad(frame, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")
    rows = [taps / taps.sum() @ longer[i : i + len(taps)] for i in range(count)]
    weight = torch.from_numpy(np.stack(rows)).to(points.value)
    value = einsum(weight, points.value, "g f, f k xy -> g k xy")
    if points.jacobian is None:
        return KeyPoints(value)
    return KeyPoints(value, einsum(weight, points.jacobian, "g f, f k i j -> g k i j"))


def shape_scale(source: Tensor, driving: Tensor) -> float:
    """How many times larger the source's points ``k 2`` lie than the driving's ``k 2``.

    Falls back to the ratio of spreads where a hull has no area, to one where points coincide;
    within `LARGEST_SCALE`.
    """
    spreads = [_spread(source), _spread(driving)]
    areas = [hull_area(source), hull_area(driving)]
    if all(area > _FLAT * spread**2 for area, spread in zip(areas, spreads, strict=True)):
        ratio = (areas[0] / areas[1]) ** 0.5
    else:
        ratio = spreads[0] / spreads[1] if min(spreads) > _TINY else 1.0
    return min(max(ratio, 1 / LARGEST_SCALE), LARGEST_SCALE)


def hull_area(points: Tensor) -> float:
    """Area of the convex hull of points ``k 2``; 0 for fewer than three or collinear ones."""
    places = points.detach().double().cpu().numpy()
    if len(places) < 3 or not np.isfinite(places).all():
        return 0.0
    try:
        return float(ConvexHull(places).volume)  # in the plane, `area` is the perimeter
    except QhullError:  # one place, two, or a line
        return 0.0


def _scales(source: Tensor, driving: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """Scales of the motion that all points share and of each one's own, for points ``k 2``.

    Returns:
        Two tensors that broadcast to ``k 2``.
    """
    if rule == "none":
        one = source.new_ones(1)
        return one, one
    if rule == "axes":
        ratio = _ratio(_deviation(source), _deviation(driving))
        return ratio, ratio
    body = source.new_tensor([shape_scale(source, driving)])
    return body, body if rule == "hull" else _part_scales(source, driving, body)


def _part_scales(source: Tensor, driving: Tensor, body: Tensor) -> Tensor:
    """Geometric mean of the body's scale and of each point's neighbourhood's: ``k 1``."""
    own, other = torch.cdist(source, source), torch.cdist(driving, driving)
    near = torch.exp(-_relative(own).square() - _relative(other).square()).fill_diagonal_(0)
    reach, wanted = ((near * distance.square()).sum(dim=1).sqrt() for distance in (other, own))
    return (body * _ratio(wanted, reach)).sqrt()[:, None]


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, within `LARGEST_SCALE`; one where either has vanished."""
    flat = (numerator <= _TINY) | (denominator <= _TINY)
    ratio = numerator / denominator.clamp_min(_TINY)
    return torch.where(flat, 1.0, ratio.clamp(1 / LARGEST_SCALE, LARGEST_SCALE))


def _relative(distances: Tensor) -> Tensor:
    return distances / distances.mean().clamp_min(_TINY)


def _centred(points: Tensor) -> Tensor:
    return points - points.mean(dim=0)


def _deviation(points: Tensor) -> Tensor:
    """Standard deviation along x and along y of points ``k 2``."""
    return _centred(points).square().mean(dim=0).sqrt()


def in_own_size(points: Tensor) -> Tensor:
    """Points ``k 2`` about their centre, in units of their hull's size (spread for a line)."""
    spread, area = _spread(points), hull_area(points)
    size = area**0.5 if area > _FLAT * spread**2 else spread
    return _centred(points) / max(size, _TINY)


def _spread(points: Tensor) -> float:
    """Root mean square distance of points ``k 2`` from their centre."""
    return float(_centred(points.detach().double()).square().sum(dim=-1).mean().sqrt())
