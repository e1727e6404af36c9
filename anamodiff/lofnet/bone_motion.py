"""Bones as local motions: each one a similarity between its places in two frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum
from torch import Tensor

from anamodiff.creatures.skeleton import BONES, PARTS

SHORTEST = 0.015  # of [-1, 1]: a shorter bone has no direction
STRETCH = (0.5, 2.0)  # a bone seen from its end is not stretched beyond these


@dataclass(frozen=True)
class BoneMotions:
    """Backward similarities of bones, target to source: ``x_s = matrix @ x_t + shift``.

    Attributes:
        matrix: ``b n 2 2``; shift: ``b n 2``.
        known: ``b n``, whether both ends are known in both frames.
    """

    matrix: Tensor
    shift: Tensor
    known: Tensor

    def flows(self, grid: Tensor) -> Tensor:
        """Where each bone takes the cells ``h w 2`` of the target: ``b n h w 2``."""
        moved = einsum(self.matrix, grid, "b n i j, h w j -> b n h w i")
        return moved + self.shift[:, :, None, None]


def bone_motions(source: Tensor, target: Tensor) -> BoneMotions:
    """The motions of all bones between source joints and target joints ``b j 2`` (NaN: absent).

    A bone is turned and stretched along itself; across itself it keeps its width.
    """
    ends = torch.tensor(BONES, device=source.device)
    a_s, b_s = source[:, ends[:, 0]], source[:, ends[:, 1]]
    a_t, b_t = target[:, ends[:, 0]], target[:, ends[:, 1]]
    known = ~torch.stack([a_s, b_s, a_t, b_t]).isnan().any(-1).any(0)
    v_s, v_t = torch.nan_to_num(b_s - a_s), torch.nan_to_num(b_t - a_t)
    length_s, length_t = v_s.norm(dim=-1), v_t.norm(dim=-1)
    directed = (length_s > SHORTEST) & (length_t > SHORTEST)
    upright = torch.tensor([0.0, 1.0], device=source.device)
    u_s = torch.where(directed[..., None], v_s / length_s.clamp_min(1e-6)[..., None], upright)
    u_t = torch.where(directed[..., None], v_t / length_t.clamp_min(1e-6)[..., None], upright)
    stretch = (length_s / length_t.clamp_min(1e-6)).clamp(*STRETCH)
    stretch = torch.where(directed, stretch, 1.0)
    n_s, n_t = _quarter_turn(u_s), _quarter_turn(u_t)
    along = stretch[..., None, None] * u_s[..., :, None] * u_t[..., None, :]
    matrix = along + n_s[..., :, None] * n_t[..., None, :]
    shift = torch.nan_to_num(a_s) - einsum(matrix, torch.nan_to_num(a_t), "b n i j, b n j -> b n i")
    return BoneMotions(matrix, shift, known)


def bone_distances(joints: Tensor, grid: Tensor) -> Tensor:
    """Distances ``b n h w`` of cells ``h w 2`` to the bones of joints ``b j 2``; 9 where a bone
    is unknown."""
    ends = torch.tensor(BONES, device=joints.device)
    start, end = joints[:, ends[:, 0]], joints[:, ends[:, 1]]
    unknown = (start.isnan() | end.isnan()).any(-1)
    start = torch.nan_to_num(start)[:, :, None, None]
    along = torch.nan_to_num(end)[:, :, None, None] - start
    local = grid - start
    t = (local * along).sum(-1) / along.square().sum(-1).clamp_min(1e-6)
    distance = (local - t.clamp(0, 1)[..., None] * along).square().sum(-1).clamp_min(1e-10).sqrt()
    return torch.where(unknown[..., None, None], 9.0, distance)


def other_parts() -> Tensor:
    """Whether bones ``n n`` belong to different parts of the body."""
    part = torch.tensor(PARTS)
    return part[:, None] != part[None]


def _quarter_turn(v: Tensor) -> Tensor:
    return torch.stack([-v[..., 1], v[..., 0]], dim=-1)
