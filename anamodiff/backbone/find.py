"""Where a backbone lies, and which one `auto` is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from anamodiff.backbone import hub
from anamodiff.backbone.files import backbone_files, check_folder
from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded, find

logger = logging.getLogger(__name__)

PAPER = hub.SHORT_NAMES["sd14"]
MINI = "mini"
#: Endings of whole models in one file.
ENDINGS = (".safetensors", ".ckpt")


def find_backbone(
    name: str | Path, *, half: bool = False, check: Callable[[Path], None] | None = None
) -> Path:
    """Where a backbone lies: `mini`, a folder, one file, or a hub id (fetched once, then cached).

    Args:
        half: whether to fetch weights in 16 bits, if the hub has both kinds.
        check: gets its folder when all but its weights is there, before gigabytes are fetched.

    Raises:
        AnaMoDiffError: it is neither here nor to be fetched, incomplete, or of another kind; and
            what `check` raises.
    """

    def checked(folder: Path) -> None:
        check_folder(folder)
        if check is not None:
            check(folder)

    if str(name) == MINI:
        name = find("checkpoints/mini")
    path = expanded(name)
    if path.suffix in ENDINGS:
        if not path.is_file():
            raise AnaMoDiffError(f"expected a backbone in {path}, found no such file: correct it")
        return path
    choose = partial(backbone_files, half=half)
    folder = hub.locate(name, choose, role="backbone", cure=f"use --backbone {MINI}", check=checked)
    try:
        choose(hub.names_in(folder))
    except LookupError as missing:
        raise AnaMoDiffError(
            f"expected a diffusers folder of Stable Diffusion 1.x, got {folder} without "
            f"{missing.args[0]}: give a complete one, or run {hub.fetch_command(PAPER)} and give "
            f"--backbone {PAPER}"
        ) from missing
    checked(folder)
    return folder


def folder_of(backbone: Path) -> Path:
    """The folder of a backbone that `find_backbone` found: its own, or the one its file is in."""
    return backbone.parent if backbone.is_file() else backbone


def name_of(backbone: Path) -> str:
    """What to call a backbone: its hub id, else the name of its folder or file (`mini` is one)."""
    return hub.id_of(backbone) or backbone.name


def choose_backbone(
    device: torch.device, dtype: torch.dtype, *, check: Callable[[Path], None] | None = None
) -> str:
    """SD v1.4 on a CUDA machine that has it or can fetch it, which it then does; else `mini`.

    One line of the log says which and why.

    Args:
        check: as for `find_backbone`.
    """
    if device.type != "cuda":
        return _chosen(MINI, f"device is {device.type}; {PAPER} wants a CUDA GPU")
    half = dtype != torch.float32
    cached = hub.find_cached(PAPER, partial(backbone_files, half=half)) is not None
    if cached:
        return _chosen(PAPER, "CUDA device, and it is in the hub's cache")
    try:
        find_backbone(PAPER, half=half, check=check)
    except hub.NotFetchedError as error:
        reason = type(error.__cause__).__name__
        return _chosen(MINI, f"{PAPER} is neither cached nor to be fetched here: {reason}")
    return _chosen(PAPER, "CUDA device, and it was fetched")


def _chosen(name: str, reason: str) -> str:
    logger.info("backbone: %s (%s)", name, reason)
    return name
