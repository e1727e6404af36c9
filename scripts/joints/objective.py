"""What the joint detector is trained on, and how its answers are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from anamodiff.creatures import ABSENT, HIDDEN, JOINTS, SEEN
from anamodiff.lofnet.heat import mean_place, probabilities
from anamodiff.lofnet.joints import JointDetector, JointMaps, Joints, read_joints
from anamodiff.warp import identity_grid

NEAR = [i for i, name in enumerate(JOINTS) if name.startswith("near")]
FAR = [i for i, name in enumerate(JOINTS) if name.startswith("far")]
SPREAD = 1.3  # cells: the width of the wanted peak
HIDDEN_WEIGHT = 0.6
IGNORED = -100
# Weights of the terms.
WEIGHTS = {
    "heat": 0.25, "place": 3.0, "order": 0.8, "limbs": 0.6, "presence": 0.15, "confidence": 0.1,
}  # fmt: skip
LIMB_WIDTH = 0.032  # half the width of a limb in `limb_map`, in [-1, 1]
APART = 1 / 12  # of [-1, 1]: a near and a far joint so far from each other can be told apart
SURE_WITHIN = 1 / 16  # of [-1, 1]: a thirty-second of the picture


@dataclass(frozen=True)
class Batch:
    """Samples as a detector is shown them.

    Attributes:
        pictures: uint8 ``b h w 3``, or ``b 3 h w`` in [-1, 1].
        joints: ``b j 2`` in [-1, 1], NaN where absent.
        visibility: ``b j``.
        learnt: bool ``b``; from the others only confidence is learnt. None: all are.
        judged: ``b``, how much each counts for confidence. None: all the same.
    """

    pictures: Tensor
    joints: Tensor
    visibility: Tensor
    learnt: Tensor | None = None
    judged: Tensor | None = None

    @classmethod
    def of(cls, samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Batch:
        """From pictures, joints and visibility of single samples."""
        pictures, joints, visibility = (np.stack(parts) for parts in zip(*samples, strict=True))
        return cls(
            torch.from_numpy(pictures), torch.from_numpy(joints),
            torch.from_numpy(visibility.astype(np.int64)),
        )  # fmt: skip

    def frames(self) -> Tensor:
        """``b 3 h w`` in [-1, 1], channels last in memory."""
        if self.pictures.dtype != torch.uint8:
            return self.pictures.contiguous(memory_format=torch.channels_last)
        return rearrange(self.pictures, "b h w c -> b c h w").float() / 127.5 - 1

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        return Batch(*(x if x is None else x.to(device) for x in self.__dict__.values()))


def wanted_heat(joints: Tensor, size: int) -> Tensor:
    """Gaussian peaks ``b j size size`` that sum to one each, at joints ``b j 2``."""
    grid = identity_grid(size, size, device=joints.device)
    sigma = SPREAD * 2 / (size - 1)
    x = torch.exp(-((grid[0, :, 0] - joints[..., :1]) ** 2) / (2 * sigma**2))
    y = torch.exp(-((grid[:, 0, 1] - joints[..., 1:]) ** 2) / (2 * sigma**2))
    peak = y[..., :, None] * x[..., None, :]
    return peak / peak.sum((-2, -1), keepdim=True).clamp_min(1e-6)


def terms(maps: JointMaps, batch: Batch) -> dict[str, Tensor]:
    """The loss's parts, each a mean over the joints that it applies to."""
    joints, visibility = batch.joints, batch.visibility
    inside = (visibility != ABSENT) & (joints.abs() <= 1).all(-1)  # NaN is not inside
    place = torch.where(inside[..., None], joints, 0.0)
    sure = inside & ((read_joints(maps).place.detach() - place).norm(dim=-1) < SURE_WITHIN)
    judged = torch.ones_like(sure[:, 0], dtype=place.dtype)
    judged = (judged if batch.judged is None else batch.judged)[:, None].expand(sure.shape)
    learnt = torch.ones_like(inside) if batch.learnt is None else batch.learnt[:, None]
    inside, visible = inside & learnt, torch.where(learnt, visibility, IGNORED)
    weight = inside * torch.where(visibility == HIDDEN, HIDDEN_WEIGHT, 1.0)
    weight = weight / weight.sum().clamp_min(1)
    logarithm = rearrange(maps.heat, "b j h w -> b j (h w)").log_softmax(-1)
    wanted = wanted_heat(place, maps.heat.shape[-1]).flatten(2)
    found = mean_place(logarithm.exp().view_as(maps.heat))
    apart = F.smooth_l1_loss(found, place, reduction="none", beta=0.02).sum(-1)
    return {
        "heat": (-(wanted * logarithm).sum(-1) * weight).sum(),
        "place": (apart * weight).sum(),
        "order": order_loss(logarithm.exp(), wanted, place, inside),
        "limbs": limb_loss(
            maps.limbs, limb_map(joints, visibility, maps.limbs.shape[-1]), learnt[:, :1, None]
        ),
        "presence": F.cross_entropy(
            maps.presence.flatten(0, 1), visible.flatten(), ignore_index=IGNORED
        ),
        "confidence": (
            F.binary_cross_entropy_with_logits(maps.confidence, sure.float(), judged)
            / judged.mean().clamp_min(1e-6)
        ),
    }


