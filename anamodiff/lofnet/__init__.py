"""The latent optical flow network: key points, flows on latents, adaptation, training."""

from anamodiff.lofnet.adapt import adapt_points, hull_area
from anamodiff.lofnet.clips import LatentClips
from anamodiff.lofnet.data import cache_frames, cache_latents
from anamodiff.lofnet.flow import DenseMotion, Motion
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.lofnet.options import TrainOptions
from anamodiff.lofnet.report import measure, self_reconstruction
from anamodiff.lofnet.train import train_lofnet

__all__ = [
    "DenseMotion",
    "KeyPoints",
    "KeypointDetector",
    "LOFNet",
    "LatentClips",
    "Motion",
    "TrainOptions",
    "adapt_points",
    "build_lofnet",
    "cache_frames",
    "cache_latents",
    "hull_area",
    "measure",
    "mini_config",
    "self_reconstruction",
    "train_lofnet",
]
