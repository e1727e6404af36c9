"""The source warped along the whole driving motion (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.joints import Joints
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.panels import inside_panels
from anamodiff.lofnet.point_motion import point_motion
from anamodiff.lofnet.skeletal import (
    CERTAIN,
    Poses,
    SkeletalMotion,
    SkeletalNetworks,
    certainty,
    skeletal_motion,
)
from anamodiff.lofnet.start import check_start
from anamodiff.options import AdaptationOptions, StartFrame
from anamodiff.visual.sheets import NOTEBOOK_CELL, sheet_jpeg
from anamodiff.warp import finer, resize_flow, thin_out_flow, warp, warp_without_jags

logger = logging.getLogger(__name__)

#: Frames a batch: more would take memory, and save no time.
BATCH = 16
#: A cell that the source shows with less certainty than this counts as unseen: about two in a
#: hundred cells of a character, of which two in five truly are (held-out animals; base rate 3 %).
SEEN = 0.7


@dataclass(frozen=True)
class WarpedIntermediate:
    """`Z_WI`, the source's latent warped along the driving motion, with what it was computed from.

    All that tuning and generation need of a pair of clips. Frames are RGB in [-1, 1] on the
    backbone's square canvas, latents scaled.

    Attributes:
        source: frames of the source, ``s c H W``.
        driving: frames of the driving clip, ``f c H W``.
        latents: `Z_S`, those of the source's frames, ``s c h w``.
        warped: `Z_WI`, ``f c h w``.
        flow: ``f h w 2``, backward sampling grids.
        start: index of the source frame that the motion starts from.
        driving_points: key points of the `f` driving frames; None where skeletons carry the motion.
        source_points: key points of the start frame, a batch of one; None if a run folder has none.
        adapted_points: the driving points on the source's shape, likewise.
        mask: ``f m h w``, softmax weights of the background (first) and of each motion, likewise.
        frames: ``f``, the source frame that each frame is warped from; None: all from `start`.
        poses: joints of both clips and of the result, where skeletons carry the motion.
        visible: ``f h w`` in [0, 1], whether the source frame shows what belongs there, likewise.
        foreground: ``s H W``, bool, where the source's character is; None: where it is not white.
    """

    source: Tensor
    driving: Tensor
    latents: Tensor
    warped: Tensor
    flow: Tensor
    start: int
    driving_points: KeyPoints | None = None
    source_points: KeyPoints | None = None
    adapted_points: KeyPoints | None = None
    mask: Tensor | None = None
    frames: Tensor | None = None
    poses: Poses | None = None
    visible: Tensor | None = None
    foreground: Tensor | None = None

    @property
    def source_frames(self) -> Tensor:
        """The source frame ``f`` that each frame is warped from."""
        if self.frames is not None:
            return self.frames
        return torch.full((len(self.flow),), self.start)

    @property
    def unseen(self) -> Tensor | None:
        """Cells ``f h w`` of the latents that the source does not show; None where it shows all."""
        if self.visible is None:
            return None
        cells = self.visible < SEEN
        return cells if cells.any() else None

    def _repr_jpeg_(self) -> bytes:
        """Both clips, what was found on them and the flow, for notebooks."""
        return sheet_jpeg(list(inside_panels(self, side=NOTEBOOK_CELL).items()))


@torch.no_grad()
def animate(
    lofnet: LOFNet,
    source: Tensor,
    latents: Tensor,
    driving: Tensor,
    *,
    start: StartFrame = "first",
    adaptation: AdaptationOptions | None = None,
    flow_latents: Callable[[Tensor], Tensor | None] | None = None,
    networks: SkeletalNetworks | None = None,
    encode: Callable[[Tensor], Tensor] | None = None,
    foreground: Tensor | None = None,
    found: Callable[[], tuple[Joints, Joints]] | None = None,
) -> WarpedIntermediate:
    """Warp the source's latents along a driving clip.

    Args:
        source: frames ``s c H W`` in [-1, 1].
        latents: of the same frames, ``s c h w``, on the network's device.
        flow_latents: gives, of frames ``n c H W``, the latents ``n c h' w'`` that the network was
            trained for, or None where `latents` are such. Its flow and masks are resized to h w.
            Only key points need it.
        driving: frames ``f c H W`` in [-1, 1].
        start: source frame to start from: `first`, `auto` (see `nearest_start`) or its index.
        adaptation: how the driving motion is moved onto the source; None takes the driving clip's
            key points as they are, for a clip that drives itself.
        networks: those of motion by skeletons; None always takes key points.
        encode: from frames to latents. With it skeletons and learnt points warp the source's
            pictures, whose edges latents are too coarse for, and their latents are what is
            returned; the paper's rules, and None, warp latents.
        foreground: where the source's character is, ``s H W``, bool; None finds it by colour.
        found: gives the joints of both clips, where they may be known already.

    Raises:
        AnaMoDiffError: there is no such start frame, or skeletons are asked for without `networks`.
    """
    check_start(start, len(source))
    if adaptation is not None:
        grid = latents.shape[-2], latents.shape[-1]
        size = grid if encode is None else finer(source.shape[-2], source.shape[-1])
        motion = _by_skeletons(
            networks, source, driving, start, adaptation, size, grid, foreground, found
        )
        if motion is not None:
            if encode is None:
                warped = warp(latents[motion.frames], motion.flow.to(latents.device))
            else:
                warped = encode(_warp_pictures(source, motion.frames, motion.flow))
            return WarpedIntermediate(
                source, driving, latents, warped,
                thin_out_flow(motion.flow, *grid), int(motion.frames[0]),
                mask=motion.mask, frames=motion.frames, poses=motion.poses, visible=motion.visible,
                foreground=foreground,
            )  # fmt: skip
    motion = point_motion(lofnet, source, latents, driving, start, adaptation, flow_latents)
    flow, one = motion.flow, len(motion.frames.unique()) == 1
    if encode is None or adaptation is None or adaptation.scale != "learnt":
        warped = warp(latents[motion.frames], flow)
    else:
        fine = resize_flow(flow, *finer(source.shape[-2], source.shape[-1]))
        warped = encode(_warp_pictures(source, motion.frames, fine))
    return WarpedIntermediate(
        source, driving, latents, warped, flow, int(motion.frames[0]), motion.driving,
        motion.source, motion.adapted, motion.mask, frames=None if one else motion.frames,
        foreground=foreground,
    )  # fmt: skip


def _warp_pictures(source: Tensor, frames: Tensor, flow: Tensor) -> Tensor:
    """The source's frames ``s c H W``, those of the numbers `frames`, along flows on the `finer`
    grid."""
    parts = zip(frames.split(BATCH), flow.split(BATCH), strict=True)
    return torch.cat([warp_without_jags(source[of], flow.to(source.device)) for of, flow in parts])


def _by_skeletons(
    networks: SkeletalNetworks | None, source: Tensor, driving: Tensor, start: StartFrame,
    adaptation: AdaptationOptions, size: tuple[int, int], grid: tuple[int, int],
    foreground: Tensor | None, given: Callable[[], tuple[Joints, Joints]] | None,
) -> SkeletalMotion | None:  # fmt: skip
    """The motion of skeletons; None where key points are to carry it."""
    if adaptation.pose == "points" or (networks is None and adaptation.pose == "auto"):
        return None
    if networks is None:
        raise AnaMoDiffError(
            "expected adaptation.pose auto or points with a LOFNet of one's own, got skeleton: "
            "leave out --lofnet"
        )
    found = given() if given else (networks.detect(source), networks.detect(driving))
    sure = certainty(*found)
    if adaptation.pose == "auto" and sure < CERTAIN:
        logger.info("motion: key points (skeletons are found with a certainty of %.2f)", sure)
        return None
    logger.info("motion: skeletons (found with a certainty of %.2f)", sure)
    frames = torch.arange(len(source)) if start in ("first", "auto") else torch.tensor([start])
    return skeletal_motion(
        networks, source, found, adaptation, frames=frames, size=size, grid=grid,
        foreground=foreground,
    )  # fmt: skip
