from .colours import match_histograms
from .ddim import ddim_invert
from .sampling import sample

__all__ = [
    "ddim_invert",
    "match_histograms",
    "sample",
]
