"""The ground behind a character, as if it had never been there."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.video.letterbox import from_pixels, to_pixels

#: Of alpha: what shows more of the character than this says nothing about its ground.
SEEN = 0.02
# Pixels by which the character is grown, since its colour bleeds into what is beside it; and the
# radius of inpainting, both as shares of the picture.
GROWN, RADIUS = 1 / 64, 1 / 40


def clean_plate(frames: Tensor, alpha: Tensor, known: Tensor | None = None) -> Tensor:
    """The ground ``3 h w``: each pixel's median over the frames in which it is seen.

    What is hidden in all of them, or in the only one, is inpainted.

    Args:
        frames: ``f 3 h w`` in [-1, 1], as they were filmed.
        alpha: mattes ``f h w`` in [0, 1].
        known: ``f h w``, bool, what lies inside the frames; None: all of it.
    """
    grown = 2 * max(1, round(GROWN * max(alpha.shape[-2:]))) + 1
    hidden = _grown(alpha.detach().cpu() > SEEN, grown)
    if known is not None:
        hidden |= ~known.cpu().numpy()
    pictures = rearrange(frames.detach().cpu().float(), "f c h w -> f h w c").numpy().copy()
    pictures[hidden] = np.nan
    never = hidden.all(0)
    pictures[:, never] = 0
    plate = torch.from_numpy(np.nanmedian(pictures, axis=0))
    return inpainted(rearrange(plate, "h w c -> c h w"), never)


def inpainted(picture: Tensor, holes: NDArray[np.bool_]) -> Tensor:
    """A picture ``3 h w`` in [-1, 1] with holes ``h w`` filled from around them (Telea 2004)."""
    if not holes.any() or holes.all():
        return picture
    pixels = to_pixels(picture[None])[0]
    radius = max(2.0, RADIUS * max(holes.shape))
    filled = cv2.inpaint(pixels, holes.astype(np.uint8), radius, cv2.INPAINT_TELEA)
    return torch.where(torch.from_numpy(holes), from_pixels(filled[None])[0].to(picture), picture)


def _grown(masks: Tensor, size: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.stack([cv2.dilate(m.numpy().astype(np.uint8), kernel) for m in masks]).astype(bool)
