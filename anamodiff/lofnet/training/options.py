"""Options of LOFNet's training (paper, sections 3.2 and 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from anamodiff.fields import Options, setting


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """LOFNet's training (paper, sections 3.2 and 4.1)."""

    section: ClassVar[str] = "training"

    steps: int = setting(20_000, "training steps", low=1, flag="--steps")
    epochs: float | None = setting(None, "in place of steps: how many pairs of every clip", above=0)
    batch_size: int = setting(16, "pairs in a step, of each process", low=1)
    optimiser: Literal["adam", "muon"] = setting(
        "adam", "Adam (the paper's), or Muon with AdamW for the first and last layers"
    )
    lr: float = setting(5e-4, "learning rate", above=0)
    detector_lr: float | None = setting(
        None, "the detector's learning rate; 0 freezes it (default: training.lr)", low=0,
        key="lofnet.detector_lr",
    )  # fmt: skip
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "schedule of the learning rate; cosine falls to a fiftieth of it"
    )
    warmup: int = setting(200, "steps over which the learning rate rises from 0", low=0)
    # FOMM has 10 beside a perceptual loss near 100; beside a latent error below one, 10 would
    # outweigh the reconstruction.
    equivariance: float = setting(
        2.0, "weight of FOMM's equivariance losses; 0 suits a detector that is trained already",
        low=0,
    )  # fmt: skip
    separation: float = setting(
        0.5, "weight of the penalty on key points that lie on one another", low=0
    )
    balance: float = setting(
        0.0, "0 weights all pairs alike, 1 divides a pair's error by its motion", low=0, high=1
    )
    average: float = setting(
        0.999, "decay of the moving average of the weights, which is what is saved", low=0, high=1
    )
    clip_gradient: float = setting(1.0, "largest norm of the gradient", above=0)
    flip: bool = setting(True, "mirror half of the pairs that are not reversed in time")
    time_flip: bool = setting(True, "reverse half of the pairs in time")
    max_distance: int | None = setting(
        None, "largest distance of a pair's frames, in frames of the cached clip (default: any)",
        low=1,
    )  # fmt: skip
    far: int = setting(
        0, "further random frames, of which the farthest from the source becomes the driving one",
        low=0,
    )  # fmt: skip
    colour_jitter: float = setting(
        0.0, "largest random change of the detector's colours, as a share (FOMM: 0.1)", low=0,
        high=1,
    )  # fmt: skip
    size_jitter: float = setting(
        0.0, "largest random change of the size of frames and latents, as a share", low=0, high=1
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto",
        "number format of the convolutions; auto is bf16 on GPUs that have it. Coordinates are "
        "always fp32",
    )
    held_out: float = setting(
        0.05, "share of the clips that is held out, unless data has a folder test/", low=0, high=1
    )
    patience: int | None = setting(
        None,
        "stop after so many measurements without improvement and keep the best weights (default: "
        "never)",
        low=1,
    )  # fmt: skip
    frames_per_clip: int = setting(32, "frames of a clip that are encoded at most", low=2)
    log_every: int = setting(50, "steps between lines of the log", low=1)
    measure_every: int = setting(500, "steps between measurements on held-out clips", low=1)
    picture_every: int = setting(2000, "steps between pictures", low=1)
    save_every: int = setting(500, "steps between checkpoints", low=1)
    seed: int = setting(
        0, "seed of weights, pairs and augmentation", low=0, flag="--seed", key="seed"
    )

    def total(self, clips: int, processes: int = 1) -> int:
        """Number of steps for so many clips to train on."""
        if self.epochs is None:
            return self.steps
        return max(1, math.ceil(self.epochs * clips / (self.batch_size * processes)))

    @property
    def sampling(self) -> dict[str, Any]:
        """The options of `LatentClips.sample_pairs`."""
        names = ("flip", "time_flip", "max_distance", "far")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class StartOptions(Options):
    """LOFNet's training: the start."""

    section: ClassVar[str] = "lofnet"

    detector: Literal["own", "fomm"] = setting(
        "own", "key-point detector: from scratch, or first-order-model's (FOMM)"
    )
    checkpoint: str | None = setting(None, "FOMM's weights, such as mgif-cpk.pth.tar")
    config: str | None = setting(
        None, "FOMM's configuration, such as config/mgif-256.yaml (default: MGIF's)"
    )
    start: str | None = setting(
        None, "folder of a trained LOFNet to train on from, instead of network"
    )
