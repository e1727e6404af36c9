"""Where a flow looks: onto the character, along its rim as along its own, or beside it."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from skimage.morphology import skeletonize
from torch import Tensor

from anamodiff.creatures.skeleton import BONES, PARTS
from anamodiff.warp import identity_grid, warp

GRID = 64  # cells a side, of the network
RIM = 2.0  # a background's logit goes from -RIM to RIM within a cell at a rim
SPECK = 0.01  # of the largest part of the character: what is smaller, beside it, is a fault
# Shares of the picture: how far from the rim a character's flow is led to where the source is as
# deep; how much deeper than that, for the rim itself is half background; half of a limb's bone.
DEEP, INSET, BONE = 0.023, 0.002, 0.006
STEPS = 2  # of the way to that depth: its direction changes on the way
FIRST_LIMB = 3  # in `PARTS`


def without_specks(masks: Tensor) -> Tensor:
    """Masks ``b h w`` without parts by themselves that are smaller than `SPECK` of the largest."""
    kept = []
    for mask in masks.cpu().numpy().astype(np.uint8):
        _, labels, figures, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        area = figures[:, cv2.CC_STAT_AREA]
        area[0] = 0  # what is no part
        kept.append(mask & (area >= SPECK * area.max())[labels])
    return torch.from_numpy(np.stack(kept) > 0).to(masks.device)


def rim_logits(foreground: Tensor, size: tuple[int, int]) -> Tensor:
    """The background's logits ``1 h w`` as a foreground bool ``H W`` has them: 0 at its rim, `RIM`
    and -`RIM` where all of a cell is background or none is."""
    cell = max(foreground.shape) // GRID | 1
    covered = F.avg_pool2d(
        foreground[None, None].float(), cell, 1, cell // 2, count_include_pad=False
    )
    return resized(RIM * (1 - 2 * covered[0]), size)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``b h w`` at another size."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]


class Silhouette:
    """Where one source frame's character is, and how to look at it and beside it.

    Args:
        foreground: bool ``H W``.
    """

    def __init__(self, foreground: Tensor) -> None:
        self.device = foreground.device
        self.covered = foreground.cpu().numpy().astype(np.uint8)
        # Not the rim, which is half background, but what lies within: all that is a pixel away
        # from the rim, and the middle of what is too thin for that.
        eroded = cv2.erode(self.covered, np.ones((3, 3), np.uint8)) > 0
        self.core = eroded | skeletonize(self.covered > 0)

    @cached_property
    def _core_maps(self) -> Tensor:
        """Of every pixel whether it is of the core, and the nearest that is, ``1 3 H W``."""
        there = torch.from_numpy(self.core)[None, None].float()
        return torch.cat([there, _nearest(self.core)], dim=1)

    @cached_property
    def _depth_maps(self) -> Tensor:
        """Distance from the rim, negative outside, and its slope along x and y, ``1 3 H W``, in
        pixels."""
        inside, outside = (
            cv2.distanceTransform(mask, cv2.DIST_L2, 5) for mask in (self.covered, 1 - self.covered)
        )
        depth = cv2.GaussianBlur(inside - outside, (0, 0), 0.7)
        down, along = np.gradient(depth)
        return torch.from_numpy(np.stack([depth, along, down])[None])

    def onto_character(self, flow: Tensor) -> Tensor:
        """Flows ``b h w 2`` led to the character where they look beside it."""
        if not self.core.any():
            return flow
        found = warp(self._core_maps.to(flow), flow, interpolation="nearest")
        moved = rearrange(found[:, 1:], "b xy h w -> b h w xy")
        return torch.where(found[:, 0, ..., None] > 0.5, flow, moved)

    def along_rim(self, flow: Tensor, inside: Tensor) -> Tensor:
        """Flows ``b h w 2`` that look as far from the character's rim as they are from that of the
        target's, `inside`, bool ``b h w``: its outline is drawn as the source's is.

        Away from the rim they stay as they are.
        """
        height, width = self.covered.shape
        scale = max(height, width)
        depth = np.stack(
            [cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in inside.cpu().numpy().astype("u1")]
        )
        wanted = (torch.from_numpy(depth).to(flow) - 0.5) * height / flow.shape[1]
        share = (1 - wanted / (DEEP * scale)).clamp(0, 1)
        step = flow.new_tensor([2 / (width - 1), 2 / (height - 1)])
        maps = self._depth_maps.to(flow)
        for _ in range(STEPS):
            here = warp(maps, flow)
            lacking = share * (wanted + INSET * scale - here[:, 0])
            slope = here[:, 1:]
            move = lacking[:, None] * slope / slope.square().sum(1, keepdim=True).clamp_min(0.5)
            flow = flow + rearrange(move, "b xy h w -> b h w xy") * step
        return flow

    def off_character(self, size: tuple[int, int]) -> Tensor:
        """A flow ``1 h w 2`` of that size that shows only background: itself there, else the
        nearest."""
        covered = F.adaptive_max_pool2d(torch.from_numpy(self.covered)[None].float(), size)[0]
        free = cv2.dilate(covered.byte().numpy(), np.ones((3, 3), np.uint8)) == 0
        if not free.any():
            return identity_grid(*size, device=self.device)[None]
        return rearrange(_nearest(free), "b xy h w -> b h w xy").to(self.device)


def limb_lines(joints: Tensor, size: tuple[int, int]) -> Tensor:
    """The bones of limbs of poses ``b j 2`` in [-1, 1] (NaN: absent) as thin lines, bool ``b h w``.

    Bones lie within a body, so that these cells belong to it, however thin it is there.
    """
    height, width = size
    scale = joints.new_tensor([width - 1, height - 1])
    places = ((joints + 1) / 2 * scale).round().cpu().numpy()
    thick = max(1, round(2 * BONE * max(size)))
    drawn = np.zeros((len(joints), height, width), np.uint8)
    limbs = [ends for ends, part in zip(BONES, PARTS, strict=True) if part >= FIRST_LIMB]
    for canvas, pose in zip(drawn, places, strict=True):
        for start, end in limbs:
            if not np.isnan(pose[[start, end]]).any():
                ends = (tuple(int(x) for x in pose[joint]) for joint in (start, end))
                cv2.line(canvas, *ends, 1, thick)
    return torch.from_numpy(drawn > 0)


def _nearest(wanted: np.ndarray) -> Tensor:
    """Of every cell the place of the nearest wanted one, ``1 2 h w`` in [-1, 1]."""
    _, labels = cv2.distanceTransformWithLabels(
        (~wanted).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.flatnonzero(wanted)
    of = np.zeros(labels.max() + 1, np.int64)
    of[labels.ravel()[places]] = places
    grid = identity_grid(*wanted.shape).view(-1, 2)[torch.from_numpy(of[labels])]
    return rearrange(grid, "h w xy -> 1 xy h w")
