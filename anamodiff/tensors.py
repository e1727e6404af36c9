"""Files of torch's own kind, read as tensors and plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile


def read_tensors(file: Path, *, mmap: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU; no code in the file is run.

    Args:
        mmap: leave the numbers on the disk until they are used, where the file's format lets one.

    Raises:
        ValueError: it is packed so that it could grow without limit; torch itself packs nothing.
        Exception: a dozen kinds of torch's for files that are broken or hold more than tensors.
    """
    import torch

    packed = is_zipfile(file)
    if packed:
        _check_size(file)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap and packed)


def _check_size(file: Path) -> None:
    """Refuse archives whose content is larger than they are."""
    try:
        with ZipFile(file) as archive:
            contents = archive.infolist()
    except BadZipFile:
        return  # torch says what is wrong
    size = sum(one.file_size for one in contents)
    if any(one.compress_type != ZIP_STORED for one in contents) or size > file.stat().st_size:
        raise ValueError("compressed archive")
