"""Skeletons drawn on frames."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from anamodiff.creatures.skeleton import BONES, PARTS
from anamodiff.video.letterbox import from_pixels, to_pixels
from anamodiff.visual.sheets import NOTEBOOK_CELL, enlarge, few

# RGB of each part: head and neck, trunk, tail, near and far fore limb, near and far hind limb.
COLOURS = (
    (40, 150, 60), (20, 110, 40), (120, 170, 40), (220, 50, 40), (240, 160, 150),
    (40, 80, 220), (150, 180, 245),
)  # fmt: skip
FAR = (4, 6)
SHIFT = 4  # fractional bits of OpenCV's coordinates


def skeleton_row(joints: Tensor, frames: Tensor | None = None) -> Tensor:
    """A row of a notebook's sheet: joints ``f 22 2`` on their frames ``f 3 h w``, else on white."""
    joints = few(joints)
    if frames is None:
        paper = torch.ones(1, 3, NOTEBOOK_CELL, NOTEBOOK_CELL)
    else:
        paper = enlarge(few(frames), NOTEBOOK_CELL)
    return draw_skeletons(paper, joints)


def draw_skeletons(frames: Tensor, joints: Tensor) -> Tensor:
    """Draw bones, far limbs first; fore limbs red, hind ones blue, far ones pale.

    Args:
        frames: ``f 3 h w`` in [-1, 1], or one for all.
        joints: ``f 22 2`` in [-1, 1], or one for all; bones of which an end is NaN are left out.

    Returns:
        Frames with drawings, in [-1, 1].
    """
    count = max(len(frames), len(joints))
    height, width = frames.shape[-2:]
    pictures = np.ascontiguousarray(to_pixels(frames.expand(count, -1, -1, -1)))
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    places = (joints.detach().float().cpu().expand(count, -1, -1).numpy() + 1) * half
    thick = max(1, round(0.012 * min(height, width)))
    order = sorted(range(len(BONES)), key=lambda bone: PARTS[bone] not in FAR)
    for picture, row in zip(pictures, places, strict=True):
        for bone in order:
            ends = row[list(BONES[bone])]
            if (np.abs(ends) < 4 * max(height, width)).all():  # false for NaN
                start, end = (tuple(int(v) for v in np.round(e * (1 << SHIFT))) for e in ends)
                cv2.line(picture, start, end, COLOURS[PARTS[bone]], thick, cv2.LINE_AA, SHIFT)
    return from_pixels(pictures)
