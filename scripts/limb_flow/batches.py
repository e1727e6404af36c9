"""Batches on the device: pairs that stay there, placed, mirrored and coloured at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.warp import identity_grid, warp

from .pairs import GRID, Pairs

APART = 0.3  # share of pairs whose target is shifted elsewhere than the source


@dataclass(frozen=True)
class Batch:
    """What the network is shown and what is true.

    Attributes:
        source, target: ``b 4 64 64``, RGB in [-1, 1] and coverage in [0, 1].
        joints_source, joints_target: ``b 22 2``, NaN where absent.
        flow: ``b 64 64 2``, 0 where there is no truth; true: ``b 64 64``, whether there is one.
        seen: ``b 64 64``, whether the source shows that surface.
    """

    source: Tensor
    target: Tensor
    joints_source: Tensor
    joints_target: Tensor
    flow: Tensor
    true: Tensor
    seen: Tensor


class Resident:
    """At most `most` pairs on a device; new ones take the places of the oldest."""

    def __init__(self, device: torch.device, most: int) -> None:
        self.device, self.most = device, most
        self.tensors: dict[str, Tensor] = {}
        self.count, self.next = 0, 0
        self.read: set[str] = set()

    def read_new(self, folder: Path, files: int) -> int:
        """Take in up to `files` files that have come since the last time; says how many."""
        found = sorted(p for p in folder.glob("pairs-*.npz") if p.name not in self.read)[:files]
        for path in found:
            self.add(Pairs.load(path))
            self.read.add(path.name)
        return len(found)

    def add(self, pairs: Pairs) -> None:
        """Put pairs on the device."""
        if not self.tensors:
            for name in Pairs.__annotations__:
                value = torch.from_numpy(getattr(pairs, name))
                shape = (self.most, *value.shape[1:])
                self.tensors[name] = torch.empty(shape, dtype=value.dtype, device=self.device)
        rows = (self.next + torch.arange(len(pairs))) % self.most
        rows = rows.to(self.device)
        for name, kept in self.tensors.items():
            kept[rows] = torch.from_numpy(getattr(pairs, name)).to(self.device)
        self.next = (self.next + len(pairs)) % self.most
        self.count = min(self.most, self.count + len(pairs))

    def take(self, size: int) -> Batch:
        """Random pairs as they are."""
        rows = torch.randint(self.count, (size,), device=self.device)
        return as_batch({name: kept[rows] for name, kept in self.tensors.items()})


def as_batch(tensors: dict[str, Tensor]) -> Batch:
    """Pairs' tensors as numbers."""
    joints, flow = tensors["joints"], tensors["flow"].float()
    true = ~flow.isnan().any(-1)
    return Batch(
        _picture(tensors["source"]), _picture(tensors["target"]), joints[:, 0], joints[:, 1],
        torch.nan_to_num(flow), true, tensors["seen"] & true,
    )  # fmt: skip


def _picture(pixels: Tensor) -> Tensor:
    """uint8 ``b h w 4`` to ``b 4 h w``."""
    whole = pixels.permute(0, 3, 1, 2).float()
    return torch.cat([whole[:, :3] / 127.5 - 1, whole[:, 3:] / 255], dim=1)


def augment(batch: Batch) -> Batch:
    """Pairs placed, turned, scaled, mirrored and coloured at random; source and target keep one
    size and turn, but not one place."""
    size, device = len(batch.source), batch.source.device
    linear = _random_linear(size, device)
    inside = [_shift(linear, joints) for joints in (batch.joints_source, batch.joints_target)]
    apart = torch.rand(size, 1, device=device) < APART
    source_map = (linear, inside[0])
    target_map = (linear, torch.where(apart, inside[1], inside[0]))
    grid = identity_grid(GRID, GRID, device=device)
    look_target = _apply(target_map, grid[None].expand(size, -1, -1, -1))
    source = _move(batch.source, _apply(source_map, grid[None].expand(size, -1, -1, -1)))
    target = _move(batch.target, look_target)
    truth = torch.cat(
        [batch.flow, batch.true[..., None].float(), batch.seen[..., None].float()], dim=-1
    )
    moved = warp(
        truth.permute(0, 3, 1, 2), look_target, interpolation="nearest", padding_mode="zeros"
    ).permute(0, 2, 3, 1)
    flow = _invert(source_map, moved[..., :2].flatten(1, 2)).view_as(batch.flow)
    mix = _random_colours(size, device)
    return Batch(
        _coloured(source, mix), _coloured(target, mix),
        _invert(source_map, batch.joints_source), _invert(target_map, batch.joints_target),
        flow, moved[..., 2] > 0.5, moved[..., 3] > 0.5,
    )  # fmt: skip


