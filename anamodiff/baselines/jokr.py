"""JOKR: key points that two clips share, and the source's silhouette and look made from them.

After Mokady and others, "JOKR: Joint Keypoint Representation for Unsupervised Cross-Domain Motion
Retargeting", 2021. Everything is trained for one pair of clips; see `jokr_training`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.baselines.blocks import ResBlock, SameBlock, down_path, instance_norm
from anamodiff.lofnet.hourglass import Hourglass, UpBlock
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.warp import identity_grid

#: Room about the character on each side, as a share of the canvas. Published: 0.2 of tight cuts.
ROOM = 0.1
# Of the maps that points are drawn as; published.
_SPREAD = 0.2


@dataclass(frozen=True)
class JOKROptions:
    """Sizes and budget for one pair. Published: 256 pixels, widths 64 and 32, 9 residual blocks, a
    detector of 5 blocks and at most 1024 channels; 45,001 iterations of 8 pairs of frames, then
    30,001 of 4, Adam at 1e-4 with betas 0.5 and 0.999. The defaults are for minutes on a CPU.

    Attributes:
        size: side of the frames in pixels.
        width, blocks: of the generators; channels at full resolution and residual blocks.
        detector: channels of the detector's first layer.
        points: that both clips share.
        shape_steps, look_steps: iterations of the two stages.
        batch: pairs of neighbouring frames of each clip in an iteration.
    """

    size: int = 128
    width: int = 16
    blocks: int = 4
    detector: int = 16
    points: int = 10
    shape_steps: int = 400
    look_steps: int = 200
    batch: int = 4
    rate: float = 1e-3


@dataclass(frozen=True)
class Cut:
    """A clip whose character is cut out.

    Attributes:
        frames: ``f 3 s s`` in [-1, 1], zero outside of the character, as published.
        masks: ``f 1 s s``, 0 or 1.
    """

    frames: Tensor
    masks: Tensor

    @classmethod
    def of(cls, frames: Tensor, mattes: Tensor, size: int) -> Cut:
        """Cut frames ``f 3 H W`` in [-1, 1] out by mattes ``f H W`` in [0, 1], with room."""
        side = frames.shape[-1]
        room = round(ROOM * side)
        whole = torch.cat([frames * mattes[:, None], mattes[:, None]], dim=1)
        whole = F.pad(whole, (room,) * 4)
        whole = F.interpolate(whole, (size, size), mode="bilinear", antialias=True)
        masks = (whole[:, 3:] > 0.5).float()
        return cls(whole[:, :3] * masks, masks)

    def to(self, device: torch.device | str) -> Cut:
        """On a device."""
        return Cut(self.frames.to(device), self.masks.to(device))


class SharedDetector(KeypointDetector):
    """FOMM's detector without Jacobians, for both clips.

    Published batch norm is never switched to evaluation and sees one frame at a time there, which
    is instance norm.
    """

    def __init__(self, options: JOKROptions) -> None:
        width, blocks = options.detector, 4
        most = 16 * width
        super().__init__(
            width, options.points, 3, most, blocks, temperature=0.1, estimate_jacobian=False,
            scale_factor=64 / options.size if options.size > 64 else 1, pad=3,
        )  # fmt: skip
        self.predictor = Hourglass(width, 3, blocks, most, instance_norm)

    def detect(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Points ``b k 2`` of cut-out frames ``b 3 s s``, and the heat maps ``b k h w``."""
        if self.down is not None:
            frames = self.down(frames)
        logits, _ = self._output_maps(self.predictor(frames))
        with torch.autocast(logits.device.type, enabled=False):
            heat = self._heat_maps(logits.float())
            return self._points(heat, None).value, heat


class ResNetGenerator(nn.Module):
    """Twice down, residual blocks, twice up: ``b c s s -> b c' s s``."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SameBlock(inputs, width, 7, instance_norm),
            *down_path(width, 4 * width, 2, instance_norm),
            *(ResBlock(4 * width, instance_norm) for _ in range(blocks)),
            UpBlock(4 * width, 2 * width, instance_norm),
            UpBlock(2 * width, width, instance_norm),
            nn.Conv2d(width, outputs, 7, padding=3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class JOKR(nn.Module):
    """The networks of one pair. Of the two looks only the source's is needed, and there.

    Attributes:
        affine: the learnt map ``2 3`` of the driving clip's points onto the source's.
    """

    def __init__(self, options: JOKROptions) -> None:
        super().__init__()
        self.options = options
        self.detector = SharedDetector(options)
        # One generator with two outputs: the source's silhouette and the driving clip's.
        self.shapes = ResNetGenerator(options.points, 2, options.width, options.blocks)
        self.look = ResNetGenerator(1, 3, options.width, options.blocks)
        self.affine = nn.Parameter(torch.eye(2, 3) + 0.05 * torch.randn(2, 3))

    def carried(self, points: Tensor) -> Tensor:
        """Points ``b k 2`` of the driving clip, where the source would have them."""
        return points @ self.affine[:, :2].mT + self.affine[:, 2]

    def silhouettes(self, points: Tensor) -> Tensor:
        """Silhouettes ``b 2 s s`` in [0, 1] from points ``b k 2``: as the source's, and as the
        driving clip's."""
        return self.shapes(point_maps(points, self.options.size)).float().sigmoid()

    def painted(self, silhouettes: Tensor) -> Tensor:
        """Frames ``b 3 s s`` in [-1, 1] of the source's silhouettes ``b 1 s s``."""
        return self.look(silhouettes).float().tanh()

    @torch.no_grad()
    def transfer(self, driving: Cut, ground: Tensor, side: int) -> Tensor:
        """The source's character in the poses of a driving clip.

        Args:
            ground: the picture ``3 side side`` or colour ``3 1 1`` behind it, in [-1, 1].

        Returns:
            ``f 3 side side`` in [-1, 1].
        """
        points = KeyPoints(self.detector.detect(driving.frames)[0]).value
        shape = self.silhouettes(self.carried(points))[:, :1]
        whole = torch.cat([self.painted(shape), shape], dim=1)
        # The room about the character goes again.
        inner = identity_grid(side, side, device=whole.device) / (1 + 2 * ROOM)
        whole = F.grid_sample(whole, inner.expand(len(whole), -1, -1, -1), align_corners=True)
        frames, shape = whole.split([3, 1], dim=1)
        return (frames * shape + ground * (1 - shape)).clamp(-1, 1)


class DomainDiscriminator(nn.Module):
    """Which clip points ``b k 2`` are of: logits (b,), the source's above zero."""

    def __init__(self, points: int, width: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * points, width), nn.LeakyReLU(0.2),
            nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, points: Tensor) -> Tensor:
        return self.layers(points.flatten(1))[:, 0]


def point_maps(points: Tensor, size: int) -> Tensor:
    """Peaked maps ``b k s s`` of points ``b k 2``, one at the points: exp(-(|x| + |y|) / 0.04)."""
    grid = identity_grid(size, size, device=points.device)
    apart = (grid - rearrange(points.float(), "b k xy -> b k 1 1 xy")).abs().sum(-1)
    return torch.exp(-apart / _SPREAD**2)
