"""Files: those shipped with the package, those that people name, and those written whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from anamodiff.errors import AnaMoDiffError

# What file systems answer that cannot be asked to write at once.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)

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
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, to write to; it takes the place of `path` if all
    goes well, so that nobody sees half a file.

    What processes left that were killed in here is removed.

    Args:
        durable: as `move_into_place`; else the file may be lost in a power cut.
    """
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    if durable:
        remove_stale(path.parent, escape(path.stem), path.suffix)
    try:
        yield unfinished
        if durable:
            move_into_place(unfinished, path)
        else:
            os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def move_into_place(unfinished: Path, path: Path) -> None:
    """Rename a file, or a folder of files, which is on the disk before it has its name.

    After a power cut `path` is the old one or the new one, not an empty file of that name.
    """
    files = [unfinished] if unfinished.is_file() else sorted(unfinished.rglob("*"))
    for file in files:
        _sync(file)
    os.replace(unfinished, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, or a folder's names are, where that can be asked for."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return
    try:
        number = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        if not folder and error.errno not in _NO_SYNC:
            raise


def remove_stale(folder: Path, stem: str = "*", suffix: str = "") -> None:
    """Remove what `replacing` left in a folder in processes of this machine that were killed.

    Args:
        stem: a glob pattern for names of files without their suffix.
    """
    if os.name == "nt":  # a signal of 0 would end a process there
        return
    with suppress(OSError):
        for left in folder.glob(f".{stem}.*{escape(suffix)}"):
            number = left.name.removesuffix(suffix).rpartition(".")[2]
            if number.isdecimal() and not _is_alive(int(number)):
                left.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True
