"""LOFNet's training set: random pairs of frames and latents from cached clips."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.training.shards import CachedClip, open_shard

logger = logging.getLogger(__name__)

# Memory-mapped shards at a time; opening one takes a quarter of a millisecond.
_MAPPED = 128
# Rounds of replacing pairs whose latents are not finite.
_ROUNDS = 20


@dataclass(frozen=True)
class Pairs:
    """Pairs of frames of one clip each.

    Attributes:
        frames: source frames, then driving frames: ``2b 3 s s`` in [-1, 1].
        latents: of the same frames: ``2b c h w``.
    """

    frames: Tensor
    latents: Tensor

    def __len__(self) -> int:
        return self.frames.shape[0] // 2

    def to(self, device: torch.device | str) -> Pairs:
        return Pairs(self.frames.to(device), self.latents.to(device))


class LatentClips:
    """Cached clips: frames uint8 ``n 3 s s`` and latents fp16 ``n c h w`` of each.

    The shards are memory-mapped: the system keeps in memory what is in use and may drop it.

    Args:
        clips: their places in the cache, as `cache_latents` gives them.

    Raises:
        AnaMoDiffError: there is none.
    """

    def __init__(self, clips: Sequence[CachedClip]) -> None:
        if not clips:
            raise AnaMoDiffError("expected at least one clip of two frames, got none: add clips")
        self.index = tuple(clips)
        self.names = [clip.name for clip in clips]
        self.lengths = [clip.length for clip in clips]
        self._files = list(dict.fromkeys(clip.file for clip in clips))  # the shards
        number = {file: n for n, file in enumerate(self._files)}
        self._shard = torch.tensor([number[clip.file] for clip in clips])
        self._start = torch.tensor([clip.start for clip in clips])
        self._length = torch.tensor(self.lengths)
        self._open = lru_cache(_MAPPED)(open_shard)
        frames, latents = self._open(self._files[0])
        self.frame_size, self.latent_channels = frames.shape[-1], latents.shape[1]
        self._reported: set[int] = set()

    def __len__(self) -> int:
        return len(self.index)

    def clip(self, index: int) -> tuple[Tensor, Tensor]:
        """One whole clip: frames ``f 3 s s`` in [-1, 1] and latents ``f c h w``."""
        one = self.index[index]
        rows = slice(one.start, one.start + one.length)
        frames, latents = self._open(one.file)
        return _from_bytes(frames[rows]), latents[rows].float()

    def split(self, held_out: float) -> tuple[LatentClips, LatentClips]:
        """Split into training and held-out clips.

        Held out are the data set's own test clips if it has some, else a share `held_out` of the
        clips, chosen by hashes of their names, whatever their order.

        Returns:
            Training and held-out clips; both are all clips if there is only one or `held_out` is
            zero.
        """
        tests = [i for i, clip in enumerate(self.index) if clip.held_out]
        if 0 < len(tests) < len(self):
            training = sorted(set(range(len(self))) - set(tests))
            return self._subset(training), self._subset(tests)
        if len(self) < 2 or held_out <= 0:
            return self, self
        order = sorted(
            range(len(self)), key=lambda i: hashlib.sha256(self.names[i].encode()).digest()
        )
        count = min(len(self) - 1, math.ceil(held_out * len(self)))
        return self._subset(sorted(order[count:])), self._subset(sorted(order[:count]))

    def sample_pairs(
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
        """Sample pairs: clips with replacement, then two frames of each with replacement.

        Pairs with latents that are not finite are replaced by others.

        Args:
            flip: mirror half of the pairs, frames and latents alike. The latent of a mirrored frame
                is not quite the mirrored latent, but the flow between two mirrored latents is the
                mirrored flow.
            time_flip: reverse half of the pairs in time; without it the earlier frame is always the
                source. Reversed pairs are not mirrored (as in FOMM): with both options a quarter
                of the pairs is.
            max_distance: of the two frames in the cached clip, whose frames are evenly spaced.
            far: of ``1 + far`` random driving frames the farthest from the source is taken.
            chosen: indices (batch,) of the clips, in the place of random ones.
            device: of the result.

        Raises:
            AnaMoDiffError: nearly all latents are not finite.
        """
        if chosen is None:
            chosen = torch.randint(len(self), (batch,), generator=generator)
        clips = chosen.clone()
        limits = (max_distance, far)
        backwards = _coin_flips(batch, generator) & time_flip
        mirrored = _coin_flips(batch, generator) & flip & ~backwards
        frames, latents = self._rows(clips, self._two_frames(clips, backwards, *limits, generator))
        for _ in range(_ROUNDS):
            broken = self._non_finite(clips, latents)
            if not broken.any():
                break
            clips[broken] = torch.randint(len(self), (int(broken.sum()),), generator=generator)
            places = self._two_frames(clips[broken], backwards[broken], *limits, generator)
            frames[:, broken], latents[:, broken] = self._rows(clips[broken], places)
        else:
            raise AnaMoDiffError(
                "expected finite latents, found NaN or infinity in nearly all: delete the cache, "
                "and check the backbone's precision"
            )
        pairs = []
        for rows in (frames.to(device), latents.to(device)):  # frames are transferred as bytes
            rows[:, mirrored] = rows[:, mirrored].flip(-1)
            pairs.append(rearrange(rows, "pair b c h w -> (pair b) c h w"))
        return Pairs(_from_bytes(pairs[0]), pairs[1].float())

    def _two_frames(
        self,
        clips: Tensor,
        backwards: Tensor,
        max_distance: int | None,
        far: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Random indices ``2 b`` of two frames in each clip, the later first where reversed."""
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
        """Frames and latents ``pair b ...`` at frame indices ``pair b`` of clips (b,)."""
        rows = (self._start[clips] + places).flatten()
        shards = self._shard[clips].expand_as(places).flatten()
        gathered: list[Tensor] = []
        for number in shards.unique().tolist():  # pairs from one shard are read together
            here = shards == number
            for part, mapped in enumerate(self._open(self._files[number])):
                if len(gathered) <= part:
                    gathered.append(mapped.new_empty(len(rows), *mapped.shape[1:]))
                gathered[part][here] = mapped[rows[here]]
        frames, latents = (
            rearrange(part, "(pair b) c h w -> pair b c h w", pair=len(places)) for part in gathered
        )
        return frames, latents

    def _non_finite(self, clips: Tensor, latents: Tensor) -> Tensor:
        """Mask (b,) of pairs with a latent that is not finite; each clip is logged once."""
        broken = ~rearrange(latents.isfinite(), "pair b c h w -> b (pair c h w)").all(dim=1)
        for clip in set(clips[broken].tolist()) - self._reported:
            logger.warning("%s: a latent is not finite, its pairs are skipped", self.names[clip])
            self._reported.add(clip)
        return broken

    def _subset(self, indices: Iterable[int]) -> LatentClips:
        return LatentClips([self.index[i] for i in indices])


def _from_bytes(frames: Tensor) -> Tensor:
    return frames.float().div_(127.5).sub_(1)


def _coin_flips(count: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5
