from .adapt import adapt_points, hull_area, smooth_points
from .animate import WarpedIntermediate, check_start
from .flow import DenseMotion, Motion
from .fomm import load_fomm
from .keypoints import KeypointDetector, KeyPoints
from .model import LOFNet, build_lofnet, mini_config
from .resnet import ResNetDetector
from .tps import SplineMotion, spline_motions

__all__ = [
    "DenseMotion",
    "KeyPoints",
    "KeypointDetector",
    "LOFNet",
    "Motion",
    "ResNetDetector",
    "SplineMotion",
    "WarpedIntermediate",
    "adapt_points",
    "build_lofnet",
    "check_start",
    "hull_area",
    "load_fomm",
    "mini_config",
    "smooth_points",
    "spline_motions",
]
