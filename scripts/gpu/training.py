"""Training rate of LOFNet at MGIF's size."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from measure.speed import PAPER_LATENTS, random_clips

from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.lofnet.training.trainer import Trainer
from gpu.bench import Bench

BATCHES = (16, 64)
SECONDS = 4.0  # of each measurement
FIRST = 5  # steps that do not count
MOST = 1000


def measure(bench: Bench) -> None:
    """Pairs a second on cached latents, for several batch sizes, in the precision `auto`."""
    lofnet = bench.lofnet()
    latents = lofnet.frame_size // 4 if bench.small else PAPER_LATENTS
    rates: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        clips = random_clips(Path(folder), lofnet, latents)
        spent = 0.0
        for batch in (2, 4) if bench.small else BATCHES:
            if bench.record.left() < 1.5 * spent:  # the next one has larger batches
                bench.record.note(
                    **{f"batch {batch}": f"left out: {bench.record.left():.0f} s left"}
                )
                break
            started = time.perf_counter()
            trainer = Trainer(
                bench.lofnet(), TrainOptions(batch_size=batch), MOST, bench.device,
                Accelerator(cpu=not bench.on_cuda, mixed_precision="no", device_placement=False),
            )  # fmt: skip
            rates[f"batch {batch}"] = _rate(bench, trainer, clips)
            bench.record.note(pairs_per_second=rates)
            if bench.on_cuda:
                gib = torch.cuda.max_memory_allocated(bench.device) / 2**30
                bench.record.note(peak_gib=gib)
            spent = time.perf_counter() - started


def _rate(bench: Bench, trainer: Trainer, clips: LatentClips) -> float:
    """Pairs a second after a few first steps."""
    for _ in range(FIRST):
        trainer.train_step(clips)
    bench.settle()
    started, steps = time.perf_counter(), 0
    seconds = 0.5 if bench.small else SECONDS
    while time.perf_counter() - started < seconds and trainer.step < MOST - 1:
        trainer.train_step(clips)  # its figures are read, which waits for the device
        steps += 1
    return steps * trainer.options.batch_size / (time.perf_counter() - started)
