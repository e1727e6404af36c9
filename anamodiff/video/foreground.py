"""Where the character is: what differs from a plain ground, in CIE Lab (D65)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

GROUND_DISTANCE = 6.0  # Lab; white animals on white differ by little more
NOISE_MARGIN = 3.5  # of the median; one in ten thousand normal deviates is further out
GRAIN = 3  # pixels over which a camera's noise evens out
BORDER = 1 / 32  # of the height and width
PLAIN_DISTANCE = 3.5  # Lab, from the border's median: compression stays below it, textures do not
PLAIN_SHARE = 0.7  # of the border
# A character hides some of it, with colours that are further away than this, Lab. Nearer ones are
# the ground's own, and those of them that are no stain make a texture: sand, or a vignette.
HIDDEN_DISTANCE, UNEVEN_SHARE = 12.0, 0.07
LARGEST_HOLE = 0.02  # of the picture
SMALLEST_PART = 0.01  # of the largest part


def foreground_mask(
    frames: Tensor, background: Tensor | None = None, *, thin: bool = False
) -> Tensor:
    """Where frames differ from their plain ground.

    Args:
        frames: f c h w, RGB in [-1, 1].
        background: the ground's colour, (c,) in [-1, 1], or its colours, c h w; `None` takes the
            border's median.
        thin: keep feet, tails and other thin parts that hang on a thicker one; opening, which
            removes specks, takes them for such.

    Returns:
        Mask f h w, bool, without specks, with pinholes closed.
    """
    different = differs_from_ground(frames, background)
    return torch.from_numpy(cleaned(different, thin=thin)).to(frames.device)


def differs_from_ground(
    frames: Tensor, background: Tensor | None = None, *, least: float = GROUND_DISTANCE
) -> Mask:
    """What `foreground_mask` begins with: f h w, with specks and pinholes.

    Args:
        least: distance in Lab from which on a colour differs, on a ground without noise.
    """
    lab = rgb_to_lab(frames)
    border = border_of(lab)
    colour = np.median(border, axis=0)
    ground = colour if background is None else ground_lab(background)
    distance = np.linalg.norm(lab - ground, axis=-1)
    # A noisy ground needs a wider margin than a clean one.
    apart = border - colour if ground.ndim == 1 else border_of(lab - ground)
    noise = float(np.median(np.linalg.norm(apart, axis=-1)))
    return distance > max(least, NOISE_MARGIN * noise)


def ground_lab(ground: Tensor) -> Array:
    """Lab of a ground's colour ``(3,)`` in [-1, 1], or of its colours ``3 h w``, as ``h w 3``."""
    if ground.ndim > 1:
        return rgb_to_lab(ground[None])[0]
    return rgb_to_lab(ground.view(1, 3, 1, 1)).reshape(3)


def cleaned(masks: Mask, *, thin: bool = False, largest_hole: float = LARGEST_HOLE) -> Mask:
    """Masks f h w without specks, with pinholes closed: holes below a share of the picture."""
    return np.stack([_clean(mask, thin, largest_hole) for mask in masks])


def plain_ground(frames: Tensor) -> Tensor | None:
    """The ground's colour (c,) where the border is plain; None where it is textured.

    The character may hide some of the border, but not most of it.
    """
    border = border_of(without_grain(rgb_to_lab(frames)))
    distance = np.linalg.norm(border - np.median(border, axis=0), axis=-1)
    return ground_colour(frames) if is_even(distance) else None


def without_grain(pictures: Array) -> Array:
    """Pictures ``f h w c`` averaged over a few pixels: a camera's noise is no texture."""
    return np.stack([cv2.blur(picture, (GRAIN, GRAIN)) for picture in pictures])


def is_even(distance: NDArray) -> bool:
    """Whether a border's colours are a plain ground's, by their distances in Lab from it."""
    plain = float((distance < PLAIN_DISTANCE).mean())
    uneven = float((distance < HIDDEN_DISTANCE).mean()) - plain
    return plain >= PLAIN_SHARE and uneven <= UNEVEN_SHARE * (plain + uneven)


def ground_colour(frames: Tensor) -> Tensor:
    """Median colour (c,) of the border of frames f c h w."""
    border = border_of(rearrange(frames.detach().float().cpu().numpy(), "f c h w -> f h w c"))
    return torch.from_numpy(np.median(border, axis=0)).to(frames.device, frames.dtype)


def lab_distance(first: Tensor, second: Tensor) -> float:
    """Distance in Lab of two colours (c,) in [-1, 1]."""
    one, other = (rgb_to_lab(colour.reshape(1, 3, 1, 1)) for colour in (first, second))
    return float(np.linalg.norm(one - other))


def chroma(colour: Tensor) -> float:
    """How far a colour (c,) in [-1, 1] is from grey, in Lab."""
    return float(np.linalg.norm(rgb_to_lab(colour.reshape(1, 3, 1, 1)).reshape(3)[1:]))


def rgb_to_lab(frames: Tensor) -> Array:
    """RGB f c h w in [-1, 1] to Lab f h w c, L in [0, 100]."""
    rgb = rearrange(
        frames.detach().float().clamp(-1, 1).cpu().numpy() / 2 + 0.5, "f c h w -> f h w c"
    )
    return np.stack([cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2LAB) for x in rgb])


def lab_to_rgb(lab: Array) -> Tensor:
    """Lab f h w c to RGB f c h w in [-1, 1]."""
    rgb = np.stack([cv2.cvtColor(picture, cv2.COLOR_LAB2RGB) for picture in lab])
    return torch.from_numpy(rearrange(rgb.clip(0, 1) * 2 - 1, "f h w c -> f c h w").copy())


def _clean(mask: Mask, thin: bool, largest_hole: float) -> Mask:
    """Remove specks of one mask (h w), and close pinholes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    cleaned = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    if thin:
        _, whole = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        cleaned = (np.isin(whole, np.unique(whole[cleaned > 0])) & mask).astype(np.uint8)
    cleaned = cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, kernel)
    holes, areas = _parts(1 - cleaned)
    cleaned[np.isin(holes, np.flatnonzero(areas < largest_hole * mask.size))] = 1
    parts, areas = _parts(cleaned)
    small = np.flatnonzero(areas < SMALLEST_PART * areas[1:].max(initial=0))
    return (parts > 0) & ~np.isin(parts, small)


def _parts(mask: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
    """Labels (h w) of connected parts, 0 outside; areas by label, infinite outside."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = np.inf
    return labels, areas


def border_of(pictures: NDArray) -> NDArray:
    """Pixels (n c) along the four edges of pictures f h w c."""
    high, wide = (max(1, round(side * BORDER)) for side in pictures.shape[1:3])
    rows = [pictures[:, :high], pictures[:, -high:]]
    columns = [pictures[:, high:-high, :wide], pictures[:, high:-high, -wide:]]
    return np.concatenate([rearrange(part, "f h w c -> (f h w) c") for part in rows + columns])
