"""Training frames on the device, and what is done to them there, a batch at a time."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

POLL_SECONDS = 8.0


class Frames:
    """The bank's frames, uint8 `n h w 4` on the device, at most `capacity` of them.

    `captions` and `groups` have an entry for each frame. With `watch`, a thread adds the parts
    beyond the `first` frames and those that come later, and `poll` makes them known.
    """

    def __init__(
        self, folder: Path, size: int, capacity: int, device: torch.device,
        first: int | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.device = folder, device
        self.pixels = torch.empty(capacity, size, size, 4, dtype=torch.uint8, device=device)
        self.captions: list[str] = []
        self.groups: list[str] = []
        self._tables: deque[dict[str, list[str]]] = deque()
        self._known: set[str] = set()
        self._stored = 0
        self._weights: dict[float, Tensor] = {}
        self._polled = -math.inf
        self._store(first)
        self.poll(now=True)

    def __len__(self) -> int:
        return len(self.captions)

    def poll(self, now: bool = False) -> bool:
        """Make parts known that are stored, unless it was just done; whether there were any."""
        if not now and time.monotonic() < self._polled + POLL_SECONDS:
            return False
        self._polled, before = time.monotonic(), len(self)
        while self._tables:
            table = self._tables.popleft()
            self.captions += table["captions"]
            self.groups += table["groups"]
        if len(self) > before:
            self._weights.clear()
        return len(self) > before

    def watch(self, count: int, alive: Callable[[], bool]) -> None:
        """Wait for `count` frames while the workers are `alive`, and store what comes later."""
        while self._stored < min(count, len(self.pixels)) and alive():
            time.sleep(0.5)
            self._store(count)
        self.poll(now=True)
        if not len(self):
            raise SystemExit(f"expected frames in {self.folder}, found none: run the stage `bank`")
        threading.Thread(target=self._keep_storing, daemon=True).start()

    def _keep_storing(self) -> None:
        while self._stored < len(self.pixels):
            time.sleep(POLL_SECONDS / 2)
            self._store()

    def _store(self, count: int | None = None) -> None:
        """Put parts that are new on the device, of all kinds in turn, until there are `count`."""
        for path in sorted(self.folder.glob("*.npy"), key=lambda path: crc32(path.name.encode())):
            if path.name in self._known or self._stored == len(self.pixels):
                continue
            if count is not None and self._stored >= count:
                return
            part, table = np.load(path), json.loads(path.with_suffix(".json").read_text())
            if part.shape[1:] != self.pixels.shape[1:]:
                raise SystemExit(
                    f"expected frames of {tuple(self.pixels.shape[1:])} in {path}, got "
                    f"{part.shape[1:]}: empty the bank"
                )
            start = self._stored
            part = part[: len(self.pixels) - start]
            self.pixels[start : start + len(part)] = torch.from_numpy(part).to(self.device)
            self._tables.append({name: values[: len(part)] for name, values in table.items()})
            self._stored += len(part)
            self._known.add(path.name)

    def choose(self, count: int, creatures: float, generator: torch.Generator) -> Tensor:
        """Indices of random frames, of which a share `creatures` is drawn; rarer species more
        often than they are there."""
        if creatures not in self._weights:
            self._weights[creatures] = self._weigh(creatures).to(self.device)
        return torch.multinomial(
            self._weights[creatures], count, replacement=True, generator=generator
        )

    def _weigh(self, creatures: float) -> Tensor:
        groups = np.array(self.groups)
        _, where, counts = np.unique(groups, return_inverse=True, return_counts=True)
        weights = 1 / np.sqrt(counts[where])
        drawn = np.char.startswith(groups, "drawn ")
        for kind, share in ((drawn, creatures), (~drawn, 1 - creatures)):
            weights[kind] *= share / max(weights[kind].sum(), 1e-9)
        if not weights.any():  # all are of a kind whose share is nothing
            weights[:] = 1
        return torch.from_numpy(weights).float()


@dataclass(frozen=True)
class Pictures:
    """Augmented frames: `pixels` b 3 h w in [-1, 1], `cover` b h w in [0, 1], `white` and
    `recoloured` b, whether the ground is white and the colours are other ones."""

    pixels: Tensor
    cover: Tensor
    white: Tensor
    recoloured: Tensor


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)


def augment(
    frames: Tensor, generator: torch.Generator, *, white: float, plain: float, recolour: float,
    resize: float,
) -> Pictures:  # fmt: skip
    """Frames uint8 `b h w 4` mirrored, some resized, recoloured and put on other grounds.

    Shares of the batch: `white` and `plain` grounds, the rest soft gradients and clouds;
    `recolour`ed ones; `resize`d and moved ones.
    """
    x = frames.permute(0, 3, 1, 2).float() / 255
    count = len(x)
    x[:, :3] -= 1 - x[:, 3:]  # what the character itself adds to the colours
    x = place(x, generator, resize)
    cover = x[:, 3].clamp(0, 1)
    own = x[:, :3].clamp(0, 1)
    changed = _uniform(generator, count) < recolour
    own = torch.where(changed[:, None, None, None], _recoloured(own, generator), own)
    paper = grounds(count, x.shape[-1], generator, plain=plain / max(1 - white, 1e-6))
    is_white = _uniform(generator, count) < white
    paper = torch.where(is_white[:, None, None, None], torch.ones_like(paper), paper)
    pixels = (own + (1 - cover[:, None]) * paper).clamp(0, 1)
    return Pictures(pixels * 2 - 1, cover, is_white, changed)


def place(x: Tensor, generator: torch.Generator, resize: float) -> Tensor:
    """Mirror a half; make a share smaller or a little larger, and move it."""
    u = _uniform(generator, len(x), 5)
    moved = (u[:, 0] < resize).float()
    zoom = torch.exp(moved * (0.75 * u[:, 1] - 0.1))  # of the sampling grid: 0.9 to 1.9
    mirror = torch.where(u[:, 2] < 0.5, -1.0, 1.0)
    room = moved * (0.1 + (zoom - 1).clamp(min=0))
    zero = torch.zeros_like(zoom)
    rows = [zoom * mirror, zero, room * (2 * u[:, 3] - 1), zero, zoom, room * (2 * u[:, 4] - 1)]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _recoloured(own: Tensor, generator: torch.Generator) -> Tensor:
    """Channels permuted, and each made darker in a half of the frames."""
    order = _uniform(generator, len(own), 3).argsort(1)[:, :, None, None].expand_as(own)
    u = _uniform(generator, len(own), 4)
    gain = 1 - 0.3 * u[:, :3] * (u[:, 3:] < 0.5)
    return own.gather(1, order) * gain[:, :, None, None]


# Grounds that people have: black, greys, studio greens and blue, sky, grass, sand.
NAMED = [
    (0, 0, 0), (20, 20, 24), (64, 64, 64), (128, 128, 128), (200, 200, 200), (240, 240, 240),
    (0, 177, 64), (0, 255, 0), (0, 71, 187), (0, 0, 255), (135, 206, 235), (180, 220, 250),
    (96, 150, 60), (210, 180, 140), (255, 0, 255), (230, 60, 50),
]  # fmt: skip


@cache
def _named(device: torch.device) -> Tensor:
    """The named grounds, copied once: a copy in each step would wait for the device."""
    return torch.tensor(NAMED, device=device) / 255


def grounds(count: int, size: int, generator: torch.Generator, *, plain: float) -> Tensor:
    """Grounds b 3 h w in [0, 1]: a share `plain`, others gradients with soft clouds."""
    device = generator.device
    pick = torch.randint(len(NAMED), (2, count), generator=generator, device=device)
    colours = _named(device)[pick] + 0.06 * (2 * _uniform(generator, 2, count, 3) - 1)
    anyhow = _uniform(generator, 2, count, 1) < 0.5
    first, second = torch.where(anyhow, _uniform(generator, 2, count, 3), colours).clamp(0, 1)
    angle = 2 * math.pi * _uniform(generator, count)
    line = torch.linspace(-1, 1, size, device=device)
    ramp = angle.cos()[:, None, None] * line + angle.sin()[:, None, None] * line[:, None]
    clouds = _uniform(generator, count, 3, 6, 6) - 0.5
    clouds = F.interpolate(clouds, (size, size), mode="bicubic", align_corners=False)
    ramp = (ramp[:, None] * 0.35 + 0.5 + 0.4 * clouds).clamp(0, 1)
    soft = (_uniform(generator, count) >= plain).float()[:, None, None, None]
    first, second = first[:, :, None, None], second[:, :, None, None]
    return first + (second - first) * ramp * soft


def crop(pictures: Pictures, size: int, generator: torch.Generator) -> Tensor:
    """Crops b 3 size size around random points of the characters: grounds teach little."""
    x, cover = pictures.pixels, pictures.cover
    count, side = len(x), x.shape[-1]
    cell = max(1, side // 32)
    coarse = F.avg_pool2d(cover[:, None], cell).flatten(1) + 1e-4
    at = torch.multinomial(coarse, 1, generator=generator)[:, 0]
    columns = side // cell
    u = _uniform(generator, count, 2)
    top = (at // columns) * cell - (u[:, 0] * size).long()
    left = (at % columns) * cell - (u[:, 1] * size).long()
    steps = torch.arange(size, device=x.device)
    rows = top.clamp(0, side - size)[:, None] + steps
    cols = left.clamp(0, side - size)[:, None] + steps
    each = torch.arange(count, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[each, rows[:, :, None], cols[:, None]].permute(0, 3, 1, 2)


def halved(x: Tensor) -> Tensor:
    """Pictures at half the size, by averaging."""
    return F.avg_pool2d(x, 2)
