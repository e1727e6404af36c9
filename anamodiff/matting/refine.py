"""A network's matte made better by the colours of the clip's own character and ground."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from anamodiff.video.foreground import rgb_to_lab

Array = NDArray[np.float32]

# Histograms of colours in Lab: bins and their range for each channel, and their blur in bins.
BINS, LOW, HIGH = (12, 16, 16), (0.0, -80.0, -80.0), (100.0, 80.0, 80.0)
BLUR = 0.7
UNSEEN = 2e-4  # share of a colour of which nothing is known
SURE = 0.7  # saliency from which on a colour is the character's; below the rest it is the ground's
TRUST = 1.0  # in colours, against the network
ROUNDS = 2
THICK = 1 / 64  # of the picture's side: a character's colours are read that deep in it
# Of the picture's side: how far a character may reach beyond what is at least so salient.
REACH, PERHAPS = 0.12, 0.3


def refine_saliency(saliency: Tensor, frames: Tensor) -> Tensor:
    """Saliency ``f h w`` in [0, 1], weighed by Bayes' rule against how likely each colour is.

    Histograms of the character's and the ground's colours are taken over all frames, from what the
    network is sure of, and again from what came of that.

    Args:
        saliency: the network's, ``f h w`` in [0, 1].
        frames: ``f 3 h w`` in [-1, 1].
    """
    # Without grain, so that a texture's single pixels do not decide.
    lab = np.stack([cv2.bilateralFilter(picture, 5, 10.0, 2.0) for picture in rgb_to_lab(frames)])
    bins = _bins(lab)
    first = saliency.detach().cpu().float().numpy().clip(0.02, 0.98)
    far, found = _far(first), first
    for _ in range(ROUNDS):
        own = _histogram(bins, np.where(_thick(found > SURE), found, 0.0))
        other = _histogram(bins, np.where(found < 1 - SURE, 1 - found, 0.0))
        likelihood = np.log((own + UNSEEN) / (other + UNSEEN))[bins]
        odds = np.log(first / (1 - first)) + TRUST * likelihood
        found = 1 / (1 + np.exp(-odds))
        found = np.stack([cv2.GaussianBlur(one, (0, 0), 0.7) for one in found.astype(np.float32)])
        found[far] = 0
    return torch.from_numpy(found).to(saliency)


def _thick(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What lies deep in masks ``f h w``: not thin lines of the ground that stand out with them."""
    size = 2 * max(1, round(THICK * max(masks.shape[1:]))) + 1
    return np.stack([cv2.erode(one.astype(np.uint8), np.ones((size, size))) for one in masks]) > 0


def _bins(lab: Array) -> NDArray[np.int64]:
    """Number of each pixel's bin, ``f h w``."""
    low, high, count = np.array(LOW), np.array(HIGH), np.array(BINS)
    places = ((lab - low) / (high - low) * count).astype(np.int64).clip(0, count - 1)
    return np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), BINS)


def _histogram(bins: NDArray[np.int64], weights: NDArray) -> NDArray[np.float64]:
    """Shares of all bins, flat, blurred."""
    counts = np.bincount(bins.ravel(), weights=weights.ravel(), minlength=int(np.prod(BINS)))
    blurred = gaussian_filter(counts.reshape(BINS), BLUR).ravel()
    return blurred / max(blurred.sum(), 1e-9)


def _far(saliency: Array) -> NDArray[np.bool_]:
    """What lies too far from anything salient, ``f h w``."""
    size = 2 * round(REACH * max(saliency.shape[1:])) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    near = [cv2.dilate((one > PERHAPS).astype(np.uint8), kernel) for one in saliency]
    return np.stack(near) == 0
