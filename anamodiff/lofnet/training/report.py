"""Reports of LOFNet's training: errors on held-out clips, logged metrics, contact sheets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.training.dataset import LatentClips, Pairs
from anamodiff.lofnet.training.losses import latent_error
from anamodiff.resources import move_into_place
from anamodiff.warp import warp

METRICS_FILE = "metrics.jsonl"


@torch.no_grad()
def self_reconstruction(lofnet: LOFNet, frames: Tensor, latents: Tensor) -> tuple[float, float]:
    """Error of a clip's first latent warped along the clip's own motion.

    Args:
        frames: ``f c h w`` in [-1, 1].
        latents: of the same frames, ``f c h w``.

    Returns:
        Mean squared latent errors over frames 1 and later: of the warp, and of the identity flow.
    """
    points = lofnet.points(frames)
    flow = lofnet.flow(latents[:1], points[1:], points[0]).flow
    error = latent_error(warp(latents[:1], flow), latents[1:]).mean()
    return float(error), float(latent_error(latents[:1], latents[1:]).mean())


@torch.no_grad()
def measure(
    lofnet: LOFNet, clips: LatentClips, *, pairs: int = 128, batch: int = 16, seed: int = 0
) -> dict[str, float]:
    """Mean latent error on random pairs, the same for the same seed.

    Returns:
        ``held_out_error``, the identity flow's ``held_out_identity`` and their ratio
        ``held_out_ratio``.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(lofnet.parameters()).device
    totals = torch.zeros(2)
    for _ in range(max(1, pairs // batch)):
        sampled = clips.sample_pairs(batch, generator=generator).to(device)
        warped, _ = _warp_pairs(lofnet, sampled)
        source, driving = sampled.latents.chunk(2)
        totals[0] += latent_error(warped, driving).sum().cpu()
        totals[1] += latent_error(source, driving).sum().cpu()
    error, identity = (totals / (batch * max(1, pairs // batch))).tolist()
    return {
        "held_out_error": error,
        "held_out_identity": identity,
        "held_out_ratio": error / max(identity, 1e-9),
    }


@torch.no_grad()
def write_progress_sheet(
    lofnet: LOFNet, clips: LatentClips, backbone: Any, output: Path, step: int, *, rows: int = 6
) -> Path:
    """Write ``pictures/STEP.png``: source, driving, both with points, warped, difference."""
    from anamodiff.visual.sheets import draw_points, save_picture

    device = next(lofnet.parameters()).device
    pairs = clips.sample_pairs(rows, generator=torch.Generator().manual_seed(1)).to(device)
    warped, points = _warp_pairs(lofnet, pairs)
    frames = pairs.frames.cpu()
    decoded = _resize(backbone.decode(warped).float().cpu(), frames.shape[-1])
    source, driving = frames.chunk(2)
    pointed = draw_points(frames, points.value.cpu()).chunk(2)
    difference = 1 - (decoded - driving).abs()  # white where they are equal
    columns = torch.stack([source, driving, *pointed, decoded, difference.clamp(-1, 1)])
    sheet = rearrange(columns, "column row c h w -> (row h) (column w) c")
    sheet = ((sheet + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return save_picture(output / "pictures" / f"{step:06d}.png", sheet)


class MetricsLog:
    """Metrics by step, as lines of JSON and, where TensorBoard is installed, as its events.

    Args:
        folder: that of ``metrics.jsonl``.
        from_step: lines of later steps, which a killed run left, are removed.
    """

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        self._path = folder / METRICS_FILE
        self._started = time.perf_counter()
        self._board = _open_board(folder, from_step)
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= from_step]
        if kept != lines:
            draft = self._path.with_suffix(".tmp")
            draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            move_into_place(draft, self._path)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append one line."""
        seconds = round(time.perf_counter() - self._started, 1)
        rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "seconds": seconds, **rounded}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.close()


def _warp_pairs(lofnet: LOFNet, pairs: Pairs) -> tuple[Tensor, KeyPoints]:
    """Source latents ``b c h w`` warped to the driving frames, and key points of all frames."""
    points = lofnet.points(pairs.frames)
    half = len(pairs)
    source = pairs.latents[:half]
    return warp(source, lofnet.flow(source, points[half:], points[:half]).flow), points


def _resize(frames: Tensor, size: int) -> Tensor:
    if frames.shape[-1] == size:
        return frames
    return torch.nn.functional.interpolate(frames, (size, size), mode="bilinear", antialias=True)


def _step_of(line: str) -> float:
    """Step of a line; infinite, so that it is removed, for one that a kill cut short."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _open_board(folder: Path, from_step: int) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # `purge_step` hides the later events of a killed run.
    return SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)
