"""Motion by skeletons: joints of both clips, retargeted, and the flow to the poses that result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.lofnet.joints import JointDetector, Joints
from anamodiff.lofnet.limb_flow import GRID, LimbFlow, background_flow
from anamodiff.lofnet.retarget import Retargeter
from anamodiff.video.foreground import foreground_mask

NAMES = ("joint_detector", "retargeter", "limb_flow")


@dataclass(frozen=True)
class SkeletalNetworks:
    """The three networks; one set serves every backbone, for they see pictures."""

    detector: JointDetector
    retargeter: Retargeter
    limb_flow: LimbFlow

    @classmethod
    def load(cls, folder: Path) -> SkeletalNetworks:
        """From a folder with `joint_detector`, `retargeter` and `limb_flow`."""
        detector, retargeter, limb_flow = (folder / name for name in NAMES)
        return cls(
            JointDetector.load(detector), Retargeter.load(retargeter), LimbFlow.load(limb_flow)
        )


@dataclass(frozen=True)
class SkeletalMotion:
    """A driving motion on the source's skeleton.

    Attributes:
        flow: ``f h w 2``, backward, each frame from its own source frame.
        visible: ``f h w`` in [0, 1], whether that source frame shows what belongs there; 1 on the
            background.
        frames: ``f``, the source frame that each is warped from.
        source, driving: joints found, of all frames.
        target: joints ``f j 2`` in [-1, 1], NaN where the source has none.
    """

    flow: Tensor
    visible: Tensor
    frames: Tensor
    source: Joints
    driving: Joints
    target: Tensor


def confident(source: Joints, driving: Joints, least: float) -> bool:
    """Whether both clips show a skeleton that can be relied on."""
    return min(source.certainty(), driving.certainty()) >= least


@torch.no_grad()
def skeletal_motion(
    networks: SkeletalNetworks,
    source: Tensor,
    driving: Tensor,
    found: tuple[Joints, Joints],
    *,
    frames: Tensor | None = None,
    size: tuple[int, int] = (GRID, GRID),
) -> SkeletalMotion:
    """The flow that moves the source as the driving clip moves (sections 3.2 and 3.3).

    Args:
        source, driving: frames ``s 3 H W`` and ``f 3 H W`` in [-1, 1].
        found: their joints.
        frames: source frames to choose among, by number; None for all of them.
        size: height and width of the flow.
    """
    own, other = found
    target = networks.retargeter.retarget(
        own.place, own.trust(), other.place, other.trust()
    ).place
    allowed = torch.arange(len(source)) if frames is None else frames
    chosen = allowed[nearest_poses(target, own.place[allowed])]
    pictures = with_coverage(source)
    place = torch.where(target.isnan().any(-1).all(0)[:, None], torch.nan, own.place)
    motion = networks.limb_flow(pictures[chosen], place[chosen], target)
    beside = torch.cat([background_flow(picture[3] > 0.5) for picture in pictures])
    flow = motion.flow(beside[chosen], *size)
    visible = torch.where(motion.ground < 0, motion.visible.sigmoid(), 1.0)
    visible = F.interpolate(visible[:, None], size, mode="bilinear", align_corners=True)[:, 0]
    return SkeletalMotion(flow, visible, chosen, own, other, target)


def nearest_poses(target: Tensor, poses: Tensor) -> Tensor:
    """For every target pose ``f j 2`` the number ``f`` of the nearest of the poses ``s j 2``."""
    apart = (target[:, None] - poses[None]).square().sum(-1)
    return torch.nan_to_num(apart).mean(-1).argmin(1)


def with_coverage(frames: Tensor) -> Tensor:
    """Frames ``f 3 h w`` on a plain ground and their foregrounds, ``f 4 64 64``."""
    cover = foreground_mask(frames)[:, None].to(frames)
    whole = torch.cat([frames, cover], dim=1)
    return F.interpolate(whole, (GRID, GRID), mode="bilinear", antialias=True, align_corners=False)
