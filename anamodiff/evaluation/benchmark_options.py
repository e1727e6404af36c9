"""What all runs of a benchmark share: settings, and the models that they load."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from anamodiff.backbone.size import UNET
from anamodiff.evaluation.grounds import PlainGrounds
from anamodiff.evaluation.instruments import Instruments
from anamodiff.evaluation.tracklets import TrackerKind
from anamodiff.fields import settings_of
from anamodiff.options import FRAMES, RunOptions
from anamodiff.run.models import load_models
from anamodiff.run.motion_transfer import MotionTransfer


@dataclass(frozen=True)
class Models:
    """What a process loads once."""

    mover: MotionTransfer
    instruments: Instruments
    grounds: PlainGrounds


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What all runs of a benchmark share; most are settings of a transfer (`RunOptions`).

    `clip_model` and `tracker` are for `Instruments.load`; `threads` are the CPU's in each process,
    0 leaves the choice to torch. `size` None is what the backbone's UNet was made for, not what
    its folder recommends, so that figures stay comparable.
    """

    backbone: str = RunOptions.backbone
    lofnet: str | None = None
    size: int | None = None
    frames: int = FRAMES
    seed: int = 0
    device: str = RunOptions.device
    precision: str = RunOptions.precision
    clip_model: str = "auto"
    tracker: TrackerKind = "flow"
    threads: int = 0

    def __post_init__(self) -> None:
        given = asdict(self)
        RunOptions.check(**{name: given[name] for name in given if name in settings_of(RunOptions)})

    def load(self, precision: str | None = None) -> Models:
        """The models, in this process; `precision` is what another one measured."""
        if self.threads:
            torch.set_num_threads(self.threads)
        models = load_models(
            self.backbone, self.lofnet, device=self.device, size=self.size or UNET,
            precision=precision or self.precision,
        )  # fmt: skip
        mover = MotionTransfer.of(models)
        mover.report = False  # run folders are deleted
        device = mover.backbone.device
        instruments = Instruments.load(self.clip_model, device, self.tracker)
        return Models(mover, instruments, PlainGrounds(device))
