"""A plain ground's noise and the stains of compression, told from a character's faint parts."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.video.foreground import GROUND_DISTANCE, border_of, ground_lab, rgb_to_lab

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Lab: from which distance colours differ from a clean ground's, and are seen at all; pixels between
# both, for each one along the edges, beyond which a clip is stained. Measured on 22 characters on
# six grounds: at most .37 as they were drawn, at least .53 as JPEG (quality 80, twice the size).
FINE_DISTANCE, FAINTEST, STAINED = 2.0, 0.7, 0.45
# Lab: what differs more from the ground is no stain, and a ground below is black. Pixels over which
# stains are averaged, and what is left of them, of the least distance.
STRONG, BLACK, WAVER, WAVERING = 20.0, 5.0, 7, 0.6
# Stains, for each pixel along the edges of what is strong, beyond which a clip is stained: at most
# .89 as the characters were drawn, up to 3.3 as JPEG. Characters that are faint all around, with
# fewer strong edges than this share, tell nothing.
WAVERED, TELLING = 1.2, 0.25
# Lab: the border's median distance from the ground's colour from which on a clip is noisy; pixels
# over which noise is averaged, and up to which difference, in noises.
NOISY, DENOISED, BLUR = 1.2, 7, 4.0


def least_distance(frames: Tensor, ground: Tensor) -> float:
    """From which distance in Lab on a colour differs from a plain ground's, ``(3,)`` or ``3 h w``.

    Compression leaves faint stains around a character, which a fine eye would take for parts of it.
    Where there are none, parts in nearly the ground's colour are told from it.
    """
    colour = ground_lab(ground)
    apart = rgb_to_lab(frames) - colour
    distance = np.linalg.norm(apart, axis=-1)
    other = distance > FINE_DISTANCE
    faint = int(((distance > FAINTEST) & ~other).sum())
    if faint > STAINED * _length(other):
        return GROUND_DISTANCE
    if _noise(apart) >= NOISY:  # which wavers, too, and is evened out
        return FINE_DISTANCE
    wavering = _wavering(apart, colour, FINE_DISTANCE) & other
    strong = _length(distance > STRONG)
    tells = strong > TELLING * _length(other & ~wavering)
    stained = tells and int(wavering.sum()) > WAVERED * strong
    return GROUND_DISTANCE if stained else FINE_DISTANCE


def stains(frames: Tensor, ground: Tensor, least: float) -> Mask:
    """Where compression has stained a plain ground, ``f h w``; nowhere on black.

    Stains waver around the ground's colour, and are it in the mean over some pixels; faint parts of
    a character are not. Below black nothing wavers.

    Args:
        least: distance in Lab from which on a mean colour differs from the ground's.
    """
    colour = ground_lab(ground)
    return _wavering(rgb_to_lab(frames) - colour, colour, least)


def _wavering(apart: Array, colour: Array, least: float) -> Mask:
    """`stains` of what differs from a ground's colour, ``f h w 3``."""
    weak = np.linalg.norm(apart, axis=-1) < STRONG
    if np.median(colour[..., 0]) < BLACK:
        return np.zeros_like(weak)
    found = []
    for one, faint in zip(apart, weak, strict=True):
        weight = cv2.erode(faint.astype(np.uint8), np.ones((3, 3))).astype(np.float32)
        share = cv2.blur(weight, (WAVER, WAVER))[..., None]
        mean = cv2.blur(one * weight[..., None], (WAVER, WAVER)) / np.maximum(share, 1e-3)
        found.append(faint & (np.linalg.norm(mean, axis=-1) < WAVERING * least))
    return np.stack(found)


def denoised(frames: Tensor, ground: Tensor) -> Tensor:
    """Frames without a camera's noise, where their ground shows any; edges are kept."""
    noise = _noise(rgb_to_lab(frames) - ground_lab(ground))
    if noise < NOISY:
        return frames
    pictures = rearrange(frames.detach().cpu().float(), "f c h w -> f h w c").numpy()
    quiet = [
        cv2.bilateralFilter(np.ascontiguousarray(picture), DENOISED, BLUR * noise / 50, 1.5)
        for picture in pictures
    ]
    return rearrange(torch.from_numpy(np.stack(quiet)), "f h w c -> f c h w").to(frames)


def _noise(apart: Array) -> float:
    """The border's median distance of what differs from the ground's colour, ``f h w 3`` in Lab."""
    return float(np.median(np.linalg.norm(border_of(apart), axis=-1)))


def _length(masks: Mask) -> int:
    """Pixels along the edges of masks ``f h w``."""
    kernel = np.ones((3, 3))
    return sum(int((one & ~(cv2.erode(one.astype(np.uint8), kernel) > 0)).sum()) for one in masks)
