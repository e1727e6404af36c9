"""Skeletons as trees of bones: the frame a clip is seen in, mean bones, and poses made of them."""

import functools
from dataclasses import dataclass

import torch
from einops import einsum
from torch import Tensor

from anamodiff.creatures.skeleton import JOINTS

_UP = {"withers": "spine", "head": "withers", "nose": "head", "tail_base": "spine"}
_UP |= {"tail_tip": "tail_base"}
for _side in ("near", "far"):
    _chain = ("withers", "shoulder", "elbow", "wrist", "front_foot")
    _limb = [name if i == 0 else f"{_side}_{name}" for i, name in enumerate(_chain)]
    _UP |= dict(zip(_limb[1:], _limb, strict=False))
    _chain = ("tail_base", "hip", "knee", "hock", "hind_foot")
    _limb = [name if i == 0 else f"{_side}_{name}" for i, name in enumerate(_chain)]
    _UP |= dict(zip(_limb[1:], _limb, strict=False))

ROOT = JOINTS.index("spine")
PARENT: tuple[int, ...] = tuple(JOINTS.index(_UP.get(name, "spine")) for name in JOINTS)
NOSE, HEAD, WITHERS, TAIL = (JOINTS.index(n) for n in ("nose", "head", "withers", "tail_base"))


def _order() -> tuple[int, ...]:
    """Joints but the root, every one after its parent."""
    ordered = [ROOT]
    while len(ordered) < len(JOINTS):
        ordered += [i for i, p in enumerate(PARENT) if p in ordered and i not in ordered]
    return tuple(ordered[1:])


ORDER = _order()


def _levels() -> tuple[tuple[int, ...], ...]:
    """Joints but the root, by their number of bones from it."""
    depth = [0] * len(PARENT)
    for i in ORDER:
        depth[i] = depth[PARENT[i]] + 1
    return tuple(
        tuple(i for i in ORDER if depth[i] == level) for level in range(1, max(depth) + 1)
    )


LEVELS = _levels()


