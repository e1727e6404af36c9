"""Motion by skeletons: joints of both clips, retargeted, and the flow to the poses that result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.lofnet.gaps import without_gaps
from anamodiff.lofnet.joints import JointDetector, Joints
from anamodiff.lofnet.limb_flow import LimbFlow
from anamodiff.lofnet.motion_scale import scale_poses
from anamodiff.lofnet.retarget import Retargeter
from anamodiff.lofnet.silhouette import GRID
from anamodiff.options import AdaptationOptions, PoseStart
from anamodiff.video.foreground import foreground_mask
from anamodiff.visual.flow import SEEN_TITLE, flow_rows, grey_picture
from anamodiff.visual.sheets import few, sheet_jpeg
from anamodiff.visual.skeleton import skeleton_row

FOLDER = "checkpoints/motion"
DETECTOR, RETARGETER, LIMB_FLOW = "joint_detector", "retargeter", "limb_flow"
#: Least mean confidence of the joints of either clip for `adaptation.pose=auto` to use skeletons.
CERTAIN = 0.35
# The less sure the joints, the less like anything learnt the animals are: the motion then follows a
# plain rule by up to `RULE`, all of it from `FOREIGN` on, none from `FAMILIAR` on.
RULE, FOREIGN, FAMILIAR = 0.25, 0.7, 0.9
# Of a joint that begins as far from the source's own as `NEAR` (in [-1, 1]), half of `OWN` of the
# way is an error of retargeting, as far as it can be told; of one that begins there, all of `OWN`.
OWN, NEAR = 0.6, 0.08
# Characters of one build that begin in one pose move by the same displacements: the share `COPIED`
# up to `ALIKE`, nothing from `UNLIKE` on (mean distance of joints, in the body's own extent), and
# half of that where retargeting begins `AWAY` from the source's own pose (in [-1, 1]).
COPIED, ALIKE, UNLIKE, AWAY = 0.9, 0.17, 0.26, 0.065
SWITCH = 0.03  # of [-1, 1]: a source frame is left only for one whose pose is so much nearer


class SkeletalNetworks(nn.Module):
    """The networks of motion by skeletons; they see pictures, so one set serves every backbone.

    Args:
        detector: finds joints on frames.
        retargeter: gives the source's joints in the driving motion.
        limb_flow: gives the flow between two poses.
    """

    def __init__(
        self, detector: JointDetector, retargeter: Retargeter, limb_flow: LimbFlow
    ) -> None:
        super().__init__()
        self.detector, self.retargeter, self.limb_flow = detector, retargeter, limb_flow

    @classmethod
    def load(cls, folder: Path) -> SkeletalNetworks:
        """From a folder with weights of all three; AnaMoDiffError where some are missing."""
        return cls(
            JointDetector.load(folder / DETECTOR),
            Retargeter.load(folder / RETARGETER),
            LimbFlow.load(folder / LIMB_FLOW),
        ).eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def detect(self, frames: Tensor) -> Joints:
        """Joints of a clip's frames ``f 3 h w`` in [-1, 1]."""
        return self.detector.detect(frames.to(self.device))


@dataclass(frozen=True)
class Poses:
    """Joints in the order of `JOINTS`, (x, y) in [-1, 1]: of the source ``s j 2`` and the driving
    clip ``f j 2`` as they were found, and of the result ``f j 2``; NaN where there is none."""

    source: Tensor
    driving: Tensor
    target: Tensor


@dataclass(frozen=True)
class SkeletalMotion:
    """A driving motion on the source's skeleton.

    Attributes:
        flow: ``f h w 2``, backward, each frame from its own source frame.
        mask: ``f n+1 h w``, softmax weights of the background (first) and of each bone.
        visible: ``f h w`` in [0, 1], whether that source frame shows what belongs there; 1 on the
            background.
        frames: ``f``, the source frame that each is warped from.
        poses: of both clips and of the result.
    """

    flow: Tensor
    mask: Tensor
    visible: Tensor
    frames: Tensor
    poses: Poses

    def _repr_jpeg_(self) -> bytes:
        """The flow as colours and as a warped grid, and what it comes from, for notebooks."""
        return sheet_jpeg(
            [
                *flow_rows(self.flow),
                (SEEN_TITLE, grey_picture(few(self.visible))),
                ("retargeted joints", skeleton_row(self.poses.target)),
            ]
        )


def certainty(source: Joints, driving: Joints) -> float:
    """Confidence of the clip whose skeleton is less sure, in [0, 1]."""
    return min(source.certainty(), driving.certainty())


