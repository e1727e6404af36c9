from .colours import match_histograms
from .ddim import ddim_invert
from .noise import starting_latents, warped_noise
from .sampling import sample

__all__ = [
    "ddim_invert",
    "match_histograms",
    "sample",
    "starting_latents",
    "warped_noise",
]
