"""How LOFNet is trained (paper, sections 3.2 and 4.1)."""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class TrainOptions:
    """How LOFNet is trained.

    Attributes:
        steps: optimisation steps; one batch of pairs each.
        epochs: if given, sets the steps: so many pairs of every clip.
        batch_size: pairs a step, in each process.
        optimiser: ``adam`` is the paper's; ``muon`` is Muon inside and AdamW at the ends.
        lr: learning rate (paper: 5e-4).
        detector_lr: the detector's own; 0 freezes it, ``None`` is `lr`.
        schedule: ``cosine`` falls to a fiftieth over the whole run, ``constant`` stays.
        warmup: steps over which the rate rises to its full height.
        equivariance: weight of both equivariance losses. FOMM has 10 beside a perceptual loss
            near 100; beside a latent error below one, 10 would outweigh the reconstruction. 0 for
            a detector that has learnt it already.
        separation: weight of the penalty on key points that sit on one another.
        balance: 0 counts every pair's error as it is, 1 divides it by the pair's motion, so that
            small motions weigh as much as large ones.
        average: decay of the averaged weights, which are what is saved.
        clip_gradient: largest norm of the gradient.
        flip: mirror half of the pairs; with `time_flip` half of those that do not run backwards.
        time_flip: let half of the pairs run backwards.
        max_distance: largest distance of a pair's frames in the cached clip.
        far: of ``1 + far`` drawn driving frames the farthest from the source is taken.
        colour_jitter: largest change of the colours that the detector sees, in shares.
        size_jitter: largest change of the size of frames and latents, as a share.
        precision: of the convolutions; coordinates are always in 32 bits. ``auto`` is ``bf16`` on
            GPUs that have it; on processors without it, it is many times slower.
        held_out: share of the clips that are only measured on.
        patience: stop once the held-out ratio has not improved for so many measures, and keep the
            weights that were best; ``None`` never stops and keeps the last.
        seed: of weights, pairs and deformations.
    """

    steps: int = 20_000
    epochs: float | None = None
    batch_size: int = 16
    optimiser: Literal["adam", "muon"] = "adam"
    lr: float = 5e-4
    detector_lr: float | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 200
    equivariance: float = 2.0
    separation: float = 0.5
    balance: float = 0.0
    average: float = 0.999
    clip_gradient: float = 1.0
    flip: bool = True
    time_flip: bool = True
    max_distance: int | None = None
    far: int = 0
    colour_jitter: float = 0.0
    size_jitter: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    held_out: float = 0.05
    patience: int | None = None
    seed: int = 0

    def total(self, clips: int, processes: int = 1) -> int:
        """Number of steps for so many clips to train on."""
        if self.epochs is None:
            return self.steps
        return max(1, math.ceil(self.epochs * clips / (self.batch_size * processes)))

    @property
    def drawing(self) -> dict[str, Any]:
        """The options of `LatentClips.draw`."""
        names = ("flip", "time_flip", "max_distance", "far")
        return {name: getattr(self, name) for name in names}
