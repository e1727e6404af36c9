"""Finds files: those shipped with the package, and those that people name."""

import os
from pathlib import Path

from anamodiff.errors import AnaMoDiffError

PACKAGE = Path(__file__).resolve().parent


def find(relative: str) -> Path:
    """Path of a file or folder shipped with AnaMoDiff, such as `configs` or `checkpoints/mini`.

    A wheel carries it inside the package; in an editable install and a bare checkout it lies
    beside the package.

    Raises:
        AnaMoDiffError: it is in neither place.
    """
    for base in (PACKAGE, PACKAGE.parent):
        if (base / relative).exists():
            return base / relative
    raise AnaMoDiffError(
        f"expected {relative} in {PACKAGE} or beside it, found neither; install AnaMoDiff again"
    )


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path that people mean: `~` and `~name` are homes, unless a file has that very name.

    A home that nobody has stays as it is written: `~` is a letter of file names, too.
    """
    path = Path(path)
    if path.parts[:1] and path.parts[0].startswith("~") and not os.path.lexists(path):
        try:
            return path.expanduser()
        except RuntimeError:
            return path
    return path
