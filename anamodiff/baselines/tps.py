"""The Thin-Plate-Spline Motion Model whole (Zhao and Zhang, CVPR 2022)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anamodiff.baselines.inpainting import InpaintingNetwork, Painted
from anamodiff.baselines.tps_flow import BackgroundPredictor, OccludedFlow, SplineFlow
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.resnet import ResNetDetector
from anamodiff.lofnet.saving import SavedModule
from anamodiff.lofnet.tps import POINTS


class TPSMotion(SavedModule):
    """Key points, dense motion and inpainting in pixels; published at 256 pixels.

    The defaults are the published configuration (`config/mgif-256.yaml`; with `background`,
    `config/vox-256.yaml`); `exact` and `padding_mode` are as in `SplineFlow`.

    Args:
        frame_size: side of the frames that it was trained on, in pixels.
        num_tps: splines, each with five key points.
        block_expansion: channels of the inpainting network at full resolution.
        motion_expansion, motion_features, motion_blocks, scale_factor: of the dense motion.
        detector_width: channels of the detector's first layers.
        background: whether there is a background predictor. It serves training alone: moving
            backgrounds would else be explained by key points. In relative motion the source's
            stands still, as published.
    """

    role = "TPS Motion"

    def __init__(
        self,
        frame_size: int = 256,
        num_tps: int = 10,
        num_channels: int = 3,
        block_expansion: int = 64,
        motion_expansion: int = 64,
        motion_features: int = 1024,
        motion_blocks: int = 5,
        scale_factor: float = 0.25,
        detector_width: int = 64,
        background: bool = False,
        exact: bool = False,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "frame_size": frame_size,
            "num_tps": num_tps,
            "num_channels": num_channels,
            "block_expansion": block_expansion,
            "motion_expansion": motion_expansion,
            "motion_features": motion_features,
            "motion_blocks": motion_blocks,
            "scale_factor": scale_factor,
            "detector_width": detector_width,
            "background": background,
            "exact": exact,
            "padding_mode": padding_mode,
        }
        self.frame_size = frame_size
        self.kp_detector = ResNetDetector(POINTS * num_tps, num_channels, detector_width)
        self.dense_motion_network = SplineFlow(
            num_tps, num_channels, motion_expansion, motion_blocks, motion_features,
            scale_factor, exact=exact, padding_mode=padding_mode,
        )  # fmt: skip
        self.inpainting_network = InpaintingNetwork(num_channels, block_expansion, padding_mode)
        self.bg_predictor = (
            BackgroundPredictor(num_channels, detector_width) if background else None
        )

    def points(self, frames: Tensor) -> KeyPoints:
        """Key points of frames ``b c h w`` in [0, 1]."""
        return self.kp_detector(frames)

    def flow(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> OccludedFlow:
        """The flow from driving to source points, of source frames ``b c h w`` in [0, 1]."""
        return self.dense_motion_network(frames, driving.value, source.value)

    def paint(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> Painted:
        """Frames in the pose of the driving points."""
        return self.inpainting_network(frames, self.flow(frames, driving, source))
