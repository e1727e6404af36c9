"""The training loop of retargeting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.lofnet.bones import Body, Placement, body_of, place_of
from anamodiff.lofnet.joints import JointDetector
from anamodiff.lofnet.retarget import Retargeter

from .banks import PACE, Bank, Triples
from .exercises import (
    Drawn,
    Exercise,
    Tracks,
    drawn_exercise,
    observed,
    other_bodies,
    other_motions,
    track_exercise,
    triple_exercise,
)
from .rendered import read
from .state import Run, Schedule


@dataclass(frozen=True)
class Options(Schedule):
    """Of a run. A batch of `batch` mixes pairs of drawn characters, in the share `drawn`, rendered
    triples, and rendered tracks with other bodies. With the probability `same` the bodies of both
    characters are changed alike, so that a track is often driven by itself. `split` is "scored" or
    "shipped"."""

    steps: int = 40000
    rate: float = 1e-3
    fall: float = 0.4
    average: float = 0.999
    minutes_measure: float = 10.0
    batch: int = 160
    drawn: float = 0.3
    triples: float = 0.3
    same: float = 0.25
    noise: float = 0.1
    characters: int = 3000
    split: str = "scored"


@dataclass(frozen=True)
class Material:
    """What there is to learn from, on the training's device: drawn characters, rendered triples
    ``n 3 f j 2`` and rendered tracks, of which the latter two may be lacking."""

    drawn: Drawn
    triples: Tensor | None = None
    tracks: Tracks | None = None


@dataclass(frozen=True)
class Task:
    """An exercise as the network sees it: bodies in their own frames, targets ``b f j 2`` in the
    source's, where they count ``b f j``, and the source's placement."""

    source: Body
    driving: Body
    target: Tensor
    counts: Tensor
    own: Placement


def task_of(exercise: Exercise, noise: float = 0.0) -> Task:
    """What the network is shown, noisy, and what it is to say, clean."""
    bodies, places = [], []
    for track in (exercise.source, exercise.driving):
        there = (~track.isnan().any(-1)).float()
        size = place_of(track, there).size[:, 0, 0]
        joints, weight = observed(track, size, noise)
        place = place_of(joints, weight)
        places.append(place)
        bodies.append(body_of(place.enter(joints), weight))
    target = places[0].enter(exercise.target)
    counts = ~target.isnan().any(-1) & bodies[0].known[:, None]
    return Task(bodies[0], bodies[1], torch.nan_to_num(target), counts, places[0])


def losses(found: Tensor, errors: Tensor, task: Task) -> dict[str, Tensor]:
    """Distances of joints, of their motion about their means, and of their steps, all in trunks;
    and how well the expected errors fit."""
    weight = task.counts / task.counts.sum()
    apart = found - task.target
    moving = apart - apart.mean(1, keepdim=True)
    distance = _length(apart)
    steps = _length(apart.diff(dim=1)) if apart.shape[1] > 1 else distance.new_zeros(())
    scale = errors.clamp(-6, 2)
    fits = distance.detach() * (-scale).exp() + scale
    return {
        "place": (distance * weight).sum(),
        "motion": (_length(moving) * weight).sum(),
        "steps": (steps * weight[:, 1:]).sum() if apart.shape[1] > 1 else steps,
        "fit": (fits * weight).sum(),
    }


def total(parts: dict[str, Tensor]) -> Tensor:
    """The weighted sum of `losses`."""
    return parts["place"] + parts["motion"] + 0.5 * parts["steps"] + 0.02 * parts["fit"]


def _length(vectors: Tensor) -> Tensor:
    """Lengths with a gradient at zero."""
    return (vectors.square().sum(-1) + 1e-6).sqrt()


class Training(Run):
    """Training of a `Retargeter`."""

    name = "retargeter"

    def train_on(self, task: Task) -> dict[str, Tensor]:
        """One step; returns the loss's parts."""
        start = torch.randint(0, 40, (len(task.target),), device=self.device)
        parts = losses(*self.module(task.source, task.driving, start), task)
        self.descend(total(parts))
        return {name: part.detach() for name, part in parts.items()}


