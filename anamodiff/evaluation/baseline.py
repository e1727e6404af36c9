"""Rivals that move pixels as methods of a benchmark; the only way into `anamodiff.baselines`.

They are imported where they are used: nothing else of a benchmark needs them.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.progress import timed
from anamodiff.video.foreground import ground_colour

if TYPE_CHECKING:
    from anamodiff.baselines.fomm import FOMM
    from anamodiff.baselines.tps import TPSMotion
    from anamodiff.evaluation.methods import Task


def is_rival(path: Path) -> bool:
    """Whether a path holds weights of a rival."""
    from anamodiff.baselines import weights

    return weights.is_rival(path)


@dataclass(frozen=True)
class Baseline:
    """A rival that moves pixels (`anamodiff.baselines`), in relative motion from its own start.

    Attributes:
        name: ``tps`` or ``fomm``, with the weights in `checkpoints/baselines`; empty where
            `weights` are named: a folder of `scripts/train_baseline.py` or a published checkpoint.
    """

    name: str = ""
    weights: Path | None = None

    def place(self) -> Path:
        """Where the weights are; `AnaMoDiffError` where there are none."""
        from anamodiff.baselines.weights import shipped

        return self.weights or shipped(self.name)

    def facts(self) -> dict[str, str]:
        """What a result's record says beside the settings."""
        from anamodiff.baselines.weights import weights_file

        file = weights_file(self.place())
        return {"sha256": _digest(file, file.stat().st_mtime_ns)}

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        from anamodiff.baselines.relative import transfer
        from anamodiff.baselines.weights import weights_file

        subjects = mover.cut(task.source, task.driving, mover.resolve().adaptation)
        place, device = self.place(), mover.backbone.device
        rival = _loaded(place, weights_file(place).stat().st_mtime_ns)
        clips = (subjects.source.clip.frames, subjects.driving.clip.frames)
        frames = transfer(rival.to(device), *(clip.to(device) for clip in clips)).cpu()
        zoom = subjects.source.zoom
        return zoom.leave(frames) if zoom else frames


@dataclass(frozen=True)
class JOKR:
    """JOKR (`anamodiff.baselines.jokr`), trained on each pair alone, in its two stages.

    What is compared in the second one are features of the backbone's own autoencoder.

    Attributes:
        shape_steps, look_steps: iterations of the stages. Published: 45,001 and 30,001, of eight
            and of four pairs of frames; here of four.
    """

    shape_steps: int = 400
    look_steps: int = 200

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        from anamodiff.baselines.jokr import Cut, JOKROptions
        from anamodiff.baselines.jokr_training import fit
        from anamodiff.baselines.perceptual import EncoderFeatures, PerceptualLoss

        subjects = mover.cut(task.source, task.driving, mover.resolve().adaptation)
        backbone, options = (
            mover.backbone,
            JOKROptions(shape_steps=self.shape_steps, look_steps=self.look_steps),
        )
        source, driving = (
            Cut.of(one.clip.frames, one.mattes.float(), options.size).to(backbone.device)
            for one in (subjects.source, subjects.driving)
        )
        encoder = copy.deepcopy(backbone.vae.encoder)
        perceptual = PerceptualLoss(EncoderFeatures(encoder)).to(backbone.device)
        with timed(task.timings, "tuning"):
            model = fit(source, driving, options, perceptual, seed=task.seed)
        ground = ground_colour(subjects.source.clip.frames).view(3, 1, 1).to(backbone.device)
        frames = model.transfer(driving, ground, task.source.frames.shape[-1]).cpu()
        zoom = subjects.source.zoom
        return zoom.leave(frames) if zoom else frames


# Published checkpoints are large, and a benchmark has many pairs. A file's time tells new weights.


@lru_cache(maxsize=4)
def _digest(file: Path, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _loaded(place: Path, changed: int) -> TPSMotion | FOMM:
    from anamodiff.baselines.weights import load_rival

    return load_rival(place)
