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
