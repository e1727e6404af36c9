"""Time that detector, flow and training take."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from anamodiff.cli import compose as config
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.lofnet.training.shards import CachedClip
from anamodiff.lofnet.training.trainer import Trainer

BATCH = 16
CLIPS = 4
FRAMES = 10  # of a clip, which go through the flow together
PAPER_LATENTS = 64  # along a side


def mgif_network() -> LOFNet:
    """LOFNet of the paper's size (`configs/network/mgif.yaml`), random weights."""
    composed = config.compose("train_lofnet", ["data=none", "network=mgif"])
    torch.manual_seed(0)
    return build_lofnet(config.plain(composed)["network"]).eval()


@torch.no_grad()
def inference(lofnet: LOFNet, latent_size: int, *, repeats: int = 5) -> dict[str, float]:
    """Milliseconds a frame: detector, dense motion, and both; the best of `repeats`."""
    size = lofnet.frame_size
    channels = lofnet.dense_motion.config["num_channels"]
    frames = torch.rand(FRAMES, 3, size, size) * 2 - 1
    latent = torch.randn(1, channels, latent_size, latent_size)
    points = lofnet.points(frames)
    detector = _best(lambda: lofnet.points(frames), repeats)
    flow = _best(lambda: lofnet.flow(latent, points, points[0]), repeats)
    figures = {"detector": detector, "flow": flow, "both": detector + flow}
    return {name: 1000 * seconds / FRAMES for name, seconds in figures.items()}


def training(lofnet: LOFNet, latent_size: int, *, steps: int = 3) -> float:
    """Pairs a second in training on cached latents, batches of 16; the best of `steps`."""
    with TemporaryDirectory() as folder:
        clips = random_clips(Path(folder), lofnet, latent_size)
        options, alone = TrainOptions(batch_size=BATCH), Accelerator(cpu=True)
        trainer = Trainer(deepcopy(lofnet), options, steps + 1, "cpu", alone)
        return BATCH / _best(lambda: trainer.train_step(clips), steps)


def random_clips(folder: Path, lofnet: LOFNet, latent_size: int) -> LatentClips:
    """Noise in the cache's format: the pictures' content does not change the time."""
    channels = lofnet.dense_motion.config["num_channels"]
    shard, rows = folder / "noise.safetensors", CLIPS * FRAMES
    frames = torch.randint(256, (rows, 3, lofnet.frame_size, lofnet.frame_size))
    latents = torch.randn(rows, channels, latent_size, latent_size)
    save_file({"frames": frames.to(torch.uint8), "latents": latents.half()}, shard)
    return LatentClips([CachedClip(str(n), shard, n * FRAMES, FRAMES) for n in range(CLIPS)])


def _best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs after a first one.

    On one thread it is processor time, which other work on the machine disturbs least.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    taken = []
    for _ in range(repeats):
        started = clock()
        work()
        taken.append(clock() - started)
    return min(taken)
