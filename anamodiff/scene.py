"""What LOFNet makes of a pair of clips."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.letterbox import Letterbox


@dataclass(frozen=True)
class Scene:
    """What LOFNet makes of a pair of clips, and all that tuning and generation need.

    Frames are in [-1, 1] on the backbone's square canvas, latents scaled.
    """

    source: Tensor  # s c H W
    driving: Tensor  # f c H W
    latents: Tensor  # Z_S, s c h w
    warped: Tensor  # Z_WI, f c h w
    flow: Tensor  # f h w 2
    points: Tensor  # driving key points, f k 2
    start: int  # the source frame that is warped
    fps: float
    box: Letterbox

    def save(self, path: Path) -> None:
        tensors = {f.name: getattr(self, f.name).contiguous().cpu() for f in fields(self)[:6]}
        box = self.box
        tensors["numbers"] = torch.tensor(
            [self.start, self.fps, box.top, box.left, box.height, box.width, *box.original],
            dtype=torch.float64,
        )
        save_file(tensors, path)

    @classmethod
    def load(cls, path: Path) -> Scene:
        if not path.is_file():
            raise AnaMoDiffError(f"expected a tuned run, got no {path}: run anamodiff tune first")
        tensors = load_file(path)
        start, fps, *box = tensors.pop("numbers").tolist()
        top, left, height, width, *original = map(int, box)
        letterbox = Letterbox(top, left, height, width, tuple(original))
        return cls(**tensors, start=int(start), fps=fps, box=letterbox)
