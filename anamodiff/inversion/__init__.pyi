from .colours import match_histograms
from .ddim import ddim_invert
from .detail import keep_detail
from .noise import starting_latents, warped_noise
from .sampling import sample

__all__ = [
    "ddim_invert",
    "keep_detail",
    "match_histograms",
    "sample",
    "starting_latents",
    "warped_noise",
]
