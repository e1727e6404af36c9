"""What the flow from joints is trained on, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.lofnet.bone_motion import bone_motions
from anamodiff.lofnet.limb_flow import LimbFlow, LimbMotion
from anamodiff.warp import identity_grid, warp

from .batches import Batch, flow_error, smooth_l1
from .pairs import GRID

WEIGHTS = {
    "ground": 1.0, "bones": 0.4, "seen": 10.0, "hidden": 1.0, "look": 1.0, "visible": 0.2,
}  # fmt: skip
NEAR_ENOUGH = 0.04  # of [-1, 1]: a bone whose motion is off by as much is still a good one


def terms(motion: LimbMotion, batch: Batch) -> dict[str, Tensor]:
    """The loss's parts.

    ground: cross-entropy of the background; bones: of the bone that moves a cell best; seen and
    hidden: distance of the flow to the truth; look: of the warped source to the target, where the
    character is; visible: cross-entropy of what the source shows.
    """
    cover = batch.target[:, 3]
    seen, true = batch.seen.float(), batch.true.float()
    looks = warp(batch.source, motion.character)
    off = ((looks - batch.target).abs().mean(1) * cover).sum() / cover.sum().clamp_min(1)
    visible = F.binary_cross_entropy_with_logits(motion.visible, seen, reduction="none")
    return {
        "ground": F.binary_cross_entropy_with_logits(motion.ground, 1 - cover),
        "bones": bone_loss(motion.mask, batch),
        "seen": smooth_l1(motion.character, batch.flow, seen),
        "hidden": smooth_l1(motion.character, batch.flow, true * (1 - seen)),
        "look": off,
        "visible": (visible * true).sum() / true.sum().clamp_min(1),
    }


def bone_loss(mask: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the bones' weights to those that the true flow asks for."""
    grid = identity_grid(GRID, GRID, device=mask.device)
    motions = bone_motions(batch.joints_source, batch.joints_target)
    off = (motions.flows(grid) - batch.flow[:, None]).square().sum(-1)  # b n h w
    off = torch.where(motions.known[..., None, None], off, 9.0)
    wanted = (-off / (2 * NEAR_ENOUGH**2)).softmax(1)
    counts = batch.seen & (off.amin(1) < (2 * NEAR_ENOUGH) ** 2)
    share = mask[:, 1:] / mask[:, 1:].sum(1, keepdim=True).clamp_min(1e-6)
    loss = -(wanted * share.clamp_min(1e-5).log()).sum(1)
    return (loss * counts).sum() / counts.sum().clamp_min(1)


def total(parts: dict[str, Tensor]) -> Tensor:
    """The weighted sum of `terms`."""
    return sum(WEIGHTS[name] * part for name, part in parts.items())


@dataclass(frozen=True)
class Scores:
    """Flow error (pixels of 128) where the source shows the surface, IoU of the warped character
    with the target's, mean difference of looks in it (levels of 255), and share of right answers
    on visibility."""

    flow: float
    iou: float
    look: float
    visible: float

    def line(self) -> str:
        """All figures in one line."""
        return (
            f"flow error {self.flow:.2f} px of 128, IoU {self.iou:.3f}, look {self.look:.1f} of "
            f"255, visibility right {self.visible:.1%}"
        )


@torch.no_grad()
def measure(net: LimbFlow, batches: list[Batch]) -> Scores:
    """Scores on held-out pairs; the background is shown where the network finds it."""
    rows = []
    for batch in batches:
        motion = net(batch.source, batch.joints_source, batch.joints_target)
        shown = (motion.ground < 0).float()
        moved = warp(batch.source, motion.character)
        found = (moved[:, 3] > 0.5) & (shown > 0.5)
        cover = batch.target[:, 3] > 0.5
        iou = (found & cover).sum((1, 2)) / (found | cover).sum((1, 2)).clamp_min(1)
        inside = cover[:, None]
        look = ((moved - batch.target)[:, :3].abs() * inside).sum() / inside.sum() / 3
        right = ((motion.visible > 0) == batch.seen)[batch.true].float().mean()
        error = flow_error(motion.character, batch.flow, batch.seen.float())
        rows.append(torch.stack([error * 64, iou.mean(), look * 127.5, right]))
    return Scores(*torch.stack(rows).mean(0).tolist())