def order_loss(share: Tensor, wanted: Tensor, place: Tensor, inside: Tensor) -> Tensor:
    """How badly near limbs are told from far ones, where they are apart.

    Seen from each other's heat maps, a pair of places is taken in the right order or the wrong one;
    this is the cross-entropy of that choice. Without it both maps rest for long on both limbs.

    Args:
        share, wanted: found and wanted maps ``b j n``.
        place: ``b j 2``; inside: ``b j``, whether the joint is in the picture.
    """
    near, far = share[:, NEAR], share[:, FAR]
    at_near, at_far = wanted[:, NEAR], wanted[:, FAR]

    def mass(found: Tensor, where: Tensor) -> Tensor:
        return ((found * where).sum(-1) + 1e-5).log()

    right = mass(near, at_near) + mass(far, at_far)
    wrong = mass(near, at_far) + mass(far, at_near)
    apart = (place[:, NEAR] - place[:, FAR]).norm(dim=-1) > APART
    counts = (apart & inside[:, NEAR] & inside[:, FAR]).float()
    return (F.softplus(wrong - right) * counts).sum() / counts.sum().clamp_min(1)


def limb_map(joints: Tensor, visibility: Tensor, size: int) -> Tensor:
    """What limb is seen at each cell, ``b size size``: 0 none, 1 near fore, 2 far fore, 3 near
    hind, 4 far hind. Near limbs lie over far ones; bones of which no end is seen are left out."""
    grid = identity_grid(size, size, device=joints.device)
    shown = torch.zeros(len(joints), size, size, dtype=torch.long, device=joints.device)
    for number, start in ((4, 18), (2, 10), (3, 14), (1, 6)):
        for a in range(start, start + 3):
            there = (visibility[:, a : a + 2] == SEEN).any(1)
            there = there & (visibility[:, a : a + 2] != ABSENT).all(1)
            near = _to_segment(grid, joints[:, a], joints[:, a + 1]) < LIMB_WIDTH
            shown = torch.where(near & there[:, None, None], number, shown)
    return shown


