"""Latents of clips, computed once and kept on disk."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.clips import LatentClips
from anamodiff.lofnet.shards import Shards, digest

__all__ = ["LatentClips", "cache_frames", "cache_latents"]

logger = logging.getLogger(__name__)

_ENCODE_AT_ONCE = 8
_LARGEST_DETECTOR_FRAME = 256
# Frames that differ by no more than two of 255 levels anywhere are one picture, compressed.
_STILL = 2 * 2 / 255
_NAMED = 5


class Encoder(Protocol):
    """The part of a backbone that the cache needs."""

    image_size: int
    hash: str

    def encode(self, frames: Tensor) -> Tensor:
        """Turn frames ``f c h w`` in [-1, 1] into latents ``f c h w``."""
        ...


@dataclass(frozen=True)
class _Source:
    """A clip before it is cached: its name, a digest of its content, and what gives its frames."""

    name: str
    identity: str
    read: Callable[[], Tensor]
    held_out: bool = False


def cache_latents(
    folder: Path | str,
    *,
    backbone: Encoder,
    cache: Path | str,
    frames_per_clip: int = 32,
    frame_size: int | None = None,
    progress: bool = True,
) -> LatentClips:
    """Encode every clip of a folder once, and keep the latents.

    Args:
        folder: clips in any format that `anamodiff.video` reads. Where it holds ``train`` and
            ``test``, as MGIF does, the test clips are held out.
        backbone: encodes frames of its `image_size`.
        cache: folder for the results; a clip already there, with the same content, backbone and
            settings, is not encoded again. Several processes may share it.
        frames_per_clip: at most so many frames of a clip, evenly spread.
        frame_size: side of the detector's frames; the backbone's, 256 at most, by default.

    Returns:
        The clips, in the order of their names. Those that cannot be read and those in which
        nothing moves are left out; one line at the end names them.

    Raises:
        AnaMoDiffError: no clip could be read, or the cache cannot be written.
    """
    from anamodiff.video import find_clips

    folder = Path(folder).expanduser()
    paths = find_clips(folder)
    tests = folder / "test" if (folder / "train").is_dir() else None
    sources, failed = [], {}
    for path in tqdm(paths, desc="clips", unit="clip", disable=not progress, leave=False):
        name = _name(path, folder)
        try:
            identity = _identity(path)
        except OSError as error:
            failed[name] = str(error)
            continue
        read = _reader(path, frames_per_clip, backbone.image_size)
        sources.append(_Source(name, identity, read, tests in path.parents))
    size = frame_size or min(backbone.image_size, _LARGEST_DETECTOR_FRAME)
    shards = Shards(cache, f"{backbone.hash} {backbone.image_size} {size} {frames_per_clip}")
    with _damaged_clips(folder) as damaged:
        failed |= _fill(shards, sources, backbone, size, progress)
    _summarise(failed, damaged - failed.keys(), len(paths))
    found = [s for s in sources if s.identity in shards]
    if not found:
        raise AnaMoDiffError(
            f"expected clips of at least two frames in {folder}, found none that can be read: "
            "name a folder of gifs, videos or frame folders"
        )
    return LatentClips([shards.find(s.identity, s.name, held_out=s.held_out) for s in found])


def cache_frames(
    clips: Iterable[tuple[str, Callable[[], Tensor]]],
    *,
    backbone: Encoder,
    cache: Path | str,
    frame_size: int | None = None,
    progress: bool = True,
) -> LatentClips:
    """Encode clips that are made, not read (drawn creatures, say), and keep the latents.

    Args:
        clips: of each a name, which must say all that decides its frames, and what makes them:
            ``f 3 s s`` in [-1, 1] at the backbone's `image_size`. It is not called for a clip
            that the cache holds already.

    The other arguments, and what is returned and raised, are `cache_latents`'.
    """
    size = frame_size or min(backbone.image_size, _LARGEST_DETECTOR_FRAME)
    sources = [_Source(name, digest(name.encode()), make) for name, make in clips]
    shards = Shards(cache, f"{backbone.hash} {backbone.image_size} {size} made")
    failed = _fill(shards, sources, backbone, size, progress)
    _summarise(failed, set(), len(sources))
    return LatentClips([shards.find(s.identity, s.name) for s in sources if s.identity in shards])


def _fill(
    shards: Shards, sources: Sequence[_Source], backbone: Encoder, size: int, progress: bool
) -> dict[str, str]:
    """Put every source that is not there yet into the cache; say why some could not be."""
    failed: dict[str, str] = {}
    if all(source.identity in shards for source in sources):
        return failed  # a cache that is full may be read-only
    with (
        shards.writing(),
        tqdm(sources, desc="latents", unit="clip", disable=not progress) as bar,
    ):
        for source in bar:
            if source.identity in shards:
                continue
            try:
                shards.add(source.identity, _encode_clip(_read(source), backbone, size))
            except _Unusable as error:
                failed[source.name] = str(error)
    return failed


class _Unusable(Exception):
    """A clip that cannot be read or taught from."""


def _read(source: _Source) -> Tensor:
    try:
        return source.read()
    except Exception as error:  # decoders raise dozens of kinds; one clip must not stop the rest
        raise _Unusable(" ".join(str(error).split()) or type(error).__name__) from error


def _reader(path: Path, frames: int, size: int) -> Callable[[], Tensor]:
    """What reads a clip's frames ``f 3 s s``, each once."""
    from anamodiff.video import read_clip

    def read() -> Tensor:
        clip = read_clip(path, frames=frames, size=size, minimum=2)
        # A clip shorter than asked for comes with repeated frames, which only take room.
        distinct = torch.stack([clip.frames[i] for i in _first_places(clip.indices)])
        if (distinct.amax(dim=0) - distinct.amin(dim=0)).max() <= _STILL:
            raise AnaMoDiffError(f"expected a clip that moves, got {len(distinct)} equal frames")
        return distinct

    return read


