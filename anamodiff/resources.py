"""Files: those shipped with the package, those that people name, and those written whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, to write to; it takes the place of `path` if all
    goes well, so that nobody sees half a file."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink()
