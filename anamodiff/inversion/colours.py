"""Colours: how the character gets its own colours back (paper, section 3.5).

All colour arithmetic is in CIE Lab (D65), where a distance of about two is just visible.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.foreground import foreground_mask, ground_colour, to_lab, to_rgb

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Ground = Literal["source", "keep"]

JUST_VISIBLE = 2.0
LARGEST_GAIN = 3.0  # of colour contrast
MIN_PIXELS = 16  # fewer say nothing about colours
BINS = 512


def match_histograms(
    frames: Tensor,
    reference: Tensor,
    *,
    frames_mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    ground: Ground = "source",
) -> Tensor:
    """Give the character in `frames` the colours that it has in `reference`.

    In Lab, the foreground's mean and covariance are moved to the reference's, then the histogram of
    each channel is matched: one mapping for the whole clip, so that nothing flickers. A white
    ground takes no part, and the mapping fades at the character's edge, where the ground mixes in.

    Args:
        frames: f c h w, RGB in [-1, 1].
        reference: frames of the source, any number r c h w of any size.
        frames_mask: foreground f h w, bool; `None` for `foreground_mask`.
        reference_mask: foreground r h w, bool; likewise.
        ground: "source" paints what is not foreground in the reference's ground colour, "keep"
            leaves it alone.

    Returns:
        Frames of the same shape. Unchanged where there is no foreground on either side.

    Raises:
        AnaMoDiffError: if a mask does not fit its frames.
    """
    frames_mask = _mask_of(frames, frames_mask, "frames")
    reference_mask = _mask_of(reference, reference_mask, "reference")
    mask = frames_mask.cpu().numpy()
    lab, reference_lab = to_lab(frames), to_lab(reference)
    # Smoothed colours say how far to move, so that grain is moved along and not stretched.
    own, wanted = _smooth(lab)[mask], reference_lab[reference_mask.cpu().numpy()]
    if min(len(own), len(wanted)) < MIN_PIXELS:
        return frames
    weight = _inner_weight(mask)[mask]
    wanted = _limit_gain(own[weight >= np.median(weight)], wanted)
    moved = _match_channels(_match_moments(own, wanted), wanted)
    lab[mask] += weight[:, None] * (moved - own)
    matched = to_rgb(lab).to(frames.device, frames.dtype)
    outside = frames if ground == "keep" else ground_colour(reference).to(frames).view(1, 3, 1, 1)
    return torch.where(frames_mask[:, None].to(frames.device), matched, outside)


def _limit_gain(own: Array, wanted: Array) -> Array:
    """Draw `wanted` (m 3) together if `own` (n 3) is far more even.

    Otherwise the noise of an even colour would be torn apart to fill a wide histogram. `own` is
    taken well inside the character, because its edges are never even.
    """
    spread, wanted_spread = (float(colours.std(0).max()) for colours in (own, wanted))
    mean = wanted.mean(0)
    return mean + min(1.0, LARGEST_GAIN * spread / (wanted_spread + 1e-6)) * (wanted - mean)


def _match_moments(own: Array, wanted: Array) -> Array:
    """Linear map that takes mean and covariance of `own` (n 3) to those of `wanted` (m 3).

    It is the one that moves colours least (Pitie and Kokaram 2007). What is smaller than a visible
    difference is not stretched.
    """
    mean, wanted_mean = own.mean(0), wanted.mean(0)
    floor = JUST_VISIBLE**2 * np.eye(3)
    covariance, wanted_covariance = np.cov(own.T) + floor, np.cov(wanted.T) + floor
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    matrix = inverse @ _power(root @ wanted_covariance @ root, 0.5) @ inverse
    return ((own - mean) @ matrix + wanted_mean).astype(np.float32)


def _power(matrix: NDArray, exponent: float) -> NDArray:
    """Power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _match_channels(own: Array, wanted: Array) -> Array:
    """Match the histogram of each channel of `own` (n 3) to that of `wanted` (m 3)."""
    return np.stack([_match_values(own[:, i], wanted[:, i]) for i in range(3)], axis=1)


def _match_values(own: Array, wanted: Array) -> Array:
    """Map values (n,) so that they are distributed as `wanted` (m,).

    Both distributions are blurred by a just visible difference, which keeps the mapping smooth;
    equal ones still map to themselves.
    """
    low = min(own.min(), wanted.min()) - 3 * JUST_VISIBLE
    high = max(own.max(), wanted.max()) + 3 * JUST_VISIBLE
    edges = np.linspace(low, high, BINS + 1)
    own_rank, wanted_rank = (_distribution(values, edges) for values in (own, wanted))
    mapped_edges = np.interp(own_rank, wanted_rank, edges)
    return np.interp(own, edges, mapped_edges).astype(np.float32)


def _distribution(values: Array, edges: NDArray) -> NDArray:
    """Blurred cumulative distribution at `edges`, rising strictly from 0 to 1."""
    counts = np.histogram(values, edges)[0].astype(np.float64)
    sigma = JUST_VISIBLE / (edges[1] - edges[0])
    counts = cv2.GaussianBlur(counts[None], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)[0]
    counts += 1e-9 * len(values)  # without plateaus it can be inverted
    return np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])


def _smooth(lab: Array) -> Array:
    """Frames f h w c without grain, but with their edges."""
    return np.stack([cv2.bilateralFilter(x, 5, 5 * JUST_VISIBLE, 2.0) for x in lab])


def _inner_weight(mask: Mask) -> Array:
    """1 well inside masks (f h w), a half at their edges, where half a pixel is ground."""
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