def _to_segment(grid: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distances ``b h w`` of cells ``h w 2`` to segments between ``b 2`` and ``b 2``."""
    along = (end - start)[:, None, None]
    local = grid - start[:, None, None]
    t = (local * along).sum(-1) / along.square().sum(-1).clamp_min(1e-6)
    return (local - t.clamp(0, 1)[..., None] * along).norm(dim=-1)


def limb_loss(logits: Tensor, shown: Tensor, learnt: Tensor) -> Tensor:
    """Cross-entropy of limbs ``b 5 h w``; cells with and without limbs weigh the same in all.
    Only pictures of which `learnt` ``b 1 1`` is true count."""
    loss = F.cross_entropy(logits, shown, reduction="none")
    limb, none = ((shown > 0) & learnt).float(), ((shown == 0) & learnt).float()
    inside = (loss * limb).sum() / limb.sum().clamp_min(1)
    return 0.5 * (inside + (loss * none).sum() / none.sum().clamp_min(1))


def total(parts: dict[str, Tensor]) -> Tensor:
    """The weighted sum of `terms`."""
    return sum(WEIGHTS[name] * part for name, part in parts.items())


@dataclass(frozen=True)
class Scores:
    """Mean error in pixels of 128, and shares of right answers."""

    error: float
    within_tenth: float
    within_tenth_seen: float
    error_mean: float
    in_order: float
    presence: float
    confident: float
    confident_right: float
    by_joint: dict[str, float]

    def line(self) -> str:
        """All figures in one line."""
        return (
            f"error {self.error:.2f} px of 128 (mean of whole map {self.error_mean:.2f}), "
            f"within a tenth {self.within_tenth:.1%} (seen ones {self.within_tenth_seen:.1%}), "
            f"near and far told apart {self.in_order:.1%}, "
            f"presence right {self.presence:.1%}, confident of {self.confident:.1%} "
            f"and right in {self.confident_right:.1%}"
        )


@torch.no_grad()
def measure(detector: JointDetector, batches: list[tuple[Batch, Tensor]]) -> Scores:
    """Scores on unaugmented pictures; with each batch come the bodies' longer sides ``b`` in
    [-1, 1] units."""
    rows, device = [], next(detector.parameters()).device
    for batch, longer in batches:
        batch, longer = batch.to(device), longer.to(device)
        maps = detector(batch.frames())
        read = read_joints(maps)
        mean = mean_place(probabilities(maps.heat))
        rows.append(_errors(read, mean, batch, longer))
    error, mean, tenth, there, seen, right, sure, near, apart, order = (
        torch.cat(c).cpu() for c in zip(*rows, strict=True)
    )
    by_joint = {name: float(error[:, i][there[:, i]].mean()) for i, name in enumerate(JOINTS)}
    return Scores(
        error=float(error[there].mean()),
        within_tenth=float(tenth[there].float().mean()),
        within_tenth_seen=float(tenth[seen].float().mean()),
        error_mean=float(mean[there].mean()),
        in_order=float(order[apart].float().mean()),
        presence=float(right.float().mean()),
        confident=float(sure[there].float().mean()),
        confident_right=float(near[sure].float().mean()),
        by_joint=by_joint,
    )


def _errors(read: Joints, mean: Tensor, batch: Batch, longer: Tensor) -> tuple[Tensor, ...]:
    """Per joint ``b j``: errors of peak and mean in pixels of 128, and what is right."""
    there, seen = batch.visibility != ABSENT, batch.visibility == SEEN
    apart = (read.place - batch.joints).norm(dim=-1)
    apart_mean = (mean - batch.joints).norm(dim=-1)
    tenth = apart < 0.1 * longer[:, None]
    sure = read.confidence > 0.5
    right = read.presence.argmax(-1) == batch.visibility
    near = there & (apart < SURE_WITHIN)
    pairs, order = _in_order(read.place, batch.joints, there)
    return apart * 64, apart_mean * 64, tenth, there, seen, right, sure, near, pairs, order


def _in_order(found: Tensor, truth: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs ``b 8`` of near and far joints are apart, and whether each of the two was found
    nearer to its own place than to the other's."""
    near, far = truth[:, NEAR], truth[:, FAR]
    apart = ((near - far).norm(dim=-1) > 2 * SURE_WITHIN) & there[:, NEAR] & there[:, FAR]
    one, two = found[:, NEAR], found[:, FAR]
    right = (one - near).norm(dim=-1) < (one - far).norm(dim=-1)
    return apart, right & ((two - far).norm(dim=-1) < (two - near).norm(dim=-1))
