"""Settings of inversion and sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.windows import OVERLAP, WINDOW, check_windows
from anamodiff.warp import PAPER_NOISE_WEIGHT, NoiseWarp

Solver = Literal["ddim", "dpm"]


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Settings of generation (paper, section 3.5).

    `solver` "dpm" (DPM-Solver++ 2M) wants fewer `steps` than the paper's "ddim".
    `guidance` 1 switches classifier-free guidance off; `noise_weight` is the share of fresh noise
    that `noise_warp="paper"` adds; `match_colours` gives the foreground the source's colours.
    `denoise_from` below 1000 starts at that noise level instead of at noise alone: the source frame
    is inverted only so far, and its noise, warped, is added to the warped intermediate, so that a
    weak backbone keeps its poses. Clips longer than `window` frames are denoised window by window,
    each of which shares frame 0 and `overlap` frames with the one before it. `cuda_graph` records
    the inversion's work and replays it, on a CUDA device.
    """

    steps: int = 50
    solver: Solver = "ddim"
    guidance: float = 7.5
    negative_prompt: str = ""
    noise_warp: NoiseWarp = "nearest"
    noise_weight: float = PAPER_NOISE_WEIGHT
    match_colours: bool = True
    denoise_from: int = 1000
    window: int = WINDOW
    overlap: int = OVERLAP
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise AnaMoDiffError(f"expected generation.steps from 1 to 1000, got {self.steps}")
        if self.solver not in get_args(Solver):
            raise AnaMoDiffError(
                f"expected generation.solver among {get_args(Solver)}, got {self.solver!r}"
            )
        if not 1 <= self.denoise_from <= 1000:
            raise AnaMoDiffError(
                f"expected generation.denoise_from from 1 to 1000, got {self.denoise_from}"
            )
        if self.guidance < 0:
            raise AnaMoDiffError(f"expected generation.guidance 0 or more, got {self.guidance}")
        check_windows(self.window, self.overlap)
