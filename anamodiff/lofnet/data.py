"""Latents of clips, computed once and kept on disk."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.clips import LatentClips

__all__ = ["LatentClips", "cache_frames", "cache_latents"]

logger = logging.getLogger(__name__)

_ENCODE_AT_ONCE = 8
_LARGEST_DETECTOR_FRAME = 256


class Encoder(Protocol):
    """The part of a backbone that the cache needs."""

    image_size: int
    hash: str

    def encode(self, frames: Tensor) -> Tensor:
        """Turn frames ``f c h w`` in [-1, 1] into latents ``f c h w``."""
        ...


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
        folder: clips in any format that `anamodiff.video` reads.
        backbone: encodes frames of its `image_size`.
        cache: folder for the results; a clip already there, with the same content, backbone and
            settings, is not encoded again.
        frames_per_clip: at most so many frames of a clip, evenly spread.
        frame_size: side of the detector's frames; the backbone's, 256 at most, by default.

    Returns:
        The clips, in the order of their names. Unreadable ones are left out, with one line each.

    Raises:
        AnaMoDiffError: no clip could be read, or the cache cannot be written.
    """
    from anamodiff.video import find_clips, read_clip

    def reader(path: Path) -> Callable[[], Tensor]:
        def read() -> Tensor:
            clip = read_clip(path, frames=frames_per_clip, size=backbone.image_size, minimum=2)
            # A clip shorter than asked for comes with repeated frames, which only take room.
            return torch.stack([clip.frames[i] for i in _first_places(clip.indices)])

        return read

    size = frame_size or min(backbone.image_size, _LARGEST_DETECTOR_FRAME)
    settings = f"{backbone.hash} {backbone.image_size} {size} {frames_per_clip}"
    files, names = [], []
    for path in tqdm(find_clips(folder), desc="latents", unit="clip", disable=not progress):
        target = Path(cache) / f"{_digest(settings.encode(), _identity(path))}.safetensors"
        if _store(target, path, reader(path), backbone, size):
            files.append(target)
            names.append(path.name)
    if not files:
        raise AnaMoDiffError(
            f"expected clips of at least two frames in {folder}, found none that can be read: "
            "name a folder of gifs, videos or frame folders"
        )
    return LatentClips(files, names)


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
    settings = f"{backbone.hash} {backbone.image_size} {size} made"
    files, names = [], []
    for name, make in tqdm(clips, desc="latents", unit="clip", disable=not progress):
        target = Path(cache) / f"{_digest(settings.encode(), name.encode())}.safetensors"
        if _store(target, name, make, backbone, size):
            files.append(target)
            names.append(name)
    return LatentClips(files, names)


def _store(
    target: Path, name: object, read: Callable[[], Tensor], backbone: Encoder, size: int
) -> bool:
    """Make sure that `target` holds a clip; false, with a line, where it cannot be read."""
    if _is_whole(target):
        return True
    try:
        tensors = _encode_clip(read(), backbone, size)
    except (AnaMoDiffError, OSError) as error:
        logger.warning("%s skipped: %s", name, error)
        return False
    _write(tensors, target)
    return True


def _encode_clip(frames: Tensor, backbone: Encoder, size: int) -> dict[str, Tensor]:
    with torch.no_grad():
        latents = [backbone.encode(part) for part in frames.split(_ENCODE_AT_ONCE)]
    if frames.shape[-1] != size:
        frames = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
    frames = ((frames + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    return {"frames": frames.contiguous(), "latents": torch.cat(latents).to("cpu", torch.float16)}


def _first_places(indices: Sequence[int]) -> list[int]:
    return sorted({frame: place for place, frame in reversed(list(enumerate(indices)))}.values())


def _write(tensors: dict[str, Tensor], target: Path) -> None:
    """Write a cache file under another name first: nobody ever sees half of it."""
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, draft)
        os.replace(draft, target)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        raise AnaMoDiffError(
            f"expected to write latents to {target.parent}, got: {error}: free some space or name "
            "another cache folder"
        ) from error


def _is_whole(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt") as content:
            return {"frames", "latents"} <= set(content.keys())
    except (OSError, SafetensorError):
        return False


def _identity(path: Path) -> bytes:
    """Digest of what a clip holds: its bytes, or those of a folder's files with their names."""
    parts = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if p.is_file()]
    names = b"" if path.is_file() else "\n".join(p.name for p in parts).encode()
    return _digest(names, *(_file_digest(part) for part in parts)).encode()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
