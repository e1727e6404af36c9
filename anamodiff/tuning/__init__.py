"""Disentangled tuning: pose from the warped clip at high noise, identity from the source."""

from anamodiff.tuning.loop import TuningOptions, tune
from anamodiff.tuning.loss import DisentangledLoss, disentangled_loss

__all__ = ["DisentangledLoss", "TuningOptions", "disentangled_loss", "tune"]
