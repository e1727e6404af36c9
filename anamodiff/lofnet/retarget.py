"""Learnt retargeting: the joints that a source character would have in a driving motion."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.bones import (
    ROOT,
    Body,
    body_of,
    directed_as,
    place_of,
    turned_as,
    unfold,
)
from anamodiff.lofnet.saving import SavedModule
from anamodiff.lofnet.transformer import TransformerBlock, reader
from anamodiff.lofnet.windows import in_windows
from anamodiff.visual.sheets import sheet_jpeg
from anamodiff.visual.skeleton import skeleton_row

COUNT = len(JOINTS)
PER_FRAME, PER_BODY = 5 * COUNT, 3 * COUNT


@dataclass(frozen=True)
class Retargeted:
    """Target joints ``f j 2`` in [-1, 1], NaN where the source has none, and the error that the
    network expects of each, ``f j`` in the same units."""

    place: Tensor
    expected_error: Tensor

    def _repr_jpeg_(self) -> bytes:
        """Skeletons, for notebooks."""
        return sheet_jpeg([("retargeted joints", skeleton_row(self.place))])


class Retargeter(SavedModule):
    """A transformer over the frames of a source and a driving clip.

    Both clips come in a frame of their own: facing right, about the mean place of the spine, in
    lengths of the trunk (`bones.place_of`). So the answer follows any shift, scaling and mirroring
    of the source, and does not depend on those of the driving clip. Every bone begins as the
    source's mean bone turned as the driver's is from its mean; the network says how far it shall
    rather take the driver's own direction, or stay, and what else is to change.

    Args:
        features, layers, heads: of the transformer.
    """

    role = "retargeting"

    def __init__(self, features: int = 256, layers: int = 4, heads: int = 8) -> None:
        super().__init__()
        self.config = {"features": features, "layers": layers, "heads": heads}
        self.read_source = reader(PER_FRAME + 2 * PER_BODY, features)
        self.read_driving = reader(PER_FRAME + 2 * PER_BODY, features)
        self.layers = nn.ModuleList(
            TransformerBlock(features, heads, expansion=4) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(features)
        self.answer = nn.Linear(features, 7 * COUNT + 3)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(
        self, source: Body, driving: Body, start: int | Tensor = 0
    ) -> tuple[Tensor, Tensor]:
        """Target joints and the logarithms of their expected errors.

        Args:
            source, driving: clips in their own frames, of any numbers of frames.
            start: number of the first driving frame, one or ``b``.

        Returns:
            ``b f j 2`` and ``b f j``, in the source's own frame.
        """
        bodies = torch.cat([_described(source), _described(driving)], dim=-1)
        frames = driving.joints.shape[1]
        tokens = self.read_driving(_with_bodies(_frames_of(driving), bodies))
        tokens = tokens + _time_code(start, frames, tokens)
        x = torch.cat([tokens, self.read_source(_with_bodies(_frames_of(source), bodies))], dim=1)
        for layer in self.layers:
            x = layer(x)
        answer = self.answer(self.norm(x[:, :frames])).float()
        bones, errors, root = answer.split([6 * COUNT, COUNT, 3], dim=-1)
        bones = rearrange(bones, "b f (j six) -> b f j six", six=6)
        path = driving.joints[:, :, ROOT] * (1 + root[..., :1]) + root[..., 1:]
        with torch.autocast(answer.device.type, enabled=False):  # sums of bones need all digits
            return unfold(_moved(source, driving, bones), path), errors

    @torch.no_grad()
    def retarget(
        self,
        source: Tensor,
        source_weight: Tensor,
        driving: Tensor,
        driving_weight: Tensor,
        rule: float = 0.0,
    ) -> Retargeted:
        """Joints of the source character in the driving motion.

        Args:
            source: ``f j 2`` in [-1, 1]; one frame is enough. NaN where the joint is absent.
            source_weight: ``f j`` in [0, 1], how far each is to be trusted; 0 is unknown.
            driving, driving_weight: the same of the driving clip.
            rule: share in [0, 1] of the motion about the mean pose that follows no network but a
                rule: the driver's bones' directions with the source's lengths. It knows no bodies,
                but errs no more on animals that were never seen.
        """
        own = place_of(source[None], source_weight[None])
        other = place_of(driving[None], driving_weight[None])
        body = body_of(own.enter(source[None]), source_weight[None])
        mover = body_of(other.enter(driving[None]), driving_weight[None])
        joints, errors = in_windows(
            lambda cut: self(body, mover.frames(cut)), mover.joints.shape[1]
        )
        if rule > 0:
            ruled = unfold(directed_as(body.bones, mover), mover.joints[:, :, ROOT])
            ruled = ruled + (joints - ruled).mean(1, keepdim=True)
            joints = torch.lerp(joints, ruled, rule)
        absent = ~(source_weight > 0).any(0)
        place = own.leave(joints)[0]
        place = torch.where(absent[:, None], torch.nan, place)
        return Retargeted(place, errors[0].exp() * own.size[0, 0, 0])


def _moved(source: Body, driving: Body, answer: Tensor) -> Tensor:
    """The source's bones ``b f j 2`` in the driving motion.

    `answer` ``b f j 6`` is (g, d, a, b, x, y): how much more or less than wholly a bone v is turned
    as the driver's, how far it takes the driver's direction, then (1 + a) v + b v' + (x, y), with
    v' a quarter turn from v.
    """
    rest = source.bones[:, None]
    turned, directed = turned_as(source.bones, driving), directed_as(source.bones, driving)
    v = rest + (1 + answer[..., :1]) * (turned - rest) + answer[..., 1:2] * (directed - turned)
    quarter = torch.stack([-v[..., 1], v[..., 0]], dim=-1)
    return v + answer[..., 2:3] * v + answer[..., 3:4] * quarter + answer[..., 4:]


def _frames_of(body: Body) -> Tensor:
    """What is read of every frame, ``b f 5j``: places, bones in their mean lengths, weights."""
    relative = body.bones_now / body.lengths[:, None, :, None].clamp_min(0.03)
    relative = relative.clamp(-3, 3)
    parts = (body.joints.flatten(2), relative.flatten(2), body.weight)
    return torch.cat(parts, dim=-1)


def _described(body: Body) -> Tensor:
    """What is read of a body as a whole, ``b 3j``: its mean bones, and which joints it has."""
    return torch.cat([body.bones.flatten(1), body.known.float()], dim=-1)


def _with_bodies(frames: Tensor, bodies: Tensor) -> Tensor:
    """Frames ``b f n``, each with both bodies ``b m`` beside it."""
    return torch.cat([frames, bodies[:, None].expand(-1, frames.shape[1], -1)], dim=-1)


def _time_code(start: int | Tensor, frames: int, like: Tensor) -> Tensor:
    """Sines and cosines of the frame numbers, ``b f d``."""
    half = like.shape[-1] // 2
    pace = torch.exp(torch.arange(half, device=like.device) * (-math.log(200.0) / half))
    first = torch.as_tensor(start, device=like.device).reshape(-1, 1)
    number = torch.arange(frames, device=like.device) + first
    angle = number[..., None] * pace
    code = torch.cat([angle.sin(), angle.cos()], dim=-1)
    return F.pad(code, (0, like.shape[-1] - 2 * half))
