"""Training state on disk, written atomically."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def save_state(path: Path, **state) -> None:
    """Write tensors, numbers and state dicts: a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> dict | None:
    """Read what `save_state` wrote; None where there is no file."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None


def cosine(step: int, steps: int, *, warmup: int = 0, floor: float = 0.01) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.tensor(share * torch.pi))))