@torch.no_grad()
def skeletal_motion(
    networks: SkeletalNetworks,
    source: Tensor,
    found: tuple[Joints, Joints],
    options: AdaptationOptions,
    *,
    frames: Tensor,
    size: tuple[int, int] = (GRID, GRID),
    grid: tuple[int, int] | None = None,
    foreground: Tensor | None = None,
) -> SkeletalMotion:
    """The flow that moves the source as the driving clip moves (sections 3.2 and 3.3).

    Args:
        source: frames ``s 3 H W`` in [-1, 1].
        found: joints of the source's and of the driving clip's frames.
        frames: numbers of the source frames to warp; the first of them opens the clip.
        size: height and width of the flow.
        grid: those of masks and visibility; None: the flow's.
        foreground: where the source's character is, ``s H W``, bool; None finds it by colour.
    """
    own, other = found
    target = networks.retargeter.retarget(
        own.place, own.trust(), other.place, other.trust(), rule=rule_share(certainty(own, other))
    ).place
    target = scale_poses(target, options.motion_scale)
    present = ~target.isnan().any(-1).all(0)
    poses = torch.where(present[:, None], own.place, torch.nan)
    first = poses[frames[:1]]
    apart = first - target[:1]
    target = target + start_offset(apart, options.start)
    if options.start != "absolute":
        far = 0.0 if options.start == "relative" else float(apart.norm(dim=-1).nanmean())
        whole = torch.where((other.trust() > 0).any(0)[:, None], other.place, torch.nan)
        driving = scale_poses(whole, options.motion_scale)
        target = moved_alike(first, driving, target, far)
    if options.sources == "start":
        frames = frames[:1]
    chosen = frames[nearest_poses(target, poses[frames]).cpu()]
    foregrounds = foreground_mask(source, thin=True) if foreground is None else foreground
    foregrounds = without_gaps(foregrounds.cpu(), source, poses)
    pictures = with_coverage(source, foregrounds)
    motion = networks.limb_flow(pictures[chosen].to(target), poses[chosen], target)
    used = chosen.unique()
    still = networks.limb_flow(pictures[used].to(target), poses[used], poses[used])
    visible = torch.where(motion.ground < 0, motion.visible.sigmoid(), 1.0)[:, None]
    visible, mask = (
        F.interpolate(x, grid or size, mode="bilinear", align_corners=True)
        for x in (visible, motion.mask)
    )
    flow = motion.flow(foregrounds, chosen, *size, own=still, joints=target)
    place = Poses(*(x.cpu() for x in (poses, other.known(), target)))
    return SkeletalMotion(flow, mask, visible[:, 0].cpu(), chosen, place)


def rule_share(sure: float) -> float:
    """How much of the motion follows a rule, by how sure the joints are, both in [0, 1]."""
    return RULE * fading(sure, FOREIGN, FAMILIAR)


def start_offset(apart: Tensor, start: PoseStart) -> Tensor:
    """What is added to a joint in all frames, ``1 j 2``.

    Args:
        apart: from the result's first pose to the source's own, ``1 j 2``.
    """
    if start == "auto":
        return OWN / (1 + (apart.norm(dim=-1, keepdim=True) / NEAR) ** 4) * apart
    return apart if start == "relative" else torch.zeros_like(apart)


def moved_alike(own: Tensor, driving: Tensor, target: Tensor, apart: float) -> Tensor:
    """Target joints ``f j 2``, led to the driver's displacements where both characters are alike.

    Two of one build that begin in one pose need no retargeting: each joint is displaced as the
    driver's, in the ratio of the sizes. That errs less than any network on animals that were never
    seen, and is wrong as soon as builds or poses differ.

    Args:
        own: the source's own first pose, ``1 j 2``.
        driving: joints of the driving clip, ``f j 2``.
        target: what retargeting gave, ``f j 2``.
        apart: how far its first pose is from `own`, in [-1, 1].
    """
    both = ~(own[0].isnan() | driving[0].isnan()).any(-1)
    if int(both.sum()) < 3:
        return target
    (shape, size), (other, its_size) = (_shape(pose[0, both]) for pose in (own, driving))
    mirrored = other * other.new_tensor([-1.0, 1.0])
    unlike, unlike_mirrored = ((shape - o).norm(dim=-1).mean() for o in (other, mirrored))
    side = -1.0 if unlike_mirrored < unlike else 1.0
    unlike = float(torch.minimum(unlike, unlike_mirrored))
    share = COPIED * fading(unlike, ALIKE, UNLIKE) / (1 + (apart / AWAY) ** 4)
    steps = (driving - driving[:1]) * driving.new_tensor([side, 1.0])
    moved = own + size / its_size * steps
    return torch.where(moved.isnan(), target, torch.lerp(target, moved, share))


def fading(value: float, whole: float, nothing: float) -> float:
    """1 up to `whole`, 0 from `nothing` on, and evenly less in between."""
    return min(1.0, max(0.0, (nothing - value) / (nothing - whole)))


def _shape(pose: Tensor) -> tuple[Tensor, Tensor]:
    """A pose ``n 2`` about its middle, in its own extent, and that extent."""
    pose = pose - pose.mean(0)
    size = pose.square().sum(-1).mean().sqrt().clamp_min(1e-6)
    return pose / size, size


def nearest_poses(target: Tensor, poses: Tensor, margin: float = SWITCH) -> Tensor:
    """For every target pose ``f j 2`` the number ``f`` of the nearest of the poses ``s j 2``.

    The one before, and the first of them at the start, is kept where another is not nearer by the
    `margin`, lest the picture flicker, or turn on what the ground's colour does to joints.
    """
    apart = torch.nan_to_num((target[:, None] - poses[None]).norm(dim=-1)).mean(-1)  # f s
    numbers, number = [], 0
    for row in apart.cpu():
        best = int(row.argmin())
        if row[best] + margin <= row[number]:
            number = best
        numbers.append(number)
    return torch.tensor(numbers)


def with_coverage(frames: Tensor, foregrounds: Tensor) -> Tensor:
    """Frames ``f 3 h w`` and foregrounds ``f h w`` as the network sees them, ``f 4 64 64``."""
    frames = frames.detach().cpu().float()
    whole = torch.cat([frames, foregrounds[:, None].to(frames)], dim=1)
    return F.interpolate(whole, (GRID, GRID), mode="bilinear", antialias=True, align_corners=False)
