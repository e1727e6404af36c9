"""Training of the retargeting of key points: augmentation, loss, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joints.state import Run, Schedule
from torch import Tensor

from anamodiff.lofnet.adapt import adapt_points
from anamodiff.lofnet.point_retarget import Place, PointRetargeter, unpacked

from .bank import Triples
from .drawn import FRAMES

#: Shares of a batch: drawn triples, rendered ones, single clips.
SHARES = {"drawn": 0.7, "rendered": 0.15, "clips": 0.15}
_JACOBIAN, _EXPECTED = 0.15, 0.05  # weights of the loss's parts beside the places'


@dataclass(frozen=True)
class Options(Schedule):
    """Of a training run; standard deviations are of the augmentation, in spreads of the points."""

    steps: int = 20000
    rate: float = 1e-3
    fall: float = 0.4
    average: float = 0.999
    minutes_measure: float = 5.0
    batch: int = 96
    noise: float = 0.03
    shape: float = 0.15
    offset: float = 0.15


class Material:
    """Banks by name, as tensors, from which batches are drawn."""

    def __init__(self, banks: Mapping[str, Triples]) -> None:
        self.banks = {
            name: [torch.from_numpy(np.asarray(c, np.float32)) for c in bank[:3]]
            for name, bank in banks.items()
        }

    def batch(self, lot: np.random.Generator, options: Options) -> tuple[Tensor, Tensor, Tensor]:
        """Augmented source, driving and target points, ``b s k 6``, ``b f k 6``, ``b f k 6``."""
        total = sum(SHARES[name] for name in self.banks)
        parts = []
        frames = int(lot.choice([FRAMES, FRAMES, FRAMES, 7, 5]))
        begin = int(lot.integers(FRAMES - frames + 1))
        for name, bank in self.banks.items():
            count = max(1, round(options.batch * SHARES[name] / total))
            rows = torch.from_numpy(lot.integers(len(bank[0]), size=count))
            source, driving, truth = (column[rows] for column in bank)
            chosen = torch.from_numpy(_source_frames(lot, count, alone=name == "clips"))
            source = source[torch.arange(count)[:, None], chosen]
            driving, truth = (c[:, begin : begin + frames] for c in (driving, truth))
            if name == "clips":
                driving = _another_body(driving, options.offset)
            parts.append((source, driving, truth))
        source, driving, truth = (torch.cat(column) for column in zip(*parts, strict=True))
        if lot.random() < 0.3:
            driving, truth = driving.flip(1), truth.flip(1)
        shape = _random_shapes(len(source), options.shape)
        source, truth = _reshaped(source, shape), _reshaped(truth, shape)
        driving = _reshaped(driving, _random_shapes(len(source), options.shape))
        return _noisy(source, options.noise), _noisy(driving, options.noise), truth


class Training(Run):
    """Training of a `PointRetargeter`."""

    name = "point_retargeter"

    def __init__(self, network: PointRetargeter, options: Options, folder: Path) -> None:
        super().__init__(network, options, folder)

    def train_on(self, source: Tensor, driving: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """One step; returns the loss's parts."""
        own, other = Place.of(source), Place.of(driving)
        target = own.enter(truth)
        found, expected = self.module(own.enter(source), other.enter(driving))
        distance = (found - target)[..., :2].norm(dim=-1)
        jacobian = (found - target)[..., 2:].abs().mean()
        guess = (distance.detach() * torch.exp(-expected) + expected).mean()
        self.descend(distance.mean() + _JACOBIAN * jacobian + _EXPECTED * guess)
        return {"places": distance.detach().mean(), "jacobians": jacobian.detach()}


@dataclass(frozen=True)
class Scores:
    """Mean distances of points from the truth's, in pixels of 128: the network's, the paper's
    rule's, and that of holding the source's first frame."""

    learnt: float
    rule: float
    held: float

    def line(self) -> str:
        return f"learnt {self.learnt:.2f}, rule {self.rule:.2f}, held {self.held:.2f}"


def measure(network: PointRetargeter, triples: Triples) -> Scores:
    """Scores on triples, the source a clip."""
    rows = []
    for triple in zip(*triples[:3], strict=True):
        still, mover, truth = (unpacked(torch.from_numpy(points)) for points in triple)
        ruled = adapt_points(mover, mover[0], still[0])
        found, _ = network.retarget(still, mover)
        errors = [(p.value - truth.value).norm(dim=-1).mean() for p in (found, ruled, still[0])]
        rows.append([64 * float(e) for e in errors])
    return Scores(*(float(v) for v in np.mean(rows, axis=0)))


def train(
    training: Training, material: Material, sets: Mapping[str, Triples], say: Callable[[str], None]
) -> None:
    """Train to the end of the run."""
    options = training.options
    assert isinstance(options, Options)
    training.train(
        lambda: training.train_on(*material.batch(training.lot, options)), sets, measure, say,
        "{:.0f} triples/s", options.batch,
    )  # fmt: skip


def _source_frames(lot: np.random.Generator, count: int, alone: bool) -> np.ndarray:
    """Which of its frames are seen of each source, ``b f``: all, few, or one of them."""
    every = np.tile(np.arange(FRAMES), (count, 1))
    one = np.repeat(lot.integers(FRAMES, size=(count, 1)), FRAMES, axis=1)
    few = lot.integers(FRAMES, size=(count, 2))[:, np.arange(FRAMES) % 2]
    kind = lot.random((count, 1))
    if alone:  # all frames would tell the answer's mean pose
        return np.where(kind < 0.6, one, few)
    return np.where(kind < 0.6, every, np.where(kind < 0.8, one, few))


def _another_body(driving: Tensor, offset: float) -> Tensor:
    """The same motion of other parts: each point elsewhere, and with more or less of its own."""
    place = driving[..., :2]
    size = Place.of(driving).size[:, None, None, None]
    mean = place.mean(dim=1, keepdim=True)
    common = (place - mean).mean(dim=2, keepdim=True)
    gain = torch.exp(offset * torch.randn(*mean.shape[:3], 1))
    moved = common + gain * (place - mean - common)
    elsewhere = mean + offset * size * torch.randn_like(mean)
    return torch.cat([elsewhere + moved, driving[..., 2:]], dim=-1)


def _random_shapes(count: int, deviation: float) -> Tensor:
    """Stretching along x and y and a small turn: matrices ``b 2 2``."""
    stretch = torch.diag_embed(torch.exp(deviation * torch.randn(count, 2)))
    angle = 0.5 * deviation * torch.randn(count)
    rows = [
        torch.stack([angle.cos(), -angle.sin()], -1),
        torch.stack([angle.sin(), angle.cos()], -1),
    ]
    return torch.stack(rows, dim=-2) @ stretch


def _reshaped(points: Tensor, shape: Tensor) -> Tensor:
    """Points ``b f k 6`` of frames that are mapped by matrices ``b 2 2``."""
    place = torch.einsum("bij,bfkj->bfki", shape, points[..., :2])
    jacobian = torch.einsum("bij,bfkjl->bfkil", shape, points[..., 2:].unflatten(-1, (2, 2)))
    return torch.cat([place, jacobian.flatten(-2)], dim=-1)


def _noisy(points: Tensor, deviation: float) -> Tensor:
    size = Place.of(points).size[:, None, None, None]
    noise = deviation * size * torch.randn_like(points[..., :2])
    return torch.cat([points[..., :2] + noise, points[..., 2:]], dim=-1)
