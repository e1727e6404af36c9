"""Files of torch's own kind, read as tensors and plain values only; and NaN among weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

from anamodiff.errors import AnaMoDiffError

if TYPE_CHECKING:
    from torch import Tensor


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


def read_published(file: Path, wanted: str, cure: str = "correct it") -> Any:
    """`read_tensors` of a checkpoint that somebody named.

    Args:
        wanted: what it is to be.
        cure: what helps where there is no such file.

    Raises:
        AnaMoDiffError: it is not there, broken, or holds more than tensors.
    """
    if not file.is_file():
        raise AnaMoDiffError(f"expected {wanted}, found no file {file}: {cure}")
    try:
        return read_tensors(file)
    except Exception as error:  # torch raises a dozen types for broken and for unsafe files
        raise AnaMoDiffError(
            f"expected {wanted}, {file} is broken or holds more than tensors "
            f"({type(error).__name__}): fetch it again"
        ) from error


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


def not_finite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of a tensor that holds NaN or infinity; None where none does."""
    for name, tensor in named:
        # A sum reads the numbers once; only where it is not finite does each have to be looked at.
        suspect = tensor.is_floating_point() and not bool(tensor.sum().isfinite())
        if suspect and not bool(tensor.isfinite().all()):
            return name
    return None
