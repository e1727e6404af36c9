"""Key-point adaptation: the driving points moved onto the source's shape (paper, section 3.3)."""

from __future__ import annotations

import numpy as np
import torch
from einops import einsum
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from anamodiff.lofnet.flow import invert_2x2
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.motion_scale import scale_affine
from anamodiff.options import AdaptationOptions, ScaleRule

#: Scales are clamped to at most this and at least its inverse.
LARGEST_SCALE = 4.0

# A hull with less than this share of the squared spread is a line with rounding errors.
_FLAT = 1e-3
_TINY = 1e-6


def adapt_points(
    driving: KeyPoints, driving_first: KeyPoints, source: KeyPoints, *, scale: ScaleRule = "hull",
    motion_scale: float = 1.0,
) -> KeyPoints:  # fmt: skip
    """Apply the driving motion to the source's points (paper, section 3.3).

    ``k = s (k_d - k_d0) + k_s`` and ``J = J_d J_d0^-1 J_s``. Rules for the scale `s`:

    - ``hull``: square root of the ratio of the hull areas of source and first driving points.
    - ``none``: one.
    - ``axes``: ratio of the points' standard deviations along x and along y, so that a long low
      body strides as far as it is long and jumps as high as it is high. Jacobians are scaled
      alike, ``J = S J_d J_d0^-1 S^-1 J_s``; a single scale would cancel.
    - ``parts``: ``hull`` for the points' mean motion; each point's deviation from it is also scaled
      by the distances to its neighbours, so that long legs swing further than short ones.
    - ``learnt``: ``hull``; the network that learnt better is a `PointRetargeter`.

    Args:
        driving: points of `f` driving frames.
        driving_first: points of the first driving frame, a batch of one.
        source: points of the source frame, a batch of one.
        motion_scale: the motion about the source's points is so many times as far.

    Returns:
        Points of `f` frames on the source's shape; a frame equal to `driving_first` gives `source`.
        Scales are clamped by `LARGEST_SCALE`, also where points coincide or are collinear.

    Raises:
        AnaMoDiffError: an unknown scale rule.
    """
    AdaptationOptions.check(scale=scale, motion_scale=motion_scale)
    shared, own = _scales(source.value[0], driving_first.value[0], scale)
    moved = driving.value - driving_first.value
    common = moved.mean(dim=1, keepdim=True)
    value = motion_scale * (shared * common + own * (moved - common)) + source.value
    if driving.jacobian is None or driving_first.jacobian is None or source.jacobian is None:
        return KeyPoints(value)
    change = driving.jacobian @ invert_2x2(driving_first.jacobian)
    if scale == "axes":
        change = shared[:, None] * change / shared
    return KeyPoints(value, scale_affine(change, motion_scale) @ source.jacobian)


def smooth_points(points: KeyPoints, frames: float) -> KeyPoints:
    """Smooth points over time with a symmetric Gaussian filter, without delay.

    The motion is padded by odd reflection: the first frame, the last one and uniform motion stay
    as they are.

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
    # Rows: the frames and their padding, as weighted sums of the clip's frames.
    longer = np.pad(frame, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")
    rows = [taps / taps.sum() @ longer[i : i + len(taps)] for i in range(count)]
    weight = torch.from_numpy(np.stack(rows)).to(points.value.dtype).to(points.value.device)
    value = einsum(weight, points.value, "g f, f k xy -> g k xy")
    if points.jacobian is None:
        return KeyPoints(value)
    return KeyPoints(value, einsum(weight, points.jacobian, "g f, f k i j -> g k i j"))


def shape_scale(source: Tensor, driving: Tensor) -> float:
    """Square root of the ratio of the hull areas of source ``k 2`` and driving points ``k 2``.

    The ratio of spreads where a hull is flat, one where points coincide; clamped by
    `LARGEST_SCALE`.
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
    places = points.detach().cpu().double().numpy()
    if len(places) < 3 or not np.isfinite(places).all():
        return 0.0
    try:
        return float(ConvexHull(places).volume)  # in the plane, `area` is the perimeter
    except QhullError:  # one place, two, or a line
        return 0.0


def _scales(source: Tensor, driving: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """Scales of the mean motion and of the deviations from it; both broadcast to ``k 2``."""
    if rule == "none":
        one = source.new_ones(1)
        return one, one
    if rule == "axes":
        ratio = _ratio(_deviation(source), _deviation(driving))
        return ratio, ratio
    body = source.new_tensor([shape_scale(source, driving)])
    return body, _part_scales(source, driving, body) if rule == "parts" else body


def _part_scales(source: Tensor, driving: Tensor, body: Tensor) -> Tensor:
    """Geometric mean of the body's scale and of each neighbourhood's: ``k 1``."""
    own, other = torch.cdist(source, source), torch.cdist(driving, driving)
    near = torch.exp(-_relative(own).square() - _relative(other).square()).fill_diagonal_(0)
    reach, wanted = ((near * distance.square()).sum(dim=1).sqrt() for distance in (other, own))
    return (body * _ratio(wanted, reach)).sqrt()[:, None]


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Ratio clamped by `LARGEST_SCALE`; one where either is nearly zero."""
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


def normalise_points(points: Tensor) -> Tensor:
    """Points ``k 2``, centred and divided by the root of their hull's area (spread if flat)."""
    spread, area = _spread(points), hull_area(points)
    size = area**0.5 if area > _FLAT * spread**2 else spread
    return _centred(points) / max(size, _TINY)


def _spread(points: Tensor) -> float:
    """Root mean square distance of points ``k 2`` from their centre."""
    # Not every device has 64 bits.
    centred = _centred(points.detach().cpu().double())
    return float(centred.square().sum(dim=-1).mean().sqrt())
