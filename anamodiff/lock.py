"""One process at a time in a folder: locks that name their holder and end with it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from anamodiff.errors import AnaMoDiffError

logger = logging.getLogger(__name__)

LOCK, HOLDER = ".lock", ".lock-holder"
# Locks that this process holds, by their folder, with the number of those who asked for it.
_HELD: dict[Path, tuple[FileLock, int]] = {}


def hold(folder: Path, what: str) -> None:
    """Lock a folder, which is made if need be, for this process; `release` it as often.

    The system ends the lock with the process, however that ends: a lock that a killed process left
    is taken over. Where the file system knows no locks, there is none.

    Args:
        what: the folder's word in the message.

    Raises:
        AnaMoDiffError: another process holds it; the line names process and machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = folder.resolve()
    lock, count = _HELD.get(key, (None, 0))
    if lock is None:
        lock = FileLock(key / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise AnaMoDiffError(
                f"expected a {what} that no other process writes, got {folder}, held by "
                f"{_holder(key)}: wait for it to end, or name another --output"
            ) from None
        except NotImplementedError:
            logger.debug("%s cannot be locked", folder)
        with suppress(OSError):
            holder = f"process {os.getpid()} on {socket.gethostname()}\n"
            (key / HOLDER).write_text(holder, encoding="utf-8")
    _HELD[key] = lock, count + 1


def release(folder: Path) -> None:
    """Undo one `hold`."""
    key = folder.resolve()
    lock, count = _HELD.pop(key)
    if count > 1:
        _HELD[key] = lock, count - 1
        return
    with suppress(OSError):  # while it is held: afterwards it may be another's
        (key / HOLDER).unlink()
    lock.release()  # the lock's file stays: another process may just have opened it


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """`hold` a folder, and `release` it at the end."""
    hold(folder, what)
    try:
        yield
    finally:
        release(folder)


def is_trace(path: Path) -> bool:
    """Whether a file is a lock's, or half-written by a process that was killed."""
    name = path.name
    return name in (LOCK, HOLDER) or (name.startswith(".") and name.rpartition(".")[2].isdigit())


def _holder(folder: Path) -> str:
    with suppress(OSError, ValueError):
        return " ".join((folder / HOLDER).read_text(encoding="utf-8").split()) or "another"
    return "another"
