"""What in a clip's mattes makes a transfer likely to fail, in a line each."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NOTHING = 0.0005  # of the picture
FULL = 0.75  # of the picture
# Of alpha: where it is below, nothing is seen; and the least share of the picture that is so.
CLEAR, LEAST_CLEAR = 0.1, 0.01
BOX = 0.97  # of its box: what fills more is a rectangle
# Pixels of the longer side of the box around the character in all frames, and at most this share of
# the picture's side.
SMALL, SMALL_SHARE = 40, 0.3
LOST = 0.3  # of the upper quartile of areas: a frame with less has lost the character
SECOND = 0.4  # of the largest part's area
OFTEN = 0.6  # of the frames


def is_empty(masks: Tensor) -> bool:
    """Whether a clip's masks ``f h w`` show no character."""
    return float(masks.float().mean()) < NOTHING


def has_useful_alpha(alpha: Tensor | None) -> bool:
    """Whether a file's alpha ``f h w`` in [0, 1] shows a character.

    A clip that is half transparent all over does not, nor a window with a shadow or round corners:
    what is opaque of it fills a box.
    """
    if alpha is None or is_empty(alpha >= 0.5):
        return False
    clear = (alpha < CLEAR).float().mean(dim=(1, 2)).median()
    filled = [_filled(one) for one in alpha >= 0.5 if one.any()]
    return float(clear) >= LEAST_CLEAR and float(np.median(filled)) < BOX


def _filled(mask: Tensor) -> float:
    """What share of its box a mask ``h w`` fills."""
    _, _, height, width = box_of(mask[None])
    return float(mask.sum()) / (height * width)


def box_of(masks: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of the box around a character in all frames ``f h w``."""
    whole = masks.any(0)
    rows, columns = whole.any(1).nonzero().flatten(), whole.any(0).nonzero().flatten()
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def remarks(masks: Tensor, role: str) -> list[str]:
    """Warnings about a clip, by its masks ``f h w`` inside its own picture."""
    if is_empty(masks):
        return [
            f"the {role} shows nothing to move on its ground: the result may stand still; give "
            "masks of the character with --matte"
        ]
    lines = []
    areas = masks.float().sum(dim=(1, 2))
    low = areas < LOST * areas.quantile(0.75)
    if len(masks) > 1 and (low.any() or _slides_out(masks)):
        lines.append(
            f"the character of the {role} leaves or enters the frame: its motion there is guessed; "
            "cut the clip to where all of it is seen"
        )
    if _two(masks):
        lines.append(
            f"the {role} seems to show two characters: they are moved as one; mask the one that "
            "counts with --matte"
        )
    if float(masks.float().mean()) > FULL:
        lines.append(
            f"the character of the {role} fills the frame: parts outside of it cannot be moved; "
            "leave more room around it"
        )
    return lines


def is_small(masks: Tensor) -> bool:
    """Whether the character is too small for the networks to see its parts."""
    least = min(SMALL, SMALL_SHARE * max(masks.shape[1:]))
    return bool(masks.any()) and max(box_of(masks)[2:]) < least


def _slides_out(masks: Tensor) -> bool:
    """Whether the character is cut by an edge of the picture in some frames, and not in others."""
    sides = [masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]]
    height, width = masks.shape[1:]
    lengths = (width, width, height, height)
    for side, length in zip(sides, lengths, strict=True):
        share = side.float().sum(-1) / length
        if share.max() > 0.15 and share.min() == 0:
            return True
    return False


def _two(masks: Tensor) -> bool:
    """Whether most frames have two large parts."""
    return float(np.mean([_parts(one.cpu().numpy()) > 1 for one in masks])) > OFTEN


def _parts(mask: NDArray[np.bool_]) -> int:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return int((areas > SECOND * areas.max(initial=0)).sum()) if len(areas) else 0
