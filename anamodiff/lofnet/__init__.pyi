from .adapt import adapt_points, hull_area, smooth_points
from .animate import WarpedIntermediate, animate
from .flow import DenseMotion, Motion
from .fomm import load_fomm
from .joints import JointDetector, Joints
from .keypoints import KeypointDetector, KeyPoints
from .model import LOFNet, build_lofnet, mini_config
from .resnet import ResNetDetector
from .retarget import Retargeted, Retargeter
from .skeletal import SkeletalMotion, SkeletalNetworks, skeletal_motion
from .start import check_start
from .tps import SplineMotion, spline_motions

__all__ = [
    "DenseMotion",
    "JointDetector",
    "Joints",
    "KeyPoints",
    "KeypointDetector",
    "LOFNet",
    "Motion",
    "ResNetDetector",
    "Retargeted",
    "Retargeter",
    "SkeletalMotion",
    "SkeletalNetworks",
    "SplineMotion",
    "WarpedIntermediate",
    "adapt_points",
    "animate",
    "build_lofnet",
    "check_start",
    "hull_area",
    "load_fomm",
    "mini_config",
    "skeletal_motion",
    "smooth_points",
    "spline_motions",
]
