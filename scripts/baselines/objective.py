"""The rivals' losses, as published but for what is said, and their scores on clips kept out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.inpainting import Painted
from anamodiff.baselines.tps import TPSMotion
from anamodiff.baselines.tps_flow import OccludedFlow
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.training.losses import PlaneTransform, crowding, equivariance_errors

from .clips import sent

Rival = TPSMotion | FOMM
# Weights of the published losses: perceptual, equivariance, warp, background.
WEIGHT = 10.0
#: Of the overlap of FOMM's points; ours, for short runs: points part slowly.
SEPARATION = 1.0
#: By how much a pixel changes that has moved, in [0, 1].
CHANGED = 0.1


def tps_terms(
    model: TPSMotion, source: Tensor, driving: Tensor, perceptual: nn.Module, dropout: float
) -> dict[str, Tensor]:
    """TPS Motion's losses of pairs ``b 3 s s`` in [0, 1] (section 3.5), weighted."""
    own, other, deformed, transform = _points(model, source, driving)
    background, terms = None, {}
    if model.bg_predictor is not None:
        there = model.bg_predictor(source, driving)
        back = model.bg_predictor(driving, source)
        eye = torch.eye(3, device=there.device)
        terms["background"] = WEIGHT * (there @ back - eye).abs().mean()
        background = there
    moved = model.dense_motion_network(
        source, other.value, own.value, background=background, dropout=dropout
    )
    painted = model.inpainting_network(source, moved)
    value, _ = _equivariance(other, deformed, transform)
    return terms | {
        "perceptual": WEIGHT * perceptual(painted.frames, driving),
        "equivariance": WEIGHT * value,
        "warp": WEIGHT * warp_error(model, painted, moved, driving),
    }


def warp_error(model: TPSMotion, painted: Painted, flow: OccludedFlow, driving: Tensor) -> Tensor:
    """Moved features of the source against the driving frame's own; teaches the flow alone."""
    network = model.inpainting_network
    masks = [mask.detach() for mask in flow.occlusions]
    still = OccludedFlow(flow.flow, flow.masks, masks)
    moved = network.moved([x.detach() for x in painted.features], still)
    with torch.no_grad():
        wanted = [x * m for x, m in zip(reversed(network.encode(driving)), masks, strict=True)]
    errors = [F.l1_loss(a.float(), b.float()) for a, b in zip(moved, wanted, strict=True)]
    return torch.stack(errors).sum()


def fomm_terms(
    model: FOMM, source: Tensor, driving: Tensor, perceptual: nn.Module
) -> dict[str, Tensor]:
    """FOMM's losses of pairs ``b 3 s s`` in [0, 1] (section 3.3), weighted, without its GAN."""
    own, other, deformed, transform = _points(model, source, driving)
    painted = model.paint(source, other, own)
    value, jacobian = _equivariance(other, deformed, transform)
    return {
        "perceptual": WEIGHT * perceptual(painted.frames, driving),
        "equivariance": WEIGHT * value,
        "jacobians": WEIGHT * jacobian,
        "crowding": SEPARATION * crowding(other),
    }


def _points(
    model: Rival, source: Tensor, driving: Tensor
) -> tuple[KeyPoints, KeyPoints, KeyPoints, PlaneTransform]:
    """Points of the source, of the driving frames, and of those deformed, with the transform."""
    drawn = PlaneTransform.random(len(driving))
    parts = (drawn.affine, drawn.centres, drawn.bends)
    transform = PlaneTransform(*(sent(part, driving.device) for part in parts))
    with torch.autocast(driving.device.type, enabled=False):
        bent = transform.frames(driving)
    # One pass: batch norm takes its statistics over plain and deformed frames together.
    points = model.points(torch.cat([source, driving, bent]))
    count = len(source)
    own, other, deformed = (points[i * count : (i + 1) * count] for i in range(3))
    return own, other, deformed, transform


def _equivariance(
    points: KeyPoints, deformed: KeyPoints, transform: PlaneTransform
) -> tuple[Tensor, Tensor]:
    # Coordinates in 16 bits are off by quarters of a pixel.
    with torch.autocast(points.value.device.type, enabled=False):
        return equivariance_errors(points, deformed, transform)


@dataclass(frozen=True)
class Scores:
    """Mean absolute errors in [0, 1] of reconstructions of clips kept out.

    Attributes:
        error: of the result.
        moved: of the source, only moved.
        still: of the source itself.
        error_there, moved_there, still_there: of these, where source and driving frame differ by
            more than `CHANGED`. A rival that does not move has as much there as the source itself;
            elsewhere, blur counts.
    """

    error: float
    moved: float
    still: float
    error_there: float
    moved_there: float
    still_there: float

    def line(self) -> str:
        return (
            f"error {self.error:.4f}, only moved {self.moved:.4f}, still {self.still:.4f}; where "
            f"frames differ: error {self.error_there:.3f}, only moved {self.moved_there:.3f}, "
            f"still {self.still_there:.3f}"
        )


@torch.no_grad()
def measure(model: Rival, batches: list[Tensor]) -> Scores:
    """Scores on batches of sources, then driving frames ``2b 3 s s``."""
    sums, counts = torch.zeros(2, 3), torch.zeros(2, 1)
    for batch in batches:
        source, driving = batch.chunk(2)
        painted = reconstruct(model, source, driving)
        there = (source - driving).abs().mean(1) > CHANGED
        errors = torch.stack([
            (frames - driving).abs().mean(1)
            for frames in (painted.frames, painted.deformed, source)
        ])  # fmt: skip
        sums += torch.stack([errors.flatten(1).sum(1), errors[:, there].sum(1)]).cpu()
        counts += torch.tensor([[there.numel()], [int(there.sum())]])
    return Scores(*(sums / counts.clamp_min(1)).flatten().tolist())


@torch.no_grad()
def reconstruct(model: Rival, source: Tensor, driving: Tensor) -> Painted:
    """The driving frames from sources of the same clips."""
    return model.paint(source, model.points(driving), model.points(source))
