"""The training loop of the flow from joints."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joints.state import Clock, Run, Schedule, logger
from torch import Tensor

from anamodiff.lofnet.limb_flow import LimbFlow

from .bank import start, work
from .batches import Batch, Resident, as_batch, augment, noisy
from .drawn import held_out_pairs
from .meshes import MeshClips, every_pair
from .objective import Scores, measure, terms, total
from .pairs import Pairs

MAKERS = 5000  # seeds from there on are those of processes that make pairs meanwhile


@dataclass(frozen=True)
class Options(Schedule):
    """Of a run. Joints that are shown are off by as much as `noise_source` and `noise_target` of
    [-1, 1], and a share `lost` of them is unknown."""

    steps: int = 20000
    rate: float = 2e-3
    fall: float = 0.4
    average: float = 0.999
    minutes_measure: float = 30.0
    minutes_log: float = 0.3
    minutes_save: float = 0.5
    batch: int = 32
    noise_source: float = 0.03
    noise_target: float = 0.012
    lost: float = 0.03


class Training(Run):
    """Training of a `LimbFlow`."""

    name = "limb_flow"
    options: Options

    def train_on(self, batch: Batch) -> dict[str, Tensor]:
        """One step; returns the loss's parts, still on the device."""
        options, shape = self.options, batch.joints_source.shape[:2]
        lost = torch.rand(shape, device=self.device) < options.lost
        source = noisy(batch.joints_source, options.noise_source, lost)
        target = noisy(batch.joints_target, options.noise_target, lost)
        with torch.autocast(self.device.type, torch.bfloat16):
            motion = self.module(batch.source, source, target)
        parts = terms(motion, batch)
        self.descend(total(parts))
        return {name: part.detach() for name, part in parts.items()}


def train(
    training: Training, bank: Path, motion: Path | None, resident: Resident, workers: int,
    held_out: int, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Train on a bank, to which `workers` processes add; then measure."""
    fill_first(resident, bank, motion, workers)
    seconds, seed = training.options.seconds or 1e9, training.options.seed + MAKERS
    makers = start(bank, motion, workers=workers, seconds=seconds, seed=seed)
    fresh = Clock(0.1)
    say(f"begins with {resident.count} pairs")

    def one_step() -> dict[str, Tensor]:
        if fresh.due():
            resident.read_new(bank, 2)
        return training.train_on(augment(resident.take(training.options.batch)))

    sets = held_out_sets(motion, held_out, training.device)
    pace, per_step = "{:.0f} pairs/s", training.options.batch
    training.train(one_step, sets, measure, say, pace=pace, per_step=per_step)
    for maker in makers:
        maker.terminate()
    report(training.folder, LimbFlow().eval().to(training.device), sets, "bones alone", say)


def fill_first(resident: Resident, bank: Path, motion: Path | None, workers: int) -> None:
    """What the bank holds now; where that is nothing, what can be made in seconds."""
    bank.mkdir(parents=True, exist_ok=True)
    if not any(bank.glob("pairs-*.npz")):
        if not workers:
            raise SystemExit(f"expected pairs in {bank}; found none: run `make` first")
        work(bank, motion, seconds=5.0, seed=9999)
    resident.read_new(bank, 10**6)


def held_out_sets(motion: Path | None, count: int, device: torch.device) -> dict[str, list[Batch]]:
    """Batches of drawn and rendered species that are kept out of training."""
    sets = {"drawn": held_out_pairs(0, count)}
    if motion:
        sets["rendered"] = list(every_pair(MeshClips(motion, held_out=True), 0, count))
    return {name: _batches(Pairs.join(parts), device) for name, parts in sets.items()}


def _batches(pairs: Pairs, device: torch.device, size: int = 64) -> list[Batch]:
    made = []
    for first in range(0, len(pairs), size):
        names = Pairs.__annotations__
        cut = {n: np.ascontiguousarray(getattr(pairs, n)[first : first + size]) for n in names}
        made.append(as_batch({n: torch.from_numpy(v).to(device) for n, v in cut.items()}))
    return made


def report(
    folder: Path, net: LimbFlow, sets: dict[str, list[Batch]], who: str, say: Callable[[str], None]
) -> dict[str, Scores]:
    """Measure a network on the held-out sets; `scores-WHO.json`."""
    scores = {name: measure(net, batches) for name, batches in sets.items()}
    for name, score in scores.items():
        say(f"{name}, {who}: {score.line()}")
    text = json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1)
    (folder / f"scores-{who.replace(' ', '-')}.json").write_text(text + "\n", encoding="utf-8")
    return scores


def command(arguments: argparse.Namespace, began: float) -> None:
    """The command's actions `train` and `measure`."""
    device, say = torch.device(arguments.device), logger(arguments.folder)
    if arguments.action == "measure":
        net = LimbFlow.load(arguments.folder / "limb_flow").to(device)
        sets = held_out_sets(arguments.motion, arguments.held_out, device)
        report(arguments.folder, net, sets, "measured", say)
        return
    torch.manual_seed(arguments.seed)
    net = LimbFlow.load(arguments.start) if arguments.start else LimbFlow()
    options = Options(
        rate=arguments.rate, batch=arguments.batch, seconds=arguments.seconds, seed=arguments.seed,
        steps=arguments.steps,
    )  # fmt: skip
    net = net.to(device, memory_format=torch.channels_last)
    training = Training(net, options, arguments.folder)
    training.started = began
    training.resume()
    train(
        training, arguments.bank, arguments.motion, Resident(device, arguments.resident),
        arguments.workers, arguments.held_out, say,
    )  # fmt: skip
    say(f"over after {time.monotonic() - began:.0f} s")
