"""Finds the files shipped with the package: configurations and checkpoints."""

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
