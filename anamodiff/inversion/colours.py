"""Histogram matching of the character's colours to the source's (paper, section 3.5).

Colours are in CIE Lab (D65), where a distance of about two is just visible.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.video.foreground import (
    Array,
    Mask,
    differs_from_ground,
    foreground_mask,
    ground_colour,
    lab_to_rgb,
    plain_ground,
    rgb_to_lab,
)

Ground = Literal["source", "keep"]

JUST_VISIBLE = 2.0
LARGEST_GAIN = 3.0  # of colour contrast
MIN_PIXELS = 16  # with fewer, nothing is matched
BINS = 512


def match_histograms(
    frames: Tensor,
    reference: Tensor,
    *,
    frames_mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    ground: Ground = "source",
) -> Tensor:
    """Match the colours of the foreground in `frames` to those of the foreground in `reference`.

    In Lab, mean and covariance are matched, then the histogram of each channel, by one mapping for
    the whole clip, so that nothing flickers. The background has no influence, and the mapping
    fades at the foreground's edges, where the background mixes in.

    Args:
        frames: f c h w, RGB in [-1, 1].
        reference: frames of the source r c h w, of any number and size.
        frames_mask: foreground f h w, bool; None for `foreground_mask`.
        reference_mask: foreground r h w, bool; likewise.
        ground: "source" fills the background with the reference's background colour, "keep" leaves
            it as it is.

    Returns:
        Frames of the same shape; unchanged if `frames` or `reference` have no foreground, or if
        nobody can tell it: the reference's ground is textured and no mask given.

    Raises:
        AnaMoDiffError: a mask does not fit its frames.
    """
    if reference_mask is None and plain_ground(reference) is None:
        return frames
    frames_mask = _mask_of(frames, frames_mask, "frames")
    reference_mask = _mask_of(reference, reference_mask, "reference")
    mask, coloured = _coloured(frames, frames_mask), _coloured(reference, reference_mask)
    lab, reference_lab = rgb_to_lab(frames), rgb_to_lab(reference)
    # The mapping of smoothed colours is added to each pixel, so that it does not amplify grain.
    own, target = _smooth(lab)[mask], reference_lab[coloured]
    if min(len(own), len(target)) < MIN_PIXELS:
        return frames
    weight = _inner_weight(mask)[mask]
    target = _limit_gain(own[weight >= np.median(weight)], target)
    moved = _match_channels(_match_moments(own, target), target)
    lab[mask] += weight[:, None] * (moved - own)
    matched = lab_to_rgb(lab).to(frames.device, frames.dtype)
    outside = frames if ground == "keep" else ground_colour(reference).to(frames).view(1, 3, 1, 1)
    return torch.where(frames_mask[:, None].to(frames.device), matched, outside)


def _coloured(frames: Tensor, mask: Tensor) -> Mask:
    """A foreground f h w without what has the colour of a plain ground.

    That is gaps between legs, too: two clips have unlike shares of them, and matching would paint
    what one has more.
    """
    plain = plain_ground(frames) is not None
    return mask.cpu().numpy() & (differs_from_ground(frames) if plain else True)


def _limit_gain(own: Array, target: Array) -> Array:
    """Reduce the contrast of `target` (m 3) to `LARGEST_GAIN` times that of `own` (n 3).

    Otherwise the noise of an even colour would be spread over a wide histogram. `own` is taken well
    inside the foreground, because its edges are never even.
    """
    spread, target_spread = (float(colours.std(0).max()) for colours in (own, target))
    mean = target.mean(0)
    return mean + min(1.0, LARGEST_GAIN * spread / (target_spread + 1e-6)) * (target - mean)


def _match_moments(own: Array, target: Array) -> Array:
    """Linear map that matches mean and covariance of `own` (n 3) to those of `target` (m 3).

    It is the optimal transport between Gaussians (Pitie and Kokaram 2007). Variances below a
    visible difference are not amplified.
    """
    mean, target_mean = own.mean(0), target.mean(0)
    floor = JUST_VISIBLE**2 * np.eye(3)
    covariance, target_covariance = np.cov(own.T) + floor, np.cov(target.T) + floor
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    matrix = inverse @ _power(root @ target_covariance @ root, 0.5) @ inverse
    return ((own - mean) @ matrix + target_mean).astype(np.float32)


def _power(matrix: NDArray, exponent: float) -> NDArray:
    """Power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _match_channels(own: Array, target: Array) -> Array:
    """Match the histogram of each channel of `own` (n 3) to that of `target` (m 3)."""
    return np.stack([_match_values(own[:, i], target[:, i]) for i in range(3)], axis=1)


def _match_values(own: Array, target: Array) -> Array:
    """Map values (n,) to the distribution of `target` (m,).

    Both distributions are blurred by a just visible difference, which smooths the mapping; between
    equal ones it is the identity.
    """
    low = min(own.min(), target.min()) - 3 * JUST_VISIBLE
    high = max(own.max(), target.max()) + 3 * JUST_VISIBLE
    edges = np.linspace(low, high, BINS + 1)
    own_rank, target_rank = (_distribution(values, edges) for values in (own, target))
    mapped_edges = np.interp(own_rank, target_rank, edges)
    return np.interp(own, edges, mapped_edges).astype(np.float32)


def _distribution(values: Array, edges: NDArray) -> NDArray:
    """Blurred cumulative distribution at `edges`, strictly increasing from 0 to 1."""
    counts = np.histogram(values, edges)[0].astype(np.float64)
    sigma = JUST_VISIBLE / (edges[1] - edges[0])
    counts = cv2.GaussianBlur(counts[None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)[0]
    counts += 1e-9 * len(values)  # strictly increasing, so that it can be inverted
    return np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])


def _smooth(lab: Array) -> Array:
    """Frames f h w c without grain, with their edges (bilateral filter)."""
    return np.stack([cv2.bilateralFilter(x, 5, 5 * JUST_VISIBLE, 2.0) for x in lab])


def _inner_weight(mask: Mask) -> Array:
    """Weights f h w: 1 well inside the masks, a half at their edges, where background mixes in."""
    sigma = max(0.5, mask.shape[1] / 160)
    return np.stack([cv2.GaussianBlur(m.astype(np.float32), (0, 0), sigma) for m in mask])


def _mask_of(frames: Tensor, mask: Tensor | None, name: str) -> Tensor:
    if mask is None:
        return foreground_mask(frames)
    expected = (len(frames), *frames.shape[2:])
    if mask.shape != expected:
        raise AnaMoDiffError(
            f"expected {name}_mask of shape {tuple(expected)}, got {tuple(mask.shape)}: "
            "give one mask f h w for frames f c h w"
        )
    return mask.bool()
