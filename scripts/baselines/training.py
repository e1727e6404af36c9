"""The training loop of the rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from joints.state import Run, Schedule
from PIL import Image
from torch import Tensor, nn

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.tps import TPSMotion

from .clips import Bank, jittered
from .objective import Rival, fomm_terms, measure, reconstruct, tps_terms


@dataclass(frozen=True)
class Options(Schedule):
    """Of a run. Published are 100 epochs of Adam at 2e-4 with steps of a tenth, 28 pairs a batch,
    256 pixels.

    Frames have half the size in the first `small` of the run. Splines are dropped in the first
    `dropout_until` of it, with a probability that rises to `dropout` within a tenth.
    """

    steps: int = 40000
    rate: float = 6e-4
    fall: float = 0.5
    average: float = 0.999
    minutes_measure: float = 15.0
    minutes_save: float = 2.0
    batch: int = 16
    size: int = 128
    small: float = 0.6
    dropout_start: float = 0.2
    dropout: float = 0.5
    dropout_until: float = 0.35
    colour: float = 0.1
    zoom: float = 0.1
    half: bool = True
    resumable: bool = True
    validation: int = 96


def new_model(kind: str, size: int, *, tiny: bool = False, background: bool = False) -> Rival:
    """An untrained rival of the widths that fit a CPU and `checkpoints/baselines`.

    Points begin spread over the frame: published detectors begin with all of them in its middle,
    from where they part slowly.
    """
    if kind == "tps":
        width = {"block_expansion": 4, "motion_expansion": 4, "detector_width": 4}
        if not tiny:
            width = {"block_expansion": 16, "motion_expansion": 32, "detector_width": 32}
        model = TPSMotion(
            size, motion_features=8 * width["motion_expansion"], motion_blocks=4,
            background=background, exact=True, padding_mode="border", **width,
        )  # fmt: skip
        nn.init.normal_(model.kp_detector.fg_encoder.fc.bias)
        return model
    part = {"block_expansion": 4 if tiny else 16, "num_blocks": 4, "scale_factor": 0.25}
    part["max_features"] = 16 * part["block_expansion"]
    detector = part | {"temperature": 0.1, "single_jacobian_map": True, "pad": 3}
    motion = part | {"block_expansion": 4 if tiny else 32}
    width = 4 if tiny else 32
    return FOMM(
        size, block_expansion=width, max_features=8 * width,
        num_bottleneck_blocks=2 if tiny else 5, detector=detector, dense_motion=motion,
    )  # fmt: skip


class Training(Run):
    """Training of a rival on pairs of frames."""

    name = "model"
    module: Rival
    averaged: Rival
    options: Options

    def __init__(
        self, module: Rival, options: Options, folder: Path, bank: Bank, perceptual: nn.Module
    ) -> None:
        super().__init__(module, options, folder)
        self.bank, self.perceptual = bank, perceptual.to(self.device)
        self.kept_out = bank.held_out()

    def one_step(self) -> dict[str, Tensor]:
        """One step; returns the loss's parts, still on the device."""
        frames = self.bank.pairs(~self.kept_out, self.options.batch, self.lot)
        terms = terms_of(self.module, frames, self.options, self.progress(), self.perceptual)
        self.descend(torch.stack(list(terms.values())).sum())
        return {name: term.detach() for name, term in terms.items()}

    def validation_sets(self) -> dict[str, list[Tensor]]:
        """Fixed pairs of clips kept out of training."""
        lot, count = np.random.default_rng(0), self.options.validation
        pairs = self.bank.pairs(self.kept_out, count, lot, flip=False)
        source, driving = pairs.chunk(2)
        parts = zip(source.split(16), driving.split(16), strict=True)
        return {"kept out": [torch.cat(part) for part in parts]}


def terms_of(
    model: Rival, frames: Tensor, options: Options, progress: float, perceptual: nn.Module
) -> dict[str, Tensor]:
    """The loss's parts for sources, then driving frames ``2b 3 s s`` in [0, 1]."""
    if progress < options.small:
        frames = F.avg_pool2d(frames, 2)
    frames = jittered(frames, options.colour, options.zoom)
    source, driving = frames.chunk(2)
    with torch.autocast(frames.device.type, torch.bfloat16, enabled=options.half):
        if isinstance(model, TPSMotion):
            return tps_terms(model, source, driving, perceptual, dropout_at(progress, options))
        return fomm_terms(model, source, driving, perceptual)


def dropout_at(progress: float, options: Options) -> float:
    """Probability to drop a spline when a share `progress` of the run is over."""
    if progress >= options.dropout_until:
        return 0.0
    return min(options.dropout, options.dropout_start + 10 * progress * options.dropout)


def train(training: Training, say: Callable[[str], None]) -> None:
    """Train to the end, with a sheet of reconstructions whenever scores are measured."""
    sets = training.validation_sets()

    def scored(model: Rival, batches: list[Tensor]):  # noqa: ANN202  (Scores)
        write_sheet(model, batches[0], training.folder / "sheet.png")
        return measure(model, batches)

    pace, per_step = "{:.1f} pairs/s", training.options.batch
    training.train(training.one_step, sets, scored, say, pace=pace, per_step=per_step)


@torch.no_grad()
def write_sheet(model: Rival, batch: Tensor, file: Path, count: int = 12) -> None:
    """Rows: sources, driving frames, sources only moved, results."""
    source, driving = (frames[:count] for frames in batch.chunk(2))
    painted = reconstruct(model, source, driving)
    rows = (source, driving, painted.deformed, painted.frames)
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pixels = (sheet.float().clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(file)
