"""Learnt retargeting of key points: those that a source would have in the driving motion.

The paper's rule (`adapt_points`) moves each of the source's points as far as the driving clip's
point of the same number. Between bodies of other kinds (a cat and a letter) these sit on other
parts; the network has seen which.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.saving import SavedModule
from anamodiff.lofnet.transformer import TransformerBlock, reader
from anamodiff.lofnet.windows import in_windows

_SMALLEST = 0.05  # spread of points, in half widths of the frame: one place has none


@dataclass(frozen=True)
class Place:
    """Where a clip's points lie and how far they spread: ``b 2`` and ``b``."""

    centre: Tensor
    size: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Place:
        """That of points ``b f k 6``: the mean, and the root mean square distance in a frame."""
        points = points[..., :2]
        centre = points.mean(dim=(1, 2))
        own = points - points.mean(dim=2, keepdim=True)
        size = own.square().sum(dim=-1).mean(dim=(1, 2)).sqrt()
        return cls(centre, size.clamp_min(_SMALLEST))

    def enter(self, points: Tensor) -> Tensor:
        """Points ``b f k 6`` in the clip's own frame; Jacobians stay."""
        place = (points[..., :2] - self.centre[:, None, None]) / self.size[:, None, None, None]
        return torch.cat([place, points[..., 2:]], dim=-1)

    def leave(self, points: Tensor) -> Tensor:
        """The inverse of `enter`."""
        place = points[..., :2] * self.size[:, None, None, None] + self.centre[:, None, None]
        return torch.cat([place, points[..., 2:]], dim=-1)


def packed(points: KeyPoints) -> Tensor:
    """Key points with Jacobians as one tensor ``f k 6``: (x, y), then the Jacobian by rows."""
    assert points.jacobian is not None
    return torch.cat([points.value, points.jacobian.flatten(2)], dim=-1)


def unpacked(points: Tensor) -> KeyPoints:
    """The inverse of `packed`."""
    return KeyPoints(points[..., :2], points[..., 2:].unflatten(-1, (2, 2)))


class PointRetargeter(SavedModule):
    """A transformer over the frames of a source and a driving clip.

    Both clips come in a frame of their own (`Place`), so that the answer follows any shift and
    scaling of the source and does not depend on those of the driving clip.

    Args:
        num_kp: key points a frame.
        features, layers, heads: of the transformer.
    """

    role = "retargeting of key points"

    def __init__(
        self, num_kp: int = 10, features: int = 128, layers: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        self.config = {"num_kp": num_kp, "features": features, "layers": layers, "heads": heads}
        self.num_kp = num_kp
        self.read_source, self.read_driving = (reader(18 * num_kp, features) for _ in range(2))
        self.layers = nn.ModuleList(
            TransformerBlock(features, heads, expansion=4) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(features)
        self.answer = nn.Linear(features, 8 * num_kp)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        """Target points and the logarithms of their expected errors.

        Args:
            source, driving: ``b s k 6`` and ``b f k 6``, places in each clip's own frame, then
                Jacobians by rows.

        Returns:
            ``b f k 6`` and ``b f k``, in the source's own frame.
        """
        means = [clip.mean(dim=1, keepdim=True) for clip in (source, driving)]
        tokens = self.read_driving(_described(driving, means))
        x = torch.cat([tokens, self.read_source(_described(source, means))], dim=1)
        for layer in self.layers:
            x = layer(x)
        answer = self.answer(self.norm(x[:, : driving.shape[1]])).float()
        answer = rearrange(answer, "b f (k eight) -> b f k eight", eight=8)
        target = means[0] + (1 + answer[..., :1]) * (driving - means[1]) + answer[..., 1:7]
        return target, answer[..., 7]

    @torch.no_grad()
    def retarget(self, source: KeyPoints, driving: KeyPoints) -> tuple[KeyPoints, float]:
        """The source's points in the driving motion, also in its first pose, and how sure they are.

        Args:
            source: points of `s` frames, one is enough, with Jacobians.
            driving: points of `f` frames, with Jacobians.

        Returns:
            Points of `f` frames, and the mean error that the network expects of them, as a share of
            the spread of the source's points.
        """
        still, mover = packed(source)[None], packed(driving)[None]
        own, other = Place.of(still), Place.of(mover)
        still, mover = own.enter(still), other.enter(mover)
        target, errors = in_windows(lambda cut: self(still, mover[:, cut]), mover.shape[1])
        return unpacked(own.leave(target)[0]), float(errors.exp().mean())


def _described(points: Tensor, beside: list[Tensor]) -> Tensor:
    """Frames ``b f k 6``, each with both clips' mean frames ``b 1 k 6`` beside it: ``b f 18k``."""
    frames = points.shape[1]
    parts = (points, *(frame.expand(-1, frames, -1, -1) for frame in beside))
    return torch.cat([part.flatten(2) for part in parts], dim=-1)