@functools.cache
def _on(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Joints' numbers on a device, brought there once."""
    return torch.tensor(numbers, device=device)


@functools.cache
def _ancestors(device: torch.device) -> Tensor:
    """Which bones ``j j`` lie between the root and each joint."""
    chain = torch.zeros(len(PARENT), len(PARENT))
    for i in ORDER:
        chain[i] = chain[PARENT[i]]
        chain[i, i] = 1.0
    return chain.to(device)


@dataclass(frozen=True)
class Placement:
    """Where a clip's own frame lies: `origin` ``b 1 1 2``, `size` ``b 1 1`` and `side` ``b 1 1``
    (1 facing right, -1 left)."""

    origin: Tensor
    size: Tensor
    side: Tensor

    def enter(self, joints: Tensor) -> Tensor:
        """Joints ``b f j 2`` of the picture in the clip's own frame."""
        local = (joints - self.origin) / self.size[..., None]
        return torch.stack([local[..., 0] * self.side, local[..., 1]], dim=-1)

    def leave(self, joints: Tensor) -> Tensor:
        """Joints in the clip's own frame as places in the picture."""
        turned = torch.stack([joints[..., 0] * self.side, joints[..., 1]], dim=-1)
        return turned * self.size[..., None] + self.origin


@dataclass(frozen=True)
class Body:
    """A clip in its own frame, without gaps.

    Attributes:
        joints: ``b f j 2``; a joint that the body lacks lies on its parent.
        weight: ``b f j``, how far each is to be trusted.
        known: ``b j``, whether the body has the joint.
        bones: ``b j 2``, from each joint's parent to it: mean direction, mean length.
        bones_now: ``b f j 2``, the same in every frame.
    """

    joints: Tensor
    weight: Tensor
    known: Tensor
    bones: Tensor
    bones_now: Tensor

    @property
    def lengths(self) -> Tensor:
        """Mean lengths of the bones, ``b j``."""
        return self.bones.norm(dim=-1)

    def frames(self, cut: slice) -> "Body":
        """The same body in some of the frames."""
        return Body(
            self.joints[:, cut], self.weight[:, cut], self.known, self.bones, self.bones_now[:, cut]
        )


def place_of(joints: Tensor, weight: Tensor) -> Placement:
    """The own frame of clips ``b f j 2`` with weights ``b f j``: about the mean place of the spine,
    in mean lengths of the trunk, mirrored to face right."""
    joints, _, _ = fill_in(joints, weight)
    root, withers, tail = joints[:, :, ROOT], joints[:, :, WITHERS], joints[:, :, TAIL]
    size = ((withers - root).norm(dim=-1) + (root - tail).norm(dim=-1)).mean(1)
    # A body without a trunk that can be measured is as large as its joints are far apart.
    spread = (joints - joints.mean(2, keepdim=True)).norm(dim=-1).mean((1, 2))
    size = torch.maximum(size, 0.5 * spread).clamp_min(1e-3)
    forward = 2 * (joints[:, :, NOSE] - joints[:, :, HEAD]) + withers - tail
    side = torch.where(forward[..., 0].mean(1) < 0, -1.0, 1.0)
    return Placement(root.mean(1)[:, None, None], size[:, None, None], side[:, None, None])


def body_of(joints: Tensor, weight: Tensor) -> Body:
    """The body of clips ``b f j 2`` that are in their own frames."""
    joints, bones, now = fill_in(joints, weight)
    return Body(joints, weight, (weight > 0).any(1), bones, now)


def fill_in(joints: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joints without gaps, mean bones and bones of every frame.

    Where a joint is unknown in a frame its mean bone is put to its parent; where it never is known
    it lies on its parent.

    Args:
        joints: ``b f j 2``, anything (NaN too) where the weight is 0.
        weight: ``b f j``.
    """
    there = weight > 0
    clean = torch.where(there[..., None], joints, 0.0)
    filled = clean.clone()
    filled[:, :, ROOT] = _root(clean, weight)
    bones = torch.zeros_like(clean[:, 0])
    for level in LEVELS:
        at = _on(level, joints.device)
        parent = filled[:, :, _on(tuple(PARENT[i] for i in level), joints.device)]
        own, w, known = clean[:, :, at], weight[:, :, at, None], there[:, :, at]
        bone = own - parent
        total = w.sum(1).clamp_min(1e-6)
        towards = (w * bone).sum(1)
        length = (w * bone.norm(dim=-1, keepdim=True)).sum(1) / total
        mean = towards / towards.norm(dim=-1, keepdim=True).clamp_min(1e-6) * length
        mean = torch.where(known.any(1)[..., None], mean, 0.0)
        bones[:, at] = mean
        filled[:, :, at] = torch.where(known[..., None], own, parent + mean[:, None])
    return filled, bones, filled - filled[:, :, _on(PARENT, joints.device)]


def _root(joints: Tensor, weight: Tensor) -> Tensor:
    """The spine's path ``b f 2``; where it is unknown, the mean of what is known."""
    known = weight.sum(2, keepdim=True)
    middle = (joints * weight[..., None]).sum(2) / known.clamp_min(1e-6)
    overall = (middle * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1e-6)
    middle = torch.where(known > 0, middle, overall)
    return torch.where(weight[:, :, ROOT, None] > 0, joints[:, :, ROOT], middle)


def unfold(bones: Tensor, root: Tensor) -> Tensor:
    """Poses ``b f j 2`` from bones ``b f j 2`` and the spine's places ``b f 2``."""
    chain = _ancestors(bones.device).to(bones.dtype)
    return einsum(chain, bones, "i j, b f j xy -> b f i xy") + root[:, :, None]


def turned_as(bones: Tensor, mover: Body) -> Tensor:
    """Bones ``b f j 2``: mean bones ``b j 2`` turned and stretched as the mover's are from its own
    mean bones. A bone that the mover lacks stays."""
    own, now = _complex(mover.bones)[:, None], _complex(mover.bones_now)
    share = now * own.conj() / (own.abs().square() + 1e-4)
    # A bone whose mean is short, because it swings widely, would be stretched beyond all measure.
    share = share * (2.0 / share.abs().clamp_min(2.0))
    share = torch.where(_measured(mover), share, torch.ones_like(share))
    return torch.view_as_real(share * _complex(bones)[:, None])


def directed_as(bones: Tensor, mover: Body) -> Tensor:
    """Bones ``b f j 2``: the mover's directions with the lengths of mean bones ``b j 2``."""
    length = bones.norm(dim=-1)[:, None] / mover.lengths[:, None].clamp_min(0.03)
    found = mover.bones_now * length[..., None]
    return torch.where(_measured(mover)[..., None], found, bones[:, None].expand_as(found))


def _measured(mover: Body) -> Tensor:
    """Whether the mover's bones ``b 1 j`` are there and long enough to have a direction."""
    return (mover.known & (mover.lengths > 0.03))[:, None]


def _complex(vectors: Tensor) -> Tensor:
    """Vectors ``... 2`` as complex numbers."""
    return torch.view_as_complex(vectors.contiguous())
