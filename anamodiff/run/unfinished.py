"""The result while it is sampled, for people to watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from anamodiff.backbone.model import Backbone
from anamodiff.pipeline import Watch as WatchLatents
from anamodiff.run.intermediate import ClipPair


@dataclass(frozen=True)
class Unfinished:
    """The clip that a step of sampling expects: blurred at first, clear in the end.

    Attributes:
        done, total: steps of sampling.
        latents: ``f c h w``.
    """

    done: int
    total: int
    latents: Tensor
    backbone: Backbone
    pair: ClipPair

    def frames(self) -> Tensor:
        """Decoded now, ``f 3 H W`` in [-1, 1] on the square canvas, on white."""
        return self.pair.whole(self.backbone.decode(self.latents).cpu())


#: Called in each step of sampling.
Watch = Callable[[Unfinished], None]


def watching(watch: Watch, backbone: Backbone, pair: ClipPair) -> WatchLatents:
    """What the method calls, for `watch`."""

    def step(done: int, total: int, latents: Tensor) -> None:
        watch(Unfinished(done, total, latents, backbone, pair))

    return step
