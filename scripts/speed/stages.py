"""Every stage of a transfer on one device; random weights take the same time as trained ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from costs import flops
from costs.models import SCHEDULE, Architecture
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from anamodiff import creatures
from anamodiff.backbone.memory import VRAM_PRESETS, Memory
from anamodiff.backbone.model import Backbone
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.model import LOFNet
from anamodiff.options import PRESETS, GenerationOptions, TuningOptions
from anamodiff.run.api import DEMO_PAIR
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.letterbox import from_pixels
from speed.timing import matmul_peak, once

#: Figures of a run: by stage, then by name.
Figures = dict[str, dict[str, float]]
PROMPT = "a turtle"
LEARNING_RATE = 1e-6


class RandomBackbone(Backbone):
    """A backbone without a tokenizer: any prompt is embedded as the same tokens."""

    def embed(self, prompts: Sequence[str]) -> Tensor:
        length = self.text_encoder.config.max_position_embeddings
        with torch.no_grad(), self.on_device(self.text_encoder) as encoder:
            tokens = torch.zeros(len(prompts), length, dtype=torch.long, device=self.device)
            return encoder(tokens).last_hidden_state.float()


def make_mover(
    size: Architecture, lofnet: LOFNet, device: torch.device, memory: Memory | None = None
) -> MotionTransfer:
    """The models, with random weights of seed 0."""
    torch.manual_seed(0)
    memory = memory or Memory()
    text = CLIPTextConfig(**{"max_position_embeddings": size.tokens, **size.text})
    with built_on(device, size.dtype):
        parts = AutoencoderKL(**size.vae), UNet2DConditionModel(**size.unet), CLIPTextModel(text)
    backbone = RandomBackbone(
        *(nn.Module.to(part, size.dtype) for part in parts), None, SCHEDULE, folder=Path("random"),
        files={}, device=device, offload=memory.offload, frames_at_once=memory.frames_at_once,
    )  # fmt: skip
    return MotionTransfer(backbone, lofnet, memory=memory)


@contextmanager
def built_on(device: torch.device, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Create modules on the device, in a precision: drawing a billion weights takes a CPU long."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def make_frames(size: Architecture) -> tuple[Tensor, Tensor]:
    """Frames f 3 H W in [-1, 1] of a source and a driving clip, drawn as in the demo."""
    pair = creatures.draw_pair(
        DEMO_PAIR, source_species="turtle", driving_species="rhino", motion="jump",
        frames=size.frames, size=size.vae["sample_size"],
    )  # fmt: skip
    return from_pixels(pair.source.frames), from_pixels(pair.driving.frames)


def measure_preset(
    mover: MotionTransfer, size: Architecture, preset: str, *, iterations: int | None = None
) -> Figures:
    """Seconds, operations and peak memory of each stage under a preset.

    Args:
        iterations: of tuning that are run, all by default. The stage's `seconds` are those of the
            preset's number, extrapolated from the time between iterations; `measured` were taken.
    """
    method, options = mover.method, mover.resolve(preset=preset)
    # The plateau's probes take their time, but noise does not tell when it would be reached. The
    # learning rate keeps random weights from diverging.
    tuning = replace(options.tuning, iterations_min=options.tuning.iterations, lr=LEARNING_RATE)
    generation = options.generation
    run = replace(tuning, iterations=min(iterations or tuning.iterations, tuning.iterations))
    figures: Figures = {}
    made: dict[str, Any] = {}

    def stage(name: str, work: Callable[[], Any]) -> dict[str, float]:
        with _peak(method.backbone.device) as peak:
            seconds = once(lambda: made.update({name: work()}), method.backbone.device)
        figures[name] = {"seconds": seconds, "measured": seconds, **peak}
        return figures[name]

    frames = make_frames(size)
    stage("encode and warp", lambda: method.warp(*frames, adaptation=options.adaptation))
    warped: WarpedIntermediate = made["encode and warp"]
    ends: list[float] = []
    row = stage(
        "tuning",
        lambda: method.fit(
            warped, PROMPT, run, seed=0, progress=lambda *_: ends.append(time.perf_counter())
        ),
    )
    # The first call is before the first iteration.
    each = (ends[-1] - ends[1]) / (len(ends) - 2) if len(ends) > 2 else row["measured"]
    row |= {"iterations": run.iterations, "seconds_per_iteration": each}
    row["seconds"] += (tuning.iterations - run.iterations) * each
    unet, _ = made["tuning"]
    stage("invert and sample", lambda: method.sample(unet, warped, PROMPT, generation, seed=0))
    latents = made["invert and sample"]
    stage("decode", lambda: (method.decode_result(latents, warped, generation),
                             method.backbone.decode(warped.warped)))  # fmt: skip
    for name, operations in _operations(size, tuning, generation).items():
        figures[name]["operations"] = operations
    return figures


def measure_memory(
    size: Architecture, lofnet: LOFNet, device: torch.device, vram: int, *, iterations: int = 2
) -> dict[str, float]:
    """Peak memory (GiB) of tuning and of generation with a `--vram`, from a few iterations."""
    mover = make_mover(size, lofnet, device, VRAM_PRESETS[vram])
    method, options = mover.method, mover.resolve(preset="paper")
    tuning = replace(options.tuning, iterations=iterations, lr=LEARNING_RATE)
    generation = replace(options.generation, steps=iterations)
    warped = method.warp(*make_frames(size), adaptation=options.adaptation)
    with _peak(device) as peak_tuning:
        unet, _ = method.fit(warped, PROMPT, tuning)
    with _peak(device) as peak_generation:
        latents = method.sample(unet, warped, PROMPT, generation)
        method.decode_result(latents, warped, generation)
        method.backbone.decode(warped.warped)
    peaks = {"tuning": peak_tuning, "generation": peak_generation}
    return {name: peak["gib"] for name, peak in peaks.items() if "gib" in peak}


def measure_graph(mover: MotionTransfer, *, steps: int = 50) -> dict[str, float]:
    """Seconds of inverting one frame, its kernels launched one by one and as one CUDA graph.

    Raises:
        AssertionError: if the results differ.
    """
    unet, device = mover.method.inflate(TuningOptions()).eval(), mover.backbone.device
    channels, side = unet.config["in_channels"], unet.config["sample_size"]
    latents = torch.randn(1, channels, 1, side, side).to(device)
    text = mover.backbone.embed([PROMPT])
    made: dict[str, Tensor] = {}

    def seconds(name: str, cuda_graph: bool) -> float:
        def invert() -> None:
            made[name] = ddim_invert(
                unet, latents, embedding=text, schedule=SCHEDULE, steps=steps, cuda_graph=cuda_graph
            )

        return once(invert, device)

    taken = {"kernels": seconds("kernels", False), "cuda graph": seconds("cuda graph", True)}
    kernels, graph = made.values()
    torch.testing.assert_close(graph, kernels, rtol=1e-2, atol=1e-2 * float(kernels.std()))
    return taken


def measure_all(
    size: Architecture, lofnet: LOFNet, device: torch.device, *, iterations: int | None = None
) -> dict[str, Any]:
    """Everything: the peak of matrix products, each preset's stages, each `--vram`'s memory."""
    peak = matmul_peak(device, size.dtype)
    mover = make_mover(size, lofnet, device)
    measure_preset(mover, size, "fast", iterations=2)  # warms up kernels and memory
    presets = {name: measure_preset(mover, size, name, iterations=iterations) for name in PRESETS}
    figures = {"matmul_peak": peak, "presets": presets, "inversion": {}, "vram": {}}
    if device.type == "cuda":
        figures["inversion"] = measure_graph(mover)
        del mover
        for vram in VRAM_PRESETS:
            figures["vram"][f"--vram {vram}"] = measure_memory(size, lofnet, device, vram)
    return figures


def _operations(
    size: Architecture, tuning: TuningOptions, generation: GenerationOptions
) -> Mapping[str, float]:
    """Counted operations of each stage, without LOFNet's."""
    lora = {"rank": tuning.rank, "layers": tuning.lora, "blocks": tuning.lora_blocks}
    clip = flops.training(
        size, levels=tuning.checkpoint_levels, frames=min(tuning.window, size.frames), **lora
    )
    taken = generation.steps - SCHEDULE.start(generation.steps, generation.denoise_from)
    step = flops.forward(size) if generation.guidance == 1 else flops.guided_step(size)
    return {
        "encode and warp": size.frames * flops.encoding(size),
        "tuning": 2 * tuning.iterations * clip,
        "invert and sample": taken * (flops.inversion_step(size) + step),
        "decode": 2 * size.frames * flops.decoding(size),
    }


@contextmanager
def _peak(device: torch.device) -> Iterator[dict[str, float]]:
    """Peak memory of the device's tensors as `gib`, filled in at the end; empty on a CPU."""
    found: dict[str, float] = {}
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if on_cuda:
        found["gib"] = torch.cuda.max_memory_allocated(device) / 2**30
