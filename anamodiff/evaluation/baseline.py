"""Rivals that move pixels as methods of a benchmark; the only way into `anamodiff.baselines`.

They are imported where they are used: nothing else of a benchmark needs them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from anamodiff.run.motion_transfer import MotionTransfer

if TYPE_CHECKING:
    from anamodiff.evaluation.methods import Task


def is_rival(path: Path) -> bool:
    """Whether a path holds weights of a rival."""
    from anamodiff.baselines import weights

    return weights.is_rival(path)


@dataclass(frozen=True)
class Baseline:
    """A rival that moves pixels (`anamodiff.baselines`), in relative motion from its own start.

    Attributes:
        name: ``tps`` or ``fomm``, whose weights the repository has; empty where `weights` are
            named: a folder of `scripts/train_baseline.py` or a published checkpoint.
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

        with weights_file(self.place()).open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        from anamodiff.baselines.relative import transfer
        from anamodiff.baselines.weights import load_rival

        subjects = mover.cut(task.source, task.driving, mover.resolve().adaptation)
        rival, device = load_rival(self.place()), mover.backbone.device
        clips = (subjects.source.clip.frames, subjects.driving.clip.frames)
        frames = transfer(rival.to(device), *(clip.to(device) for clip in clips)).cpu()
        zoom = subjects.source.zoom
        return zoom.leave(frames) if zoom else frames