def _encode_clip(frames: Tensor, backbone: Encoder, size: int) -> dict[str, Tensor]:
    with torch.no_grad():
        parts = [backbone.encode(part) for part in frames.split(_ENCODE_AT_ONCE)]
    latents = torch.cat(parts).to("cpu", torch.float16)
    if not latents.isfinite().all():
        raise _Unusable("expected finite latents, the backbone gave NaN or infinity")
    if frames.shape[-1] != size:
        frames = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
    frames = ((frames + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    return {"frames": frames.contiguous(), "latents": latents.contiguous()}


def _first_places(indices: Sequence[int]) -> list[int]:
    return sorted({frame: place for place, frame in reversed(list(enumerate(indices)))}.values())


@contextmanager
def _damaged_clips(folder: Path) -> Iterator[set[str]]:
    """Gather the readers' lines of single clips, which would bury the progress bar.

    Yields:
        A set that gets the names of clips used only as far as they can be decoded.
    """
    reader = logging.getLogger("anamodiff.reel")
    damaged: set[str] = set()

    def gather(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING and record.args:
            damaged.add(_name(Path(str(record.args[0])), folder))
        return False

    reader.addFilter(gather)
    try:
        yield damaged
    finally:
        reader.removeFilter(gather)


def _summarise(failed: dict[str, str], damaged: set[str], total: int) -> None:
    """One line each for what was left out and for what was used in part."""
    for name, reason in failed.items():
        logger.debug("%s skipped: %s", name, reason)
    if failed:
        reason = next(iter(failed.values()))
        first = "" if len(failed) == 1 else "the first: "
        logger.warning(
            "%d of %d clips skipped: %s (%s%s)", len(failed), total, _few(failed), first, reason
        )
    if damaged:
        logger.warning(
            "%d of %d clips are damaged and used as far as they can be decoded: %s",
            len(damaged), total, _few(sorted(damaged)),
        )  # fmt: skip


def _name(path: Path, folder: Path) -> str:
    """A clip's name: its path inside the data folder."""
    return path.relative_to(folder).as_posix() if folder in path.parents else path.name


def _few(names: Iterable[str]) -> str:
    """Names in one line, a handful at most."""
    names = list(names)
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _identity(path: Path) -> str:
    """Digest of what a clip holds: its bytes, or those of a folder's files with their names."""
    parts = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    names = b"" if path.is_file() else "\n".join(p.name for p in parts).encode()
    return digest(names, *(_file_digest(part) for part in parts))


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
