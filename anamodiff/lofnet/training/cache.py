"""Latents of clips, encoded once and cached on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.shards import Shards, digest
from anamodiff.meter import meter
from anamodiff.resources import expanded

logger = logging.getLogger(__name__)

_BATCH = 8  # frames
_LARGEST_DETECTOR_FRAME = 256
# Frames that nowhere differ by more than two of 255 levels are one picture, compressed.
_STILL = 2 * 2 / 255


class LatentEncoder(Protocol):
    """The part of a backbone that caching needs."""

    image_size: int
    hash: str

    def encode(self, frames: Tensor) -> Tensor:
        """Latents ``f c h w`` of frames ``f c h w`` in [-1, 1]."""
        ...


@dataclass(frozen=True)
class _ClipFile:
    """A clip to cache: its path, its name in the data folder and a digest of its content."""

    path: Path
    name: str
    key: str
    held_out: bool


def cache_latents(
    folder: Path | str,
    *,
    backbone: LatentEncoder,
    cache: Path | str,
    frames_per_clip: int = 32,
    frame_size: int | None = None,
    progress: bool = True,
) -> LatentClips:
    """Encode the clips of a folder, unless they are cached already.

    Clips are known by their content, the backbone and the settings. Those that cannot be read and
    those in which nothing moves are left out, and named in one log line at the end.

    Args:
        folder: clips in any format that `anamodiff.video.clip` reads. If it has ``train`` and
            ``test`` folders, as MGIF has, the test clips are held out.
        backbone: encodes frames of its `image_size`.
        cache: folder of the cache, which several processes may share.
        frames_per_clip: at most so many frames of a clip, evenly spaced.
        frame_size: side of the detector's frames; the backbone's, 256 at most, by default.

    Returns:
        The clips, in the order of their names.

    Raises:
        AnaMoDiffError: no clip could be read, or the cache cannot be written.
    """
    from anamodiff.video.find import look_for_clips

    folder = expanded(folder)
    found = look_for_clips(folder)
    paths = found.clips
    tests = folder / "test" if (folder / "train").is_dir() else None
    clips, failed = [], {}
    with meter("clips", len(paths), unit="clip", shown=progress, leave=False) as bar:
        for path in paths:
            name = _name(path, folder)
            try:
                clips.append(_ClipFile(path, name, _content_digest(path), tests in path.parents))
            except OSError as error:
                failed[name] = str(error)
            bar.update()
    size = frame_size or min(backbone.image_size, _LARGEST_DETECTOR_FRAME)
    shards = Shards(cache, f"{backbone.hash} {backbone.image_size} {size} {frames_per_clip}")
    with _damaged_clips(folder) as damaged:
        failed |= _fill(shards, clips, backbone, frames_per_clip, size, progress)
    _summarise(failed, damaged - failed.keys(), len(paths))
    _report_left_out(found.left_out, folder)
    usable = [clip for clip in clips if clip.key in shards]
    if not usable:
        raise AnaMoDiffError(
            f"expected clips of at least two frames in {folder}, found none that can be read: "
            "name a folder of gifs, videos or frame folders"
        )
    return LatentClips([shards.find(c.key, c.name, held_out=c.held_out) for c in usable])


def _fill(
    shards: Shards, clips: Sequence[_ClipFile], backbone: LatentEncoder, frames: int, size: int,
    progress: bool,
) -> dict[str, str]:  # fmt: skip
    """Encode the clips that are not cached yet; returns the reasons of those that failed."""
    failed: dict[str, str] = {}
    if all(clip.key in shards for clip in clips):
        return failed  # a complete cache may be read-only
    with (
        shards.writing(),
        meter("latents", len(clips), unit="clip", shown=progress) as bar,
    ):
        for clip in clips:
            bar.update()
            if clip.key in shards:
                continue
            try:
                distinct = _read_frames(clip.path, frames, backbone.image_size)
                shards.add(clip.key, _encode_clip(distinct, backbone, size))
            except _UnusableClip as error:
                failed[clip.name] = str(error)
    return failed


class _UnusableClip(Exception):
    """A clip that cannot be read or teaches nothing."""


def _read_frames(path: Path, count: int, size: int) -> Tensor:
    """At most `count` frames ``f 3 s s`` of a clip, evenly spaced."""
    from anamodiff.video.clip import read_clip

    try:
        clip = read_clip(path, frames=count, size=size, minimum=2)
    except Exception as error:  # decoders raise dozens of types; one clip must not stop the rest
        raise _UnusableClip(" ".join(str(error).split()) or type(error).__name__) from error
    # Shorter clips come with repeated frames, which would only take room.
    distinct = torch.stack([clip.frames[i] for i in _first_places(clip.indices)])
    if (distinct.amax(dim=0) - distinct.amin(dim=0)).max() <= _STILL:
        raise _UnusableClip(f"expected a clip that moves, got {len(distinct)} equal frames")
    return distinct


def _encode_clip(frames: Tensor, backbone: LatentEncoder, size: int) -> dict[str, Tensor]:
    with torch.no_grad():
        parts = [backbone.encode(part) for part in frames.split(_BATCH)]
    latents = torch.cat(parts).to("cpu", torch.float16)
    if not latents.isfinite().all():
        raise _UnusableClip("expected finite latents, the backbone gave NaN or infinity")
    if frames.shape[-1] != size:
        frames = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
    frames = ((frames + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    return {"frames": frames.contiguous(), "latents": latents.contiguous()}


def _first_places(indices: Sequence[int]) -> list[int]:
    """Positions of the first occurrence of each index."""
    return sorted({frame: place for place, frame in reversed(list(enumerate(indices)))}.values())


@contextmanager
def _damaged_clips(folder: Path) -> Iterator[set[str]]:
    """Collect the readers' warnings, which would disrupt the progress bar.

    Yields:
        A set to which the names of clips are added that could be decoded only in part.
    """
    reader = logging.getLogger("anamodiff.video.sampling")
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
    """Log one line for the clips left out, and one for those decoded in part."""
    for name, reason in failed.items():
        logger.debug("%s skipped: %s", name, reason)
    if failed:
        reason = next(iter(failed.values()))
        first = "" if len(failed) == 1 else "the first: "
        names = ", ".join(failed)
        logger.warning(
            "%d of %d clips skipped: %s (%s%s)", len(failed), total, names, first, reason
        )
    if damaged:
        logger.warning(
            "%d of %d clips are damaged and used as far as they can be decoded: %s",
            len(damaged), total, ", ".join(sorted(damaged)),
        )  # fmt: skip


def _report_left_out(left_out: Mapping[Path, str], folder: Path) -> None:
    """Log a line for each reason for which files were not taken for clips; it names them all."""
    for reason in sorted(set(left_out.values())):
        names = [_name(path, folder) for path, why in left_out.items() if why == reason]
        logger.warning("%d files left out (%s, no clip): %s", len(names), reason, ", ".join(names))


def _name(path: Path, folder: Path) -> str:
    """A clip's name: its path inside the data folder."""
    return path.relative_to(folder).as_posix() if folder in path.parents else path.name


def _content_digest(path: Path) -> str:
    """Digest of a clip's bytes, or of a folder's files with their names."""
    parts = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    names = b"" if path.is_file() else "\n".join(p.name for p in parts).encode()
    return digest(names, *(_file_digest(part) for part in parts))


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
