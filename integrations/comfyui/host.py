"""What the nodes ask of ComfyUI: folders, progress, whether the user has stopped the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import ComfyAPISync

from anamodiff.errors import AnaMoDiffError

SHARES = {"tuning": (0.0, 0.7), "inversion": (0.7, 0.75), "sampling": (0.75, 1.0)}


def input_files(suffixes: frozenset[str]) -> list[str]:
    """Names in ComfyUI's input folder that end so."""
    with os.scandir(folder_paths.get_input_directory()) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in names if Path(name).suffix.lower() in suffixes)


def input_path(name: str) -> Path:
    """A file of ComfyUI's input folder, or of output or temp where the name is marked so.

    Raises:
        AnaMoDiffError: the name leads elsewhere; requests come over the network.
    """
    path = Path(os.path.abspath(folder_paths.get_annotated_filepath(name)))
    homes = (
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
    )
    if not any(path.is_relative_to(os.path.abspath(home)) for home in homes):
        raise AnaMoDiffError(f"expected a file of ComfyUI's folders, got {name}: upload it")
    return path


def is_input(name: str) -> bool:
    """Whether there is such a file."""
    try:
        return input_path(name).exists()
    except AnaMoDiffError:
        return False


def output_file(prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
    """A new file in ComfyUI's output folder, and its subfolder there."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    return Path(folder) / f"{name}_{counter:05}_{suffix}", subfolder


def run_folder() -> Path:
    """A new name for a run folder, in ComfyUI's output folder."""
    home = Path(folder_paths.get_output_directory()) / "anamodiff"
    number = 1
    while (folder := home / f"run_{number:05}").exists():
        number += 1
    return folder


def show_progress(stage: str, done: int, total: int, loss: float | None) -> None:
    """A `Progress`: the bar on the node; raises where the user has stopped the run."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()
    first, last = SHARES.get(stage, (0.0, 1.0))
    ComfyAPISync().execution.set_progress(
        value=first + (last - first) * done / max(total, 1), max_value=1.0
    )


@contextmanager
def gradients() -> Iterator[None]:
    """Let tuning have gradients, without which ComfyUI runs its nodes."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