def noisy(joints: Tensor, level: float, lost: Tensor | None = None) -> Tensor:
    """Joints as a detector finds them: each off by a little, now and then by more."""
    spread = level * torch.rand(len(joints), 1, 1, device=joints.device)
    wild = 1 + 2 * (torch.rand(joints.shape[:2], device=joints.device) < 0.08).float()
    joints = joints + torch.randn_like(joints) * spread * wild[..., None]
    return joints if lost is None else torch.where(lost[..., None], torch.nan, joints)


def _random_linear(size: int, device: torch.device) -> Tensor:
    """Matrices ``b 2 2`` from new places to old ones."""
    turn = torch.randn(size, device=device) * 0.12 * (torch.rand(size, device=device) < 0.5)
    scale = torch.exp(-0.35 + 0.75 * torch.rand(size, device=device))  # looks larger or smaller
    flip = torch.where(torch.rand(size, device=device) < 0.5, -1.0, 1.0)
    cos, sin = turn.cos() * scale, turn.sin() * scale
    return torch.stack([cos * flip, -sin, sin * flip, cos], dim=-1).view(size, 2, 2)


def _shift(linear: Tensor, joints: Tensor) -> Tensor:
    """Shifts ``b 2`` so that the joints' box lies somewhere within the picture."""
    inverse = _inverse(linear)
    placed = torch.einsum("bij,bnj->bni", inverse, joints)
    low = torch.nan_to_num(placed, nan=9.0).amin(1)
    high = torch.nan_to_num(placed, nan=-9.0).amax(1)
    room = (0.9 - (high - low) / 2).clamp_min(0)
    goal = (torch.rand_like(low) * 2 - 1) * room
    return torch.einsum("bij,bj->bi", linear, (low + high) / 2 - goal)


def _inverse(matrix: Tensor) -> Tensor:
    """Of matrices ``b 2 2``, without waiting for the device as `torch.linalg.inv` does."""
    a, b, c, d = matrix.flatten(1).unbind(-1)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).view_as(matrix)
    return adjugate / (a * d - b * c)[:, None, None]


Map = tuple[Tensor, Tensor]


def _apply(where: Map, points: Tensor) -> Tensor:
    """From new places ``b ... 2`` to old ones."""
    linear, shift = where
    flat = points.flatten(1, -2)
    return (flat @ linear.transpose(1, 2) + shift[:, None]).view_as(points)


def _invert(where: Map, points: Tensor) -> Tensor:
    """From old places ``b n 2`` to new ones."""
    linear, shift = where
    return (points - shift[:, None]) @ _inverse(linear).transpose(1, 2)


def _move(picture: Tensor, look: Tensor) -> Tensor:
    """Resample on white."""
    white = torch.tensor([1.0, 1, 1, 0], device=picture.device)[:, None, None]
    return warp(picture - white, look, padding_mode="zeros") + white


def _random_colours(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Channel mixes ``b 3 3``, offsets and grounds ``b 3``, most of them white."""
    mix = torch.eye(3, device=device) + 0.25 * torch.randn(size, 3, 3, device=device)
    order = torch.rand(size, 3, device=device).argsort(1)
    mix = torch.where(
        torch.rand(size, 1, 1, device=device) < 0.4,
        mix.gather(1, order[..., None].expand(-1, -1, 3)), mix,
    )  # fmt: skip
    offset = 0.2 * torch.randn(size, 3, device=device)
    ground = torch.rand(size, 3, device=device) * 2 - 1
    white = torch.rand(size, 1, device=device) < 0.7
    return mix, offset, torch.where(white, 1.0, ground)


def _coloured(picture: Tensor, colours: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Other colours of the character, on another ground."""
    mix, offset, ground = colours
    rgb, cover = picture[:, :3], picture[:, 3:]
    own = (rgb - (1 - cover)) / cover.clamp_min(0.05)  # what was laid over white
    own = (torch.einsum("bij,bjhw->bihw", mix, own) + offset[..., None, None]).clamp(-1, 1)
    return torch.cat([own * cover + ground[..., None, None] * (1 - cover), cover], dim=1)


def flow_error(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean distance of flows ``b h w 2`` where `weight` ``b h w`` is."""
    apart = (found - truth).square().sum(-1).clamp_min(1e-12).sqrt()
    return (apart * weight).sum() / weight.sum().clamp_min(1)


def smooth_l1(found: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Huber distance of flows, mean over cells that count."""
    apart = F.smooth_l1_loss(found, truth, reduction="none", beta=0.02).sum(-1)
    return (apart * weight).sum() / weight.sum().clamp_min(1)
