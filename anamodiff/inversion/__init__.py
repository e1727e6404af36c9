"""From a clip to its noise and back, and the source's colours on the way out."""

from anamodiff.inversion.colours import match_histograms
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.generate import sample
from anamodiff.inversion.options import GenerationOptions

__all__ = ["GenerationOptions", "ddim_invert", "match_histograms", "sample"]
