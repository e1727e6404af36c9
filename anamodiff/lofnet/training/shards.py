"""The cache of latents on disk: shards of many clips each, written atomically."""

from __future__ import annotations

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
from anamodiff.resources import move_into_place

logger = logging.getLogger(__name__)

#: Bytes after which a shard is written: small enough to lose in a kill, large enough to be few.
SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class CachedClip:
    """A clip's place in the cache.

    Attributes:
        name: for messages and for `LatentClips.split`.
        file: its shard.
        start: its first row in the shard.
        length: its number of rows, one a frame.
        held_out: whether it is a test clip of its data set, never trained on.
    """

    name: str
    file: Path
    start: int
    length: int
    held_out: bool = False


class Shards:
    """Encoded clips by key, for one backbone and one set of frame settings.

    A shard is a safetensors file with the concatenated rows of its clips, ``frames`` uint8 ``n 3 s
    s`` and ``latents`` fp16 ``n c h w``, and their keys and lengths in its metadata. Truncated
    shards are ignored, so that their clips are encoded again.

    Args:
        cache: folder of caches; this one has a subfolder for its settings.
        settings: all that rows depend on beside a clip's content, whose digest is its key.
    """

    def __init__(self, cache: Path | str, settings: str) -> None:
        self.folder = Path(cache) / digest(settings.encode())
        self._settings = settings
        self._clips: dict[str, CachedClip] = {}
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._pending_bytes = 0
        self.scan()

    def __contains__(self, key: str) -> bool:
        return key in self._clips or key in self._pending

    def find(self, key: str, name: str, *, held_out: bool = False) -> CachedClip:
        """A written clip, under a name."""
        return replace(self._clips[key], name=name, held_out=held_out)

    def scan(self) -> None:
        """List the shards on disk, which other processes may have written."""
        self._clips = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            start = 0
            for key, length in _contents(file) or []:
                self._clips[key] = CachedClip(key, file, start, length)
                start += length

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the cache for writing; pending rows are written at the end.

        Waits while another process holds the lock, then lists what it has written.

        Raises:
            AnaMoDiffError: the cache cannot be written.
        """
        with _write_errors(self.folder, 0, 0):
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

    def add(self, key: str, rows: dict[str, Tensor]) -> None:
        """Add a clip's rows, and write a shard once there are enough."""
        self._pending[key] = rows
        self._pending_bytes += sum(tensor.nbytes for tensor in rows.values())
        if self._pending_bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write pending rows as one shard.

        Raises:
            AnaMoDiffError: it cannot be written; earlier shards stay.
        """
        pending, self._pending, self._pending_bytes = self._pending, {}, 0
        if not pending:
            return
        contents = [(key, len(rows["latents"])) for key, rows in pending.items()]
        file = self.folder / f"{digest(json.dumps(contents).encode())}.safetensors"
        tensors = {k: torch.cat([r[k] for r in pending.values()]) for k in ("frames", "latents")}
        size = sum(tensor.nbytes for tensor in tensors.values())
        draft = file.with_name(f"{file.name}.{os.getpid()}.part")
        metadata = {"clips": json.dumps(contents), "settings": self._settings}
        with _write_errors(self.folder, size, len(self._clips), draft):
            save_file(tensors, draft, metadata=metadata)
            move_into_place(draft, file)
        start = 0
        for key, length in contents:
            self._clips[key] = CachedClip(key, file, start, length)
            start += length

    def _clean(self) -> None:
        """Remove the files of killed writers; under the lock, nobody is writing."""
        broken = [f for f in self.folder.glob("*.safetensors") if _contents(f) is None]
        if broken:
            logger.warning(
                "%d of the cache's files are cut short or broken: their clips are made again",
                len(broken),
            )
        for file in [*broken, *self.folder.glob("*.part")]:
            file.unlink(missing_ok=True)


def open_shard(file: Path) -> tuple[Tensor, Tensor]:
    """Memory-map a shard: its frames uint8 ``n 3 s s`` and latents fp16 ``n c h w``.

    Pages are read on access; no file stays open.

    Raises:
        AnaMoDiffError: it is missing or broken.
    """
    try:
        with safe_open(file, framework="pt") as content:
            return content.get_tensor("frames"), content.get_tensor("latents")
    except (OSError, SafetensorError) as error:
        raise AnaMoDiffError(
            f"expected latents in {file}, got: {error}: run again, they are made anew"
        ) from error


def digest(*parts: bytes) -> str:
    """SHA-256 of byte strings with their lengths, as 32 hex digits."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:32]


def _contents(file: Path) -> list[tuple[str, int]] | None:
    """Keys and lengths of a shard's clips; None where it is broken."""
    try:
        with safe_open(file, framework="pt") as content:
            clips = json.loads(content.metadata()["clips"])
            rows = {content.get_slice(key).get_shape()[0] for key in ("frames", "latents")}
            return clips if rows == {sum(length for _, length in clips)} else None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


@contextmanager
def _write_errors(folder: Path, size: int, kept: int, draft: Path | None = None) -> Iterator[None]:
    """Raise a failure to write as one line, and remove the half-written file."""
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
