from .loop import tune
from .loss import DisentangledLoss, disentangled_loss

__all__ = [
    "DisentangledLoss",
    "disentangled_loss",
    "tune",
]
