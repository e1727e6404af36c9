"""The first-order motion model whole (Siarohin and others, NeurIPS 2019), without its GAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from anamodiff.baselines.blocks import ResBlock, SameBlock, down_path
from anamodiff.baselines.inpainting import Painted
from anamodiff.baselines.tps_flow import OccludedFlow
from anamodiff.lofnet.flow import DenseMotion
from anamodiff.lofnet.hourglass import UpBlock
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.lofnet.saving import SavedModule

# The published configuration, `config/mgif-256.yaml`.
_DETECTOR = {
    "block_expansion": 32, "max_features": 1024, "num_blocks": 5, "temperature": 0.1,
    "scale_factor": 0.25, "single_jacobian_map": True,
}  # fmt: skip
_MOTION = {"block_expansion": 64, "max_features": 1024, "num_blocks": 5, "scale_factor": 0.25}


class OccludedMotion(DenseMotion):
    """FOMM's dense motion with its occlusion map (section 3.2); other arguments: `DenseMotion`."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.occlusion = nn.Conv2d(self.hourglass.out_filters, 1, 7, padding=3)

    def occluded(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> OccludedFlow:
        """The flow from driving to source points, of source frames ``b c h w`` in [0, 1]."""
        features, motions = self.features(frames, driving, source)
        motion = self.blend(features, motions, *motions.shape[2:4])
        occlusion = self.occlusion(features).float().sigmoid()
        return OccludedFlow(motion.flow, motion.mask, [occlusion])


class Generator(nn.Module):
    """Encoder, moved and masked features, residual bottleneck, decoder (section 3.2).

    Args:
        num_kp, num_channels: key points, and channels of the frames.
        block_expansion, max_features: widths.
        num_down_blocks, num_bottleneck_blocks: depths.
        dense_motion: arguments of `OccludedMotion` beside the first two.
    """

    def __init__(
        self,
        num_kp: int,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        dense_motion: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.dense_motion_network = OccludedMotion(
            num_kp=num_kp, num_channels=num_channels, **dense_motion
        )
        self.first = SameBlock(num_channels, block_expansion, 7)
        self.down_blocks = down_path(block_expansion, max_features, num_down_blocks)
        widths = [
            min(max_features, block_expansion * 2**i) for i in reversed(range(num_down_blocks + 1))
        ]
        self.up_blocks = nn.ModuleList(
            UpBlock(a, b) for a, b in zip(widths, widths[1:], strict=False)
        )
        blocks = {f"r{i}": ResBlock(widths[0]) for i in range(num_bottleneck_blocks)}
        self.bottleneck = nn.Sequential()
        for name, block in blocks.items():
            self.bottleneck.add_module(name, block)
        self.final = nn.Conv2d(block_expansion, num_channels, 7, padding=3)

    def forward(self, source: Tensor, flow: OccludedFlow) -> Painted:
        """Reconstruct from the source ``b c h w`` in [0, 1]."""
        features = [self.first(source)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        x = flow.warp(features[-1], "zeros")
        (mask,) = flow.occlusions
        if mask.shape[-2:] != x.shape[-2:]:
            mask = nn.functional.interpolate(mask, x.shape[-2:], mode="bilinear")
        x = self.bottleneck(x * mask)
        for block in self.up_blocks:
            x = block(x)
        frames = self.final(x).float().sigmoid()
        return Painted(frames, flow.warp(source, "zeros"), features)


class FOMM(SavedModule):
    """Key points with Jacobians, dense motion and generator in pixels; published at 256 pixels.

    The defaults are the published configuration of MGIF.

    Args:
        frame_size: side of the frames that it was trained on, in pixels.
        detector, dense_motion: arguments of `KeypointDetector` and of `DenseMotion` in the place
            of the published ones.
        block_expansion, max_features, num_down_blocks, num_bottleneck_blocks: of the generator.
    """

    role = "first-order-model"

    def __init__(
        self,
        frame_size: int = 256,
        num_kp: int = 10,
        num_channels: int = 3,
        block_expansion: int = 64,
        max_features: int = 512,
        num_down_blocks: int = 2,
        num_bottleneck_blocks: int = 6,
        detector: Mapping[str, Any] | None = None,
        dense_motion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        detector, dense_motion = dict(detector or _DETECTOR), dict(dense_motion or _MOTION)
        self.config: dict[str, Any] = {
            "frame_size": frame_size,
            "num_kp": num_kp,
            "num_channels": num_channels,
            "block_expansion": block_expansion,
            "max_features": max_features,
            "num_down_blocks": num_down_blocks,
            "num_bottleneck_blocks": num_bottleneck_blocks,
            "detector": detector,
            "dense_motion": dense_motion,
        }
        self.frame_size = frame_size
        self.kp_detector = KeypointDetector(num_kp=num_kp, num_channels=num_channels, **detector)
        self.generator = Generator(
            num_kp, num_channels, block_expansion, max_features, num_down_blocks,
            num_bottleneck_blocks, dense_motion,
        )  # fmt: skip

    def points(self, frames: Tensor) -> KeyPoints:
        """Key points of frames ``b c h w`` in [0, 1]."""
        return self.kp_detector(frames)

    def flow(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> OccludedFlow:
        """The flow from driving to source points, of source frames ``b c h w`` in [0, 1]."""
        return self.generator.dense_motion_network.occluded(frames, driving, source)

    def paint(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> Painted:
        """Frames in the pose of the driving points."""
        return self.generator(frames, self.flow(frames, driving, source))
