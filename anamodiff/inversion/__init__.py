"""From a clip to its noise and back, and the source's colours on the way out."""

from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.generate import sample

__all__ = ["ddim_invert", "sample"]