def next_exercise(material: Material, options: Options, lot: np.random.Generator) -> Exercise:
    """A batch of all kinds, of random numbers of frames."""
    shown = 1 if lot.random() < 0.15 else int(lot.integers(4, 13))
    frames = (shown, int(lot.integers(4, 17)))
    triples = round(options.batch * options.triples) if material.triples is not None else 0
    drawn = round(options.batch * options.drawn) if triples else options.batch
    parts = [drawn_exercise(material.drawn, drawn, frames)]
    shares = [torch.full((drawn,), 0.4)]
    if material.triples is not None:
        parts.append(triple_exercise(material.triples, triples, frames))
        shares.append(torch.full((triples,), 0.4))
    if material.tracks is not None:
        left = options.batch - drawn - triples
        parts.append(track_exercise(material.tracks, left, frames))
        shares.append(torch.ones(left))
    share = torch.cat(shares).to(parts[0].source.device, non_blocking=True)
    return other_motions(other_bodies(Exercise.join(parts), share, options.same), 0.5)


@dataclass(frozen=True)
class Scores:
    """Errors in pixels of 128: of the joints, of holding the source's first pose, and both with
    every joint's constant offset removed."""

    error: float
    held: float
    motion: float
    motion_held: float

    def line(self) -> str:
        """All figures in one line."""
        return (
            f"error {self.error:.2f} px of 128 (held {self.held:.2f}); without constant offsets "
            f"{self.motion:.2f} (held {self.motion_held:.2f}), ratio "
            f"{self.motion / max(self.motion_held, 1e-9):.3f}"
        )


@torch.no_grad()
def measure(net: Retargeter, exercise: Exercise, noise: float = 0.0) -> Scores:
    """Scores of a whole set, with true joints or noisy ones."""
    task = task_of(exercise.to(next(net.parameters()).device), noise)
    found = task.own.leave(net(task.source, task.driving)[0])
    return compare(found.cpu(), exercise.target, exercise.source[:, :1])


def compare(found: Tensor, target: Tensor, first: Tensor) -> Scores:
    """Scores of tracks ``b f j 2`` against the truth, and of holding the `first` pose
    ``b 1 j 2``; joints that any of them lacks do not count."""
    counts = ~(target.isnan() | first.isnan() | found.isnan()).any(-1)
    found, target, first = (torch.nan_to_num(x) for x in (found, target, first))

    def mean(vectors: Tensor) -> float:
        return PACE * float(vectors.norm(dim=-1)[counts].mean())

    def moving(track: Tensor) -> Tensor:
        return track - track.mean(1, keepdim=True)

    return Scores(
        mean(found - target), mean(first - target),
        mean(moving(found) - moving(target)), mean(moving(target)),
    )  # fmt: skip


@torch.no_grad()
def measure_detected(
    net: Retargeter, detector: JointDetector, motion: Path, triples: Triples
) -> dict[str, Scores]:
    """Scores on the kept-out triples with joints as the detector finds them in the clips."""
    ids = np.load(motion / "train_pairs" / "joints.npz")["ids"]
    scores = {}
    for name, same in (("one skeleton", True), ("across", False)):
        rows = np.nonzero(triples.held_out & (triples.same == same))[0]
        found = [
            _detected(net, detector, motion / "train_pairs" / "triples" / str(ids[row]))
            for row in rows
        ]
        if found:
            truth = torch.from_numpy(triples.tracks[rows])
            scores[name] = compare(torch.stack(found), truth[:, 2], truth[:, 0, :1])
    return scores


def _detected(net: Retargeter, detector: JointDetector, folder: Path) -> Tensor:
    """Target joints `f j 2` of one triple's clips."""
    words = []
    for clip in ("source", "driving"):
        frames = torch.from_numpy(read(folder / f"{clip}.mp4"))
        joints = detector.detect(frames.permute(0, 3, 1, 2).float() / 127.5 - 1)
        words += [joints.place, joints.trust()]
    return net.retarget(*words).place


def validation_sets(drawn: Bank, triples: Triples | None, count: int) -> dict[str, Exercise]:
    """Bodies that are not trained on: drawn species kept out, and rendered triples in which such a
    species takes part."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        sets = {"drawn": drawn_exercise(Drawn.of(drawn), count, (10, 10))}
    if triples is not None:
        for name, same in (("one skeleton", True), ("across", False)):
            rows = triples.held_out & (triples.same == same)
            if rows.any():
                tracks = torch.from_numpy(triples.tracks[rows])
                sets[name] = Exercise(*tracks.unbind(1))
    return sets


def train(
    training: Training,
    material: Material,
    sets: Mapping[str, Exercise],
    say: Callable[[str], None],
) -> None:
    """Train on all material, measured on what is kept out of it."""
    options = training.options

    def one_step() -> dict[str, Tensor]:
        exercise = next_exercise(material, options, training.lot)
        return training.train_on(task_of(exercise, options.noise))

    training.train(one_step, sets, measure, say)
