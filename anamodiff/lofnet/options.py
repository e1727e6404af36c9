"""Options of LOFNet's two networks (configs/network)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from anamodiff.fields import Options, setting


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """LOFNet: what its two networks share."""

    section: ClassVar[str] = "network"

    motion: Literal["affine", "tps"] = setting(
        "affine", "motion model: affine around each key point, or a thin-plate spline of every five"
    )
    frame_size: int = setting(256, "side of the detector's frames, in pixels", low=16)


@dataclass(frozen=True, kw_only=True)
class DetectorOptions(Options):
    """LOFNet's key-point detector.

    The names are first-order-model's (FOMM).
    """

    section: ClassVar[str] = "network.detector"

    encoder: Literal["hourglass", "resnet18"] = setting(
        "hourglass", "architecture: FOMM's, or TPS Motion's"
    )
    num_kp: int = setting(help="number of key points", low=3)  # two have no hull with an area
    num_channels: int = setting(help="channels of the frames", low=1)
    block_expansion: int = setting(help="channels of the first block", low=1)
    max_features: int = setting(help="most channels of a block", low=1)
    num_blocks: int = setting(help="blocks of the hourglass, down and up", low=1)
    temperature: float = setting(0.1, "temperature of the softmax over the heat map", above=0)
    estimate_jacobian: bool = setting(True, "estimate a Jacobian at each key point")
    scale_factor: float = setting(1, "factor by which the frames are downscaled first", above=0)
    single_jacobian_map: bool = setting(
        False, "one map of Jacobians for all key points instead of one each"
    )
    pad: int = setting(
        0, "padding of the output convolutions; 0 loses three cells at each border", low=0
    )


@dataclass(frozen=True, kw_only=True)
class DenseMotionOptions(Options):
    """LOFNet's dense motion network."""

    section: ClassVar[str] = "network.dense_motion"

    block_expansion: int = setting(help="channels of the first block", low=1)
    num_blocks: int = setting(help="blocks of the hourglass, down and up", low=1)
    max_features: int = setting(help="most channels of a block", low=1)
    num_kp: int = setting(help="number of key points, the detector's", low=3)
    num_channels: int = setting(4, "channels of the latents", low=1)
    scale_factor: float = setting(1, "factor by which the latents are downscaled first", above=0)
    kp_variance: float = setting(
        0.01, "variance of the Gaussians that stand for the key points", above=0
    )
    dropout: float = setting(
        0.0, "probability with which a motion is left out while training", low=0, below=1
    )
