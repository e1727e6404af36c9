from .cache import cache_latents
from .dataset import LatentClips
from .options import TrainOptions
from .report import measure, self_reconstruction
from .train import train_lofnet

__all__ = [
    "LatentClips",
    "TrainOptions",
    "cache_latents",
    "measure",
    "self_reconstruction",
    "train_lofnet",
]
