"""Clips as LOFNet is trained on them: frames for the detector and latents, drawn as pairs."""

import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.shards import CachedClip, open_shard

logger = logging.getLogger(__name__)

# Shards kept mapped; opening one takes a quarter of a millisecond.
_MAPPED = 128


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

    The shards are memory-mapped: the system keeps in memory what is in use and may drop it.

    Args:
        clips: where they lie, as `cache_latents` found or put them.

    Raises:
        AnaMoDiffError: there is none, or their sizes differ.
    """

    def __init__(self, clips: Sequence[CachedClip]) -> None:
        if not clips:
            raise AnaMoDiffError("expected at least one clip of two frames, got none: add clips")
        self.index = tuple(clips)
        self.names = [clip.name for clip in clips]
        self.lengths = [clip.length for clip in clips]
        self._files = list(dict.fromkeys(clip.file for clip in clips))
        number = {file: n for n, file in enumerate(self._files)}
        self._shard = torch.tensor([number[clip.file] for clip in clips])
        self._start = torch.tensor([clip.start for clip in clips])
        self._length = torch.tensor(self.lengths)
        self._open = lru_cache(_MAPPED)(open_shard)
        frames, latents = self._open(self._files[0])
        self.frame_size, self.latent_channels = frames.shape[-1], latents.shape[1]
        self._spoiled: set[int] = set()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def files(self) -> list[Path]:
        """The shards that hold these clips."""
        return self._files

    def clip(self, index: int) -> tuple[Tensor, Tensor]:
        """Give one whole clip: frames ``f 3 s s`` in [-1, 1] and latents ``f c h w``."""
        one = self.index[index]
        rows = slice(one.start, one.start + one.length)
        frames, latents = self._open(one.file)
        return _from_bytes(frames[rows]), latents[rows].float()

    def split(self, held_out: float) -> tuple["LatentClips", "LatentClips"]:
        """Set clips aside: those of the data set's own test part, whatever the share, else a share.

        A share is made of always the same clips whatever their order.

        Returns:
            The clips to train on and those held out; both are all clips where there is only one
            or `held_out` is zero.
        """
        tests = [i for i, clip in enumerate(self.index) if clip.held_out]
        if 0 < len(tests) < len(self):
            own = sorted(set(range(len(self))) - set(tests))
            return self._choose(own), self._choose(tests)
        if len(self) < 2 or held_out <= 0:
            return self, self
        order = sorted(
            range(len(self)), key=lambda i: hashlib.sha256(self.names[i].encode()).digest()
        )
        count = min(len(self) - 1, math.ceil(held_out * len(self)))
        return self._choose(sorted(order[count:])), self._choose(sorted(order[:count]))

    def draw(
        self,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        flip: bool = False,
        time_flip: bool = True,
        max_distance: int | None = None,
        far: int = 0,
        chosen: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> Pairs:
        """Draw pairs: clips with replacement, then any two frames of each, with replacement.

        Args:
            flip: mirror pairs, frames and latents alike. The latent of a mirrored frame is not
                quite the mirrored latent, but the flow between two mirrored latents is the
                mirrored flow.
            time_flip: let every second pair or so run backwards; else the earlier frame is the
                source. Such a pair is not mirrored as well (as in FOMM): with both, a quarter is
                mirrored, with `flip` alone a half.
            max_distance: of the two frames in the cached clip, whose frames are evenly spread.
            far: of ``1 + far`` drawn driving frames the farthest from the source is taken.
            chosen: indices of the clips, ``batch`` of them, instead of drawn ones.
            device: where the pairs are to be.

        Raises:
            AnaMoDiffError: the clips hold hardly anything but broken latents.
        """
        own = torch.randint(len(self), (batch,), generator=generator) if chosen is None else chosen
        reach = (max_distance, far)
        backwards = _coins(batch, generator) & time_flip
        mirrored = _coins(batch, generator) & flip & ~backwards
        frames, latents = self._rows(own, self._two_frames(own, backwards, *reach, generator))
        for _ in range(20):
            broken = self._broken(own, latents)
            if not broken.any():
                break
            own = own.clone()
            own[broken] = torch.randint(len(self), (int(broken.sum()),), generator=generator)
            places = self._two_frames(own[broken], backwards[broken], *reach, generator)
            frames[:, broken], latents[:, broken] = self._rows(own[broken], places)
        else:
            raise AnaMoDiffError(
                "expected finite latents, found NaN or infinity in nearly all: delete the cache, "
                "and check the backbone's precision"
            )
        pairs = []
        for rows in (frames.to(device), latents.to(device)):  # frames travel as bytes
            rows[:, mirrored] = rows[:, mirrored].flip(-1)
            pairs.append(rearrange(rows, "pair b c h w -> (pair b) c h w"))
        return Pairs(_from_bytes(pairs[0]), pairs[1].float())

    def __add__(self, other: "LatentClips") -> "LatentClips":
        """Join two sets of clips of the same sizes."""
        sizes = [(clips.frame_size, clips.latent_channels) for clips in (self, other)]
        if sizes[0] != sizes[1]:
            raise AnaMoDiffError(
                "expected clips with frames and latents of one size, got frames of "
                f"{sizes[0][0]} and {sizes[1][0]} pixels, {sizes[0][1]} and {sizes[1][1]} latent "
                "channels: cache both alike"
            )
        return LatentClips(self.index + other.index)

    def _two_frames(
        self,
        clips: Tensor,
        backwards: Tensor,
        max_distance: int | None,
        far: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Places ``2 b`` of two frames in each clip, the earlier first where not backwards."""
        length = rearrange(self._length[clips], "b -> b 1")
        shares = torch.rand(len(clips), 2 + far, generator=generator)
        first = (shares[:, :1] * length).long()
        low, high = torch.zeros_like(first), length - 1
        if max_distance is not None:
            low, high = low.maximum(first - max_distance), high.minimum(first + max_distance)
        others = low + (shares[:, 1:] * (high - low + 1)).long()  # b candidates
        farthest = (others - first).abs().argmax(dim=1, keepdim=True)
        both = torch.cat([first, others.gather(1, farthest)], dim=1)
        both = rearrange(both.sort(dim=1).values, "b pair -> pair b")
        return torch.where(backwards, both.flip(0), both)

    def _rows(self, clips: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and latents ``pair b ...`` at `places` ``pair b`` of clips ``b``."""
        wanted = (self._start[clips] + places).flatten()
        shards = self._shard[clips].expand_as(places).flatten()
        gathered: list[Tensor] = []
        for number in shards.unique().tolist():  # pairs from one shard are read together
            here = shards == number
            for kind, mapped in enumerate(self._open(self._files[number])):
                if len(gathered) <= kind:
                    gathered.append(mapped.new_empty(len(wanted), *mapped.shape[1:]))
                gathered[kind][here] = mapped[wanted[here]]
        frames, latents = (
            rearrange(kind, "(pair b) c h w -> pair b c h w", pair=len(places)) for kind in gathered
        )
        return frames, latents

    def _broken(self, clips: Tensor, latents: Tensor) -> Tensor:
        """Which pairs ``b`` have a latent that is not finite; says so once for each clip."""
        broken = ~rearrange(latents.isfinite(), "pair b c h w -> b (pair c h w)").all(dim=1)
        for clip in set(clips[broken].tolist()) - self._spoiled:
            logger.warning("%s: a latent is not finite, its pairs are skipped", self.names[clip])
            self._spoiled.add(clip)
        return broken

    def _choose(self, indices: Iterable[int]) -> "LatentClips":
        return LatentClips([self.index[i] for i in indices])


def _from_bytes(frames: Tensor) -> Tensor:
    return frames.float().div_(127.5).sub_(1)


def _coins(count: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5
