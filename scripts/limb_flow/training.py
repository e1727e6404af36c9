"""The training loop of the flow from joints: ends by the clock, resumable."""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from joints.state import average_into, logger
from torch import nn

from anamodiff.lofnet.limb_flow import LimbFlow

from .bank import work
from .batches import Batch, Resident, as_batch, augment, noisy
from .drawn import held_out_pairs
from .meshes import MeshClips, every_pair
from .objective import Scores, measure, terms, total
from .pairs import Pairs

WARMUP, FALL, KEEP = 200, 0.4, 0.999
MEASURING = 12.0  # seconds kept for it
NOISE_SOURCE, NOISE_TARGET, LOST = 0.03, 0.012, 0.03


def train(options: argparse.Namespace, began: float) -> None:
    """Train until `options.seconds` after `began`; measure, save."""
    device, say = torch.device(options.device), logger(options.folder)
    torch.manual_seed(options.seed)
    net = LimbFlow.load(options.start).train() if options.start else LimbFlow()
    net = net.to(device, memory_format=torch.channels_last)
    averaged = copy.deepcopy(net).eval()
    optimiser = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.02)
    step, used = resume(options.folder, net, averaged, optimiser)
    resident = fill_first(options, device)
    makers = start_makers(options)
    start, logged, saved = time.monotonic(), time.monotonic(), time.monotonic()
    whole = options.seconds - (start - began) - MEASURING
    shown, last = step, {}
    say(f"begins after {start - began:.0f} s with {resident.count} pairs")
    while (passed := time.monotonic() - start) < whole:
        share = (used + passed) / (used + whole)
        rate = options.rate * min(1, (step + 1) / WARMUP, max(0.01, (1 - share) / FALL))
        for group in optimiser.param_groups:
            group["lr"] = rate
        last = train_on(net, optimiser, augment(resident.take(options.batch)), device)
        step += 1
        average_into(averaged, net, min(KEEP, (1 + step) / (10 + step)))
        if step % 100 == 0:
            resident.read_new(options.bank, 2)
        if time.monotonic() - logged > 20:
            pace = (step - shown) * options.batch / (time.monotonic() - logged)
            parts = " ".join(f"{name} {float(part):.4f}" for name, part in last.items())
            say(f"step {step} {share:.0%} {parts} ({pace:.0f} pairs/s, {resident.count} kept)")
            logged, shown = time.monotonic(), step
        if time.monotonic() - saved > 30:
            save(options.folder, net, averaged, optimiser, step, used + passed)
            saved = time.monotonic()
    save(options.folder, net, averaged, optimiser, step, used + whole)
    for maker in makers:
        maker.terminate()
    report(options, averaged, device)


def train_on(
    net: LimbFlow, optimiser: torch.optim.Optimizer, batch: Batch, device: torch.device
) -> dict[str, torch.Tensor]:
    """One step; returns the loss's parts, still on the device."""
    lost = torch.rand(batch.joints_source.shape[:2], device=device) < LOST
    source = noisy(batch.joints_source, NOISE_SOURCE, lost)
    target = noisy(batch.joints_target, NOISE_TARGET, lost)
    with torch.autocast(device.type, torch.bfloat16):
        motion = net(batch.source, source, target)
    parts = terms(motion, batch)
    optimiser.zero_grad(set_to_none=True)
    total(parts).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return {name: part.detach() for name, part in parts.items()}


def fill_first(options: argparse.Namespace, device: torch.device) -> Resident:
    """What the bank holds now; waits for its first file."""
    resident = Resident(device, options.resident)
    while not resident.read_new(options.bank, 10**6):
        if not options.workers:
            raise SystemExit(f"expected pairs in {options.bank}; found none: run `make` first")
        time.sleep(1)
        if not any(options.bank.glob("pairs-*.npz")):
            work(options.bank, options.motion, 5.0, 9999)
    return resident


def start_makers(options: argparse.Namespace) -> list[multiprocessing.Process]:
    """Processes that go on filling the bank."""
    context = multiprocessing.get_context("spawn")
    seeds = range(options.seed + 5000, options.seed + 5000 + options.workers)
    arguments = [(options.bank, options.motion, options.seconds, seed) for seed in seeds]
    makers = [context.Process(target=work, args=row, daemon=True) for row in arguments]
    for maker in makers:
        maker.start()
    return makers


def save(
    folder: Path, net: LimbFlow, averaged: LimbFlow, optimiser: torch.optim.Optimizer, step: int,
    seconds: float,
) -> None:  # fmt: skip
    """Write the state, and the averaged weights for use."""
    state = {
        "net": net.state_dict(), "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds,
    }  # fmt: skip
    torch.save(state, folder / "state.tmp")
    os.replace(folder / "state.tmp", folder / "state.pt")
    averaged.save(folder / "limb_flow")


def resume(
    folder: Path, net: LimbFlow, averaged: LimbFlow, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    """Go on from a saved state, if there is one: steps and seconds done."""
    path = folder / "state.pt"
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(state["net"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]


def held_out_sets(motion: Path | None, count: int, device: torch.device) -> dict[str, list[Batch]]:
    """Batches of drawn and rendered species that are kept out of training."""
    sets = {"drawn": held_out_pairs(0, count)}
    if motion:
        sets["rendered"] = list(every_pair(MeshClips(motion, held_out=True), 0, count))
    return {name: _batches(Pairs.join(parts), device) for name, parts in sets.items()}


def _batches(pairs: Pairs, device: torch.device, size: int = 64) -> list[Batch]:
    made = []
    for start in range(0, len(pairs), size):
        names = Pairs.__annotations__
        cut = {n: np.ascontiguousarray(getattr(pairs, n)[start : start + size]) for n in names}
        made.append(as_batch({n: torch.from_numpy(v).to(device) for n, v in cut.items()}))
    return made


def report(options: argparse.Namespace, net: LimbFlow, device: torch.device) -> dict[str, Scores]:
    """Measure untrained and trained weights on the held-out sets; `scores.json`."""
    say, scores = logger(options.folder), {}
    plain = LimbFlow().eval().to(device)
    for name, batches in held_out_sets(options.motion, options.held_out, device).items():
        for who, module in (("bones alone", plain), ("trained", net)):
            scores[f"{name}, {who}"] = score = measure(module, batches)
            say(f"{name}, {who}: {score.line()}")
    text = json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1)
    (options.folder / "scores.json").write_text(text + "\n", encoding="utf-8")
    return scores


def measure_run(options: argparse.Namespace) -> None:
    """Print the scores of a run's weights."""
    device = torch.device(options.device)
    report(options, LimbFlow.load(options.folder / "limb_flow").to(device), device)
