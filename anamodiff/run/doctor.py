"""`anamodiff doctor`: what is here, what would be fetched, and what a run will take.

What it says of a run is an estimate: operations that were counted, at a speed that is measured for
a moment. Nothing is fetched.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from anamodiff.backbone import hub
from anamodiff.backbone.find import MINI, PAPER
from anamodiff.backbone.model import Backbone, choose_device
from anamodiff.backbone.precision import StagePrecision, choose_precision, stage_precision
from anamodiff.backbone.speed import measured_speed, now
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.sampling import sample
from anamodiff.options import FRAMES, GenerationOptions, RunOptions, TuningOptions, resolve
from anamodiff.run.fetch import Found, cached_models
from anamodiff.run.machine import free_memory, peak_memory_mb, total_memory
from anamodiff.tuning.loop import tune
from anamodiff.unet3d.lora import add_lora
from anamodiff.unet3d.model import inflate

# Counted operations (a multiply-add is two) of SD v1.4 at 512x512, a frame; those of the UNet were
# counted on clips of ten frames.
FORWARD, TRAINING, CHECKPOINTED = 0.977e12, 2.33e12, 3.16e12
ENCODE, DECODE = 1.12e12, 2.51e12
# GiB that tuning SD v1.4 takes in 16 bits, ten frames or more (see `tuning.window`); in 32 bits
# twice as many.
MEMORY = {"no checkpointing": 13, "the top level checkpointed": 9, "all checkpointed": 5}
SETTING = "--vram 8"


@dataclass(frozen=True)
class Estimate:
    """Seconds of each stage of a transfer."""

    stages: dict[str, float]

    @property
    def line(self) -> str:
        parts = ", ".join(f"{name} {duration(value)}" for name, value in self.stages.items())
        return f"about {duration(sum(self.stages.values()))} ({parts})"


def doctor(*, frames: int = FRAMES, device: str = "auto", precision: str = "auto") -> list[str]:
    """Lines on this machine, the cache, and what a transfer of so many frames will take here."""
    RunOptions.check(frames=frames)
    place = choose_device(device)
    dtype = choose_precision(precision, place)
    half = dtype != torch.float32
    found = cached_models(half=half)
    home = hub.cache_folder("x/y").parent
    speed = measured_speed(place, dtype)
    mini = measured_mini(place, precision, frames)
    paper = paper_estimate(speed, frames)
    return [
        f"anamodiff {version_of('anamodiff')}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version_of(name)}" for name in ("torch", "diffusers")),
        f"device: {_device_words(place)}",
        f"memory: {_memory_words(place)}",
        f"precision: {_precision_words(precision, place)}",
        f"hub cache: {home} ({_disk_words(home)})",
        *(f"  {one.line}" for one in found),
        f"backbone auto: {_auto_words(place, found)}",
        f"estimates for a transfer of {frames} frames, from a moment's measurement:",
        f"  {MINI}: {mini.line}, {_peak_words(place)}",
        f"  {PAPER} at {speed / 1e12:.2g} TFLOP/s: {paper.line}",
        *(f"    {line}" for line in memory_lines(place, half)),
    ]


def paper_estimate(speed: float, frames: int, *, checkpointed: bool = False) -> Estimate:
    """Seconds of a transfer with SD v1.4 and the paper's settings, at `speed` operations a second.

    Two clips an iteration; inversion of one frame; every step with and without the prompt; the
    warped intermediate is decoded, too.
    """
    tuning, generation = TuningOptions(), GenerationOptions()
    training = CHECKPOINTED if checkpointed else TRAINING
    prompts = 1 if generation.guidance == 1 else 2
    operations = {
        "encoding": ENCODE * frames,
        "tuning": tuning.iterations * 2 * training * min(frames, tuning.window),
        "inversion": generation.steps * FORWARD,
        "sampling": generation.steps * prompts * FORWARD * frames,
        "decoding": 2 * DECODE * frames,
    }
    return Estimate({name: count / speed for name, count in operations.items()})


def measured_mini(device: torch.device, precision: str, frames: int) -> Estimate:
    """Seconds of a transfer with the embedded backbone, from one iteration of each stage."""
    started = time.perf_counter()
    backbone = Backbone.load(MINI, device=device, precision=precision)
    loading = time.perf_counter() - started
    options = resolve(recommended=backbone.recommended)
    tuning, generation = options.tuning, options.generation
    size = backbone.latent_size
    clip = torch.randn(frames, 4, size, size, device=device)
    text = backbone.embed(["a turtle"])
    unet = inflate(backbone.unet, tuning.group_norm).to(backbone.precision.sampling)
    schedule = backbone.schedule
    windows = {"window": generation.window, "overlap": generation.overlap}
    common = {"embedding": text, "schedule": schedule, "steps": 2}
    latents = clip.transpose(0, 1)[None]  # b c f h w
    inversion = _step(lambda note: ddim_invert(unet, latents[:, :, :1], progress=note, **common))
    sampling = _step(lambda note: sample(unet, latents, progress=note, **windows, **common))
    add_lora(unet.to(backbone.precision.tuning), rank=tuning.rank, layers=tuning.lora)
    # An iteration is told of once the next one is on its way.
    few = replace(tuning, iterations=3)
    step = _step(lambda note: tune(unet, clip, clip, text, schedule, few, seed=0, progress=note))
    prompts = 1 if generation.guidance == 1 else 2
    # Inversion goes as far as sampling begins.
    taken = generation.steps - schedule.start(generation.steps, generation.denoise_from)
    return Estimate(
        {
            "loading": loading,
            "tuning": tuning.iterations * step,
            "inversion": taken * inversion,
            "sampling": taken * prompts * sampling,
        }
    )


def memory_lines(device: torch.device, half: bool) -> list[str]:
    """What tuning SD v1.4 needs of memory, and whether it is free here."""
    free = _free_memory(device)
    lines = []
    for kind, gibibytes in MEMORY.items():
        need = gibibytes * (1 if half else 2)
        fits = "fits" if need * 2**30 < free else "too much"
        lines.append(f"memory with {kind}: about {need:.0f} GiB, {fits}")
    return [*lines, f"checkpointing, for a third more time: {SETTING}"]


def duration(seconds: float) -> str:
    """A duration in the unit that suits it, in two digits where it is short of ten."""
    for limit, unit, name in ((100, 1, "s"), (6000, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            count = seconds / unit
            return f"{count:.2g} {name}" if count < 10 else f"{count:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def version_of(package: str) -> str:
    """A package's version; AnaMoDiff's own where it is not installed either."""
    from anamodiff import __version__

    return __version__ if package == "anamodiff" else version(package)


def _step(run: Callable[[Callable[..., None]], object]) -> float:
    """Seconds between the first two reports of a stage on its progress."""
    stamps = []
    run(lambda *_: stamps.append(now()))
    return stamps[1] - stamps[0]


def _precision_words(precision: str, device: torch.device) -> str:
    """One name, or that of each stage where a measurement chose them."""
    chosen = stage_precision(precision, device)
    dtype = choose_precision(precision, device)
    if chosen == StagePrecision.uniform(dtype):
        return str(dtype).removeprefix("torch.")
    return f"{chosen} (bf16 where it was measured to be faster here)"


def _device_words(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({os.cpu_count()} cores, {torch.get_num_threads()} threads in use)"


def _free_memory(device: torch.device) -> int:
    """Bytes on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def _memory_words(device: torch.device) -> str:
    cuda = device.type == "cuda"
    total = torch.cuda.mem_get_info(device)[1] if cuda else total_memory()
    return f"{_free_memory(device) / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _peak_words(device: torch.device) -> str:
    """What has been in use at most: by now that is the embedded backbone's tuning."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of memory"
    return f"{peak_memory_mb() / 1024:.1f} GiB of memory"


def _disk_words(folder: Path) -> str:
    while not folder.is_dir():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 1e9:.0f} GB free on its disk"


def _auto_words(device: torch.device, found: list[Found]) -> str:
    if device.type != "cuda":
        return f"{MINI}, because the device is {device.type}"
    here = any(one.short_name == "sd14" and one.path for one in found)
    how = "" if here else f", which would be fetched first, or {MINI} where it cannot be"
    return f"{PAPER}, with the embedded flow network{how}"
