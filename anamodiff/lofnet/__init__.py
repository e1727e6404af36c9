"""The latent optical flow network: key points, flows on latents, adaptation, training."""

from anamodiff.lofnet.adapt import AdaptationOptions, adapt_points, hull_area, smooth_points
from anamodiff.lofnet.animate import Animation, animate, check_start
from anamodiff.lofnet.clips import LatentClips
from anamodiff.lofnet.data import cache_frames, cache_latents
from anamodiff.lofnet.flow import DenseMotion, Motion
from anamodiff.lofnet.fomm import load_fomm
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.lofnet.options import TrainOptions
from anamodiff.lofnet.report import measure, self_reconstruction
from anamodiff.lofnet.resnet import ResNetDetector
from anamodiff.lofnet.tps import SplineMotion, spline_motions
from anamodiff.lofnet.train import train_lofnet

__all__ = [
    "AdaptationOptions",
    "Animation",
    "DenseMotion",
    "KeyPoints",
    "KeypointDetector",
    "LOFNet",
    "LatentClips",
    "Motion",
    "ResNetDetector",
    "SplineMotion",
    "TrainOptions",
    "adapt_points",
    "animate",
    "build_lofnet",
    "cache_frames",
    "cache_latents",
    "check_start",
    "hull_area",
    "load_fomm",
    "measure",
    "mini_config",
    "self_reconstruction",
    "smooth_points",
    "spline_motions",
    "train_lofnet",
]
