"""Clips as LOFNet is trained on them: frames for the detector and latents, computed once."""

import hashlib
import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from anamodiff.errors import AnaMoDiffError

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


@dataclass(frozen=True)
class Pairs:
    """Pairs of frames, each pair from one clip.

    Attributes:
        frames: source frames, then driving frames: ``2b 3 s s`` in [-1, 1].
        latents: of the same: ``2b c h w``.
    """

    frames: Tensor
    latents: Tensor

    def __len__(self) -> int:
        return self.frames.shape[0] // 2

    def to(self, device: torch.device | str) -> "Pairs":
        """Move both tensors."""
        return Pairs(self.frames.to(device), self.latents.to(device))


class LatentClips:
    """Clips in a cache: of each, frames uint8 ``n 3 s s`` and latents fp16 ``n c h w``.

    The files are memory-mapped: the system keeps in memory what is in use and may drop it.

    Args:
        files: one safetensors file a clip, as `cache_latents` writes them.
        names: what to call the clips in messages; the files' names by default.
    """

    def __init__(self, files: Sequence[Path], names: Sequence[str] | None = None) -> None:
        if not files:
            raise AnaMoDiffError("expected at least one clip of two frames, got none: add clips")
        self.files = list(files)
        self.names = [file.stem for file in files] if names is None else list(names)
        self._open = [safe_open(file, framework="pt") for file in self.files]
        self.lengths = [f.get_slice("latents").get_shape()[0] for f in self._open]
        self.frame_size = self._open[0].get_slice("frames").get_shape()[-1]
        self.latent_channels = self._open[0].get_slice("latents").get_shape()[1]
        self._spoiled: set[int] = set()

    def __len__(self) -> int:
        return len(self.files)

    def clip(self, index: int) -> tuple[Tensor, Tensor]:
        """Give one whole clip: frames ``f 3 s s`` in [-1, 1] and latents ``f c h w``."""
        file = self._open[index]
        return _from_bytes(file.get_tensor("frames")), file.get_tensor("latents").float()

    def split(self, held_out: float) -> tuple["LatentClips", "LatentClips"]:
        """Set aside a share of the clips, always the same ones whatever their order.

        Returns:
            The clips to train on and those held out; both are all clips where there is only one
            or `held_out` is zero.
        """
        if len(self) < 2 or held_out <= 0:
            return self, self
        order = sorted(range(len(self)), key=lambda i: _digest(self.names[i].encode()))
        count = min(len(self) - 1, math.ceil(held_out * len(self)))
        return self._choose(sorted(order[count:])), self._choose(sorted(order[:count]))

    def draw(
        self, batch: int, *, generator: torch.Generator | None = None, flip: bool = False
    ) -> Pairs:
        """Draw pairs with replacement: a clip, then any two of its frames in any order.

        Args:
            flip: mirror every second pair or so, frames and latents alike. The latent of a
                mirrored frame is not quite the mirrored latent, but the flow between two
                mirrored latents is the mirrored flow.

        Raises:
            AnaMoDiffError: the clips hold hardly anything but broken latents.
        """
        chosen: list[tuple[Tensor, Tensor]] = []
        for _ in range(20 * batch):
            pair = self._draw_one(generator)
            if pair is not None:
                chosen.append(pair)
            if len(chosen) == batch:
                return _stack(chosen, _coins(batch, generator) if flip else None)
        raise AnaMoDiffError(
            "expected finite latents, found NaN or infinity in nearly all: delete the cache, and "
            "check the backbone's precision"
        )

    def _draw_one(self, generator: torch.Generator | None) -> tuple[Tensor, Tensor] | None:
        """Two frames ``2 3 s s`` in bytes and their latents; none where a latent is broken."""
        clip = int(torch.randint(len(self), (1,), generator=generator))
        order = torch.randint(self.lengths[clip], (2,), generator=generator).tolist()
        file = self._open[clip]
        frames, latents = file.get_slice("frames"), file.get_slice("latents")
        pair = torch.stack([latents[i] for i in order])
        if not pair.isfinite().all():
            if clip not in self._spoiled:
                logger.warning(
                    "%s: a latent is not finite, its pairs are skipped", self.names[clip]
                )
            self._spoiled.add(clip)
            return None
        return torch.stack([frames[i] for i in order]), pair

    def _choose(self, indices: Iterable[int]) -> "LatentClips":
        indices = list(indices)
        return LatentClips([self.files[i] for i in indices], [self.names[i] for i in indices])


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
    from anamodiff.video import find_clips

    size = frame_size or min(backbone.image_size, _LARGEST_DETECTOR_FRAME)
    settings = f"{backbone.hash} {backbone.image_size} {size} {frames_per_clip}"
    files, names = [], []
    for path in tqdm(find_clips(folder), desc="latents", unit="clip", disable=not progress):
        target = Path(cache) / f"{_digest(settings.encode(), _identity(path))}.safetensors"
        if not _is_whole(target):
            try:
                tensors = _encode_clip(path, backbone, size, frames_per_clip)
            except (AnaMoDiffError, OSError) as error:
                logger.warning("%s skipped: %s", path, error)
                continue
            _write(tensors, target)
        files.append(target)
        names.append(path.name)
    if not files:
        raise AnaMoDiffError(
            f"expected clips of at least two frames in {folder}, found none that can be read: "
            "name a folder of gifs, videos or frame folders"
        )
    return LatentClips(files, names)


def _encode_clip(path: Path, backbone: Encoder, size: int, count: int) -> dict[str, Tensor]:
    from anamodiff.video import read_clip

    clip = read_clip(path, frames=count, size=backbone.image_size, minimum=2)
    # A clip shorter than asked for comes with repeated frames, which would only take room.
    frames = torch.stack([clip.frames[i] for i in _first_places(clip.indices)])
    latents = [
        backbone.encode(part).to("cpu", torch.float16) for part in frames.split(_ENCODE_AT_ONCE)
    ]
    if frames.shape[-1] != size:
        frames = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
    frames = ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return {"frames": frames.contiguous(), "latents": torch.cat(latents)}


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


def _from_bytes(frames: Tensor) -> Tensor:
    return frames.float() / 127.5 - 1


def _coins(count: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _stack(pairs: list[tuple[Tensor, Tensor]], mirrored: Tensor | None) -> Pairs:
    stacked = [torch.stack(kind) for kind in zip(*pairs, strict=True)]  # b 2 c h w
    if mirrored is not None:
        chosen = rearrange(mirrored, "b -> b 1 1 1 1")
        stacked = [torch.where(chosen, kind.flip(-1), kind) for kind in stacked]
    frames, latents = (rearrange(kind, "b pair c h w -> (pair b) c h w") for kind in stacked)
    return Pairs(_from_bytes(frames), latents.float())
