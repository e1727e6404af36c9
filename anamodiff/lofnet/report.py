"""What one sees of LOFNet's training: figures on unseen clips, a journal, pictures."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.lofnet.clips import LatentClips, Pairs
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.losses import latent_error
from anamodiff.lofnet.model import LOFNet
from anamodiff.warp import warp

METRICS_FILE = "metrics.jsonl"


@torch.no_grad()
def self_reconstruction(lofnet: LOFNet, frames: Tensor, latents: Tensor) -> tuple[float, float]:
    """Warp a clip's first latent along the clip's own motion, and compare with the clip.

    Args:
        frames: ``f c h w`` in [-1, 1].
        latents: of the same frames, ``f c h w``.

    Returns:
        Mean squared latent error over frames 1 and later, and that of the identity flow, which
        leaves the first latent as it is.
    """
    points = lofnet.points(frames)
    flow = lofnet.flow(latents[:1], points[1:], points[0]).flow
    error = latent_error(warp(latents[:1], flow), latents[1:]).mean()
    return float(error), float(latent_error(latents[:1], latents[1:]).mean())


@torch.no_grad()
def measure(
    lofnet: LOFNet, clips: LatentClips, *, pairs: int = 128, batch: int = 16, seed: int = 0
) -> dict[str, float]:
    """Latent error on random pairs, always the same ones, with the identity flow's.

    Returns:
        ``held_out_error``, ``held_out_identity`` and their ratio, ``held_out_ratio``.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(lofnet.parameters()).device
    totals = torch.zeros(2)
    for _ in range(max(1, pairs // batch)):
        drawn = clips.draw(batch, generator=generator).to(device)
        warped, _ = _warp_pairs(lofnet, drawn)
        source, driving = drawn.latents.chunk(2)
        totals[0] += latent_error(warped, driving).sum().cpu()
        totals[1] += latent_error(source, driving).sum().cpu()
    error, identity = (totals / (batch * max(1, pairs // batch))).tolist()
    return {
        "held_out_error": error,
        "held_out_identity": identity,
        "held_out_ratio": error / max(identity, 1e-9),
    }


@torch.no_grad()
def draw_progress(
    lofnet: LOFNet, clips: LatentClips, backbone: Any, output: Path, step: int, *, rows: int = 6
) -> Path:
    """Write ``pictures/STEP.png``: source, driving, both with points, warped, difference."""
    from anamodiff.pictures import draw_points, save_picture

    device = next(lofnet.parameters()).device
    pairs = clips.draw(rows, generator=torch.Generator().manual_seed(1)).to(device)
    warped, points = _warp_pairs(lofnet, pairs)
    frames = pairs.frames.cpu()
    decoded = _resized(backbone.decode(warped).float().cpu(), frames.shape[-1])
    source, driving = frames.chunk(2)
    pointed = draw_points(frames, points.value.cpu()).chunk(2)
    difference = 1 - (decoded - driving).abs()  # white where nothing differs
    columns = torch.stack([source, driving, *pointed, decoded, difference.clamp(-1, 1)])
    sheet = rearrange(columns, "column row c h w -> (row h) (column w) c")
    sheet = ((sheet + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return save_picture(output / "pictures" / f"{step:06d}.png", sheet)


class Journal:
    """Figures by step: lines of JSON, and TensorBoard's events where it is installed.

    Args:
        folder: where ``metrics.jsonl`` is kept.
        from_step: lines of later steps, from a run that was killed, are dropped.
    """

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        self._path = folder / METRICS_FILE
        self._started = time.perf_counter()
        self._board = _open_board(folder, from_step)
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= from_step]
        self._path.write_text("".join(f"{line}\n" for line in kept))

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add one line."""
        seconds = round(time.perf_counter() - self._started, 1)
        rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": seconds, **rounded}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()


def _warp_pairs(lofnet: LOFNet, pairs: Pairs) -> tuple[Tensor, KeyPoints]:
    """Source latents ``b c h w`` warped to the driving frames, and the points of all frames."""
    points = lofnet.points(pairs.frames)
    half = len(pairs)
    source = pairs.latents[:half]
    return warp(source, lofnet.flow(source, points[half:], points[:half]).flow), points


def _resized(frames: Tensor, size: int) -> Tensor:
    if frames.shape[-1] == size:
        return frames
    return torch.nn.functional.interpolate(frames, (size, size), mode="bilinear", antialias=True)


def _step_of(line: str) -> float:
    """Step of a journal line; infinite, so that it is dropped, for one cut by a kill."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _open_board(folder: Path, from_step: int) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # A killed run's later events are hidden too.
    return SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)
