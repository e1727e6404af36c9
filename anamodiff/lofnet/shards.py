"""The cache of latents on disk: files of many clips each, written whole or not at all."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

logger = logging.getLogger(__name__)

#: Bytes that a shard holds before it is written: small enough to lose, large enough to be few.
SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class CachedClip:
    """Where in the cache a clip lies.

    Attributes:
        name: what to call it in messages, and what decides whether it is held out.
        file: the shard.
        start: its first row in the shard.
        length: its number of rows, one a frame.
        held_out: a test clip of its data set, never trained on.
    """

    name: str
    file: Path
    start: int
    length: int
    held_out: bool = False


class Shards:
    """Encoded clips of one backbone and one set of frame settings, in a folder of their own.

    A shard is a safetensors file with the rows of its clips one after the other, ``frames`` uint8
    ``n 3 s s`` and ``latents`` fp16 ``n c h w``; which rows are whose is in its metadata. A shard
    that is cut short is left out, so that its clips are made again.

    Args:
        cache: folder of caches.
        settings: all that decides the rows beside a clip's content.
    """

    def __init__(self, cache: Path | str, settings: str) -> None:
        self.folder = Path(cache) / digest(settings.encode())
        self._settings = settings
        self._clips: dict[str, CachedClip] = {}
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._waiting = 0  # bytes
        self.scan()

    def __contains__(self, identity: str) -> bool:
        return identity in self._clips or identity in self._pending

    def __len__(self) -> int:
        return len(self._clips)

    def find(self, identity: str, name: str, *, held_out: bool = False) -> CachedClip:
        """Give a clip that was written, under a name."""
        return replace(self._clips[identity], name=name, held_out=held_out)

    def scan(self) -> None:
        """Take stock of the shards that are there, which other processes may have written."""
        self._clips = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            start = 0
            for identity, length in _contents(file) or []:
                self._clips[identity] = CachedClip(identity, file, start, length)
                start += length

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that fills the cache; what is pending is written at the end.

        Waits for another process that is at it, and then knows what that one has written.

        Raises:
            AnaMoDiffError: the cache cannot be written.
        """
        with _explained(self.folder, 0, 0):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("another process fills %s: waiting for it", self.folder)
                lock.acquire()
        try:
            self._clean()
            self.scan()
            try:
                yield
            finally:
                self.flush()
        finally:
            lock.release()

    def add(self, identity: str, rows: dict[str, Tensor]) -> None:
        """Keep a clip's rows, and write a shard once there are enough."""
        self._pending[identity] = rows
        self._waiting += sum(tensor.nbytes for tensor in rows.values())
        if self._waiting >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard.

        Raises:
            AnaMoDiffError: there is no room for it; the shards before it stay.
        """
        pending, self._pending, self._waiting = self._pending, {}, 0
        if not pending:
            return
        contents = [(identity, len(rows["latents"])) for identity, rows in pending.items()]
        file = self.folder / f"{digest(json.dumps(contents).encode())}.safetensors"
        tensors = {k: torch.cat([r[k] for r in pending.values()]) for k in ("frames", "latents")}
        size = sum(tensor.nbytes for tensor in tensors.values())
        draft = file.with_name(f"{file.name}.{os.getpid()}.part")
        metadata = {"clips": json.dumps(contents), "settings": self._settings}
        with _explained(self.folder, size, len(self._clips), draft):
            save_file(tensors, draft, metadata=metadata)
            os.replace(draft, file)
        start = 0
        for identity, length in contents:
            self._clips[identity] = CachedClip(identity, file, start, length)
            start += length

    def _clean(self) -> None:
        """Remove what killed writers left; with the lock, nobody is writing."""
        broken = [f for f in self.folder.glob("*.safetensors") if _contents(f) is None]
        if broken:
            logger.warning(
                "%d of the cache's files are cut short or broken: their clips are made again",
                len(broken),
            )
        for file in [*broken, *self.folder.glob("*.part")]:
            file.unlink(missing_ok=True)


def open_shard(file: Path) -> tuple[Tensor, Tensor]:
    """Map a shard into memory: its frames uint8 ``n 3 s s`` and latents fp16 ``n c h w``.

    The system reads what is looked at and may drop it again; no file stays open.

    Raises:
        AnaMoDiffError: it is gone or broken.
    """
    try:
        with safe_open(file, framework="pt") as content:
            return content.get_tensor("frames"), content.get_tensor("latents")
    except (OSError, SafetensorError) as error:
        raise AnaMoDiffError(
            f"expected latents in {file}, got: {error}: run again, they are made anew"
        ) from error


def digest(*parts: bytes) -> str:
    """Short name for some bytes, none of which runs into the next."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:32]


def _contents(file: Path) -> list[tuple[str, int]] | None:
    """Identities and lengths of a shard's clips; none where it is broken."""
    try:
        with safe_open(file, framework="pt") as content:
            clips = json.loads(content.metadata()["clips"])
            rows = {content.get_slice(key).get_shape()[0] for key in ("frames", "latents")}
            return clips if rows == {sum(length for _, length in clips)} else None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


@contextmanager
def _explained(folder: Path, size: int, kept: int, draft: Path | None = None) -> Iterator[None]:
    """Turn a failure to write into one line, and leave nothing half-written."""
    try:
        yield
    except (OSError, NotImplementedError, SafetensorError) as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        room = f"room for {size / 2**20:.1f} MiB of latents" if size else "to write latents"
        kept_line = f"; the {kept} clips written before are kept, a new run goes on from them"
        raise AnaMoDiffError(
            f"expected {room} in {folder}, got: {error}: free some space or name another cache "
            f"folder{kept_line if kept else ''}"
        ) from error
