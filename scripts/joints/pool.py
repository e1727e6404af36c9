"""Samples that lie ready on the training's device, and the batches taken from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .augment import augment
from .objective import Batch
from .rendered import SPLITS, Split
from .samples import SIZE, Samples

JOINTS = 22
LEGLESS = 0.35  # how often what has no legs comes up, beside what has
CONFIDENCE_SHARE = 0.15  # of rendered and of reshaped samples
# How much samples count for confidence: those of species that are only judged; drawn ones, of which
# hardly two are alike; and those that are learnt by heart.
JUDGED = {"confidence": 1.0, "drawn": 0.3, "learnt": 0.05}


class Shelf:
    """Samples of one kind on a device, at most `room`; the oldest make place for new ones."""

    def __init__(
        self, kind: str, room: int, device: torch.device, split: Split = SPLITS["scored"]
    ) -> None:
        self.judged = split.judged
        self.kind, self.room, self.count, self.next = kind, room, 0, 0
        self.canvases = torch.empty(room, SIZE, SIZE, 4, dtype=torch.uint8, device=device)
        self.boxes = torch.zeros(room, 4, device=device)
        self.joints = torch.zeros(room, JOINTS, 2, device=device)
        self.visibility = torch.zeros(room, JOINTS, dtype=torch.long, device=device)
        self.learnt = torch.ones(room, dtype=torch.bool, device=device)
        self.names: dict[str, int] = {}  # numbers of species: comparing words takes long
        self.species, self.legless = np.zeros(room, np.int32), np.zeros(room, bool)
        self.sums: Tensor | None = None

    def put(self, samples: Samples) -> None:
        """Take in as many samples as there is room for."""
        device, count = self.boxes.device, min(len(samples), self.room)
        slots = (self.next + np.arange(count)) % self.room
        self.next = int((self.next + count) % self.room)
        self.count = max(self.count, min(self.count + count, self.room))
        boxes, names = samples.boxes[:count], samples.species[:count]
        at = torch.from_numpy(slots).to(device)
        self.canvases[at] = torch.tensor([255, 255, 255, 0], dtype=torch.uint8, device=device)
        flat = torch.from_numpy(samples.pixels).to(device)
        for slot, (offset, h, w, x, y) in zip(slots.tolist(), boxes.tolist(), strict=True):
            cut = flat[offset : offset + 4 * h * w].view(h, w, 4)
            self.canvases[slot, y : y + h, x : x + w] = cut
        self.boxes[at] = torch.from_numpy(boxes[:, [3, 4, 2, 1]]).float().to(device)
        self.joints[at] = torch.from_numpy(samples.joints[:count]).to(device)
        self.visibility[at] = torch.from_numpy(samples.visibility[:count]).long().to(device)
        learnt = ~np.isin(names, self.judged) | (self.kind == "drawn")
        self.learnt[at] = torch.from_numpy(learnt).to(device)
        numbers = [self.names.setdefault(str(name), len(self.names)) for name in names]
        self.species[slots] = numbers
        self.legless[slots] = np.isnan(samples.joints[:count, 6:]).all((1, 2))
        self.sums = None

    def rows(self, count: int) -> Tensor:
        """Random slots, balanced between species."""
        if self.sums is None:
            apart = [number for name, number in self.names.items() if name in self.judged]
            species, legless = self.species[: self.count], self.legless[: self.count]
            weights = balanced(species, legless, np.isin(species, apart))
            weights = np.ones(self.count) if self.kind == "drawn" else weights
            self.sums = torch.from_numpy(weights.cumsum()).to(self.boxes.device)
        at = torch.rand(count, dtype=torch.float64, device=self.boxes.device)
        return torch.searchsorted(self.sums, at * self.sums[-1]).clamp_max(self.count - 1)


def balanced(species: np.ndarray, legless: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Probabilities of samples `n`: a species comes up as the root of its number, what has no legs
    more seldom, and those `apart`, of which only confidence is learnt, in a set share."""
    _, inverse, counts = np.unique(species, return_inverse=True, return_counts=True)
    weights = counts[inverse] ** -0.5 * np.where(legless, LEGLESS, 1.0)
    if apart.any() and not apart.all():
        weights[apart] *= CONFIDENCE_SHARE / weights[apart].sum()
        weights[~apart] *= (1 - CONFIDENCE_SHARE) / weights[~apart].sum()
    return weights / weights.sum()


class Pool:
    """Shelves by kind, and augmented batches of them."""

    def __init__(
        self, room: Mapping[str, int], device: torch.device, split: Split = SPLITS["scored"]
    ) -> None:
        self.shelves = {kind: Shelf(kind, n, device, split) for kind, n in room.items() if n}

    def put(self, kind: str, samples: Samples) -> None:
        """Samples of a kind; those of kinds without room are left out."""
        if kind in self.shelves:
            self.shelves[kind].put(samples)

    def __len__(self) -> int:
        return sum(shelf.count for shelf in self.shelves.values())

    def next(self, count: int, drawn: float) -> Batch:
        """An augmented batch of which `drawn` is the share of drawn samples, where there are
        others."""
        filled = [shelf for shelf in self.shelves.values() if shelf.count]
        filled.sort(key=lambda shelf: shelf.kind == "drawn")
        others = sum(shelf.kind != "drawn" for shelf in filled)
        each = round((1 - drawn * (others < len(filled))) * count / max(others, 1))
        numbers = [each] * (len(filled) - 1)
        numbers.append(count - sum(numbers))
        parts = [_taken(shelf, n) for shelf, n in zip(filled, numbers, strict=True)]
        *samples, learnt, judged = (torch.cat(part) for part in zip(*parts, strict=True))
        return Batch(*augment(*samples), learnt, judged)


def _taken(shelf: Shelf, count: int) -> tuple[Tensor, ...]:
    """Canvases, boxes, joints, visibility, what is learnt and how much it counts for confidence."""
    rows = shelf.rows(count)
    learnt = shelf.learnt[rows]
    often = JUDGED["drawn" if shelf.kind == "drawn" else "learnt"]
    judged = torch.where(learnt, often, JUDGED["confidence"])
    fields = (shelf.canvases, shelf.boxes, shelf.joints, shelf.visibility)
    return *(field[rows] for field in fields), learnt, judged
