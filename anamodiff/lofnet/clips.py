"""Clips as LOFNet is trained on them: frames for the detector and latents, drawn as pairs."""

import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from safetensors import safe_open
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

logger = logging.getLogger(__name__)


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
        order = sorted(
            range(len(self)), key=lambda i: hashlib.sha256(self.names[i].encode()).digest()
        )
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

    def __add__(self, other: "LatentClips") -> "LatentClips":
        """Join two sets of clips of the same sizes."""
        return LatentClips(self.files + other.files, self.names + other.names)

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
