"""Every stage of a transfer on one device, with random weights, which time like real ones."""

from __future__ import annotations

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

from anamodiff.backbone import Backbone
from anamodiff.inversion import GenerationOptions, ddim_invert
from anamodiff.letterbox import fit
from anamodiff.lofnet import LOFNet
from anamodiff.memory import PRESETS as VRAM
from anamodiff.memory import Memory
from anamodiff.pipeline import MotionTransfer
from anamodiff.presets import PRESETS
from anamodiff.scene import Scene
from anamodiff.tuning import TuningOptions
from anamodiff.video import Clip
from speed.timing import matmul_peak, once

#: Figures of a run: by stage, then by name.
Figures = dict[str, dict[str, float]]


class RandomBackbone(Backbone):
    """A backbone without a tokenizer: prompts become noise after as much work."""

    def embed(self, prompts: Sequence[str]) -> Tensor:
        length = self.text_encoder.config.max_position_embeddings
        with torch.no_grad(), self.at_work(self.text_encoder) as encoder:
            tokens = torch.zeros(len(prompts), length, dtype=torch.long, device=self.device)
            return encoder(tokens).last_hidden_state.float()


def make_mover(
    size: Architecture, lofnet: LOFNet, device: torch.device, memory: Memory | None = None
) -> MotionTransfer:
    """The models, with weights drawn from seed 0."""
    torch.manual_seed(0)
    memory = memory or Memory()
    text = CLIPTextConfig(**{"max_position_embeddings": size.tokens, **size.text})
    parts = (
        AutoencoderKL(**size.vae),
        UNet2DConditionModel(**size.unet),
        CLIPTextModel(text),
    )
    backbone = RandomBackbone(
        *(nn.Module.to(part, size.dtype) for part in parts), None, SCHEDULE, folder=Path("random"),
        files={}, device=device, offload=memory.offload, frames_at_once=memory.frames_at_once,
    )  # fmt: skip
    return MotionTransfer(backbone, lofnet, memory=memory)


def make_clips(size: Architecture) -> tuple[Clip, Clip]:
    """Two clips of noise."""
    side = size.vae["sample_size"]
    box = fit(side, side, side)
    frames = torch.rand(2, size.frames, 3, side, side, generator=torch.Generator().manual_seed(0))
    indices, white = tuple(range(size.frames)), (1.0, 1.0, 1.0)
    return tuple(Clip(own * 2 - 1, 8.0, None, indices, size.frames, box, white) for own in frames)


def measure_preset(
    mover: MotionTransfer, size: Architecture, preset: str, *, iterations: int | None = None
) -> Figures:
    """Seconds, operations and peak memory of each stage under a preset.

    Args:
        iterations: of tuning that really run; the seconds are scaled to the preset's own, those of
            what is done once before with them.
    """
    mover = mover.with_preset(preset)
    tuning = mover.tuning_options(None)
    # Where it would look for a plateau it looks, but noise does not tell when it would be reached.
    tuning = replace(tuning, iterations_min=tuning.iterations)
    generation = mover.backbone.options(GenerationOptions, None, "generation")
    run = replace(tuning, iterations=min(iterations or tuning.iterations, tuning.iterations))
    costs = _operations(size, tuning, generation)
    figures: Figures = {}
    made: dict[str, Any] = {}

    def stage(name: str, work: Callable[[], Any], share: float = 1.0) -> None:
        with _peak(mover.backbone.device) as peak:
            seconds = once(lambda: made.update({name: work()}), mover.backbone.device)
        figures[name] = {"seconds": seconds / share, "operations": costs[name], **peak}

    clips = make_clips(size)
    stage("encode and warp", lambda: mover.warp(*clips))
    scene: Scene = made["encode and warp"]
    share = run.iterations / tuning.iterations
    stage("tuning", lambda: mover.fit(scene, "a turtle", run, seed=0), share)
    unet, _ = made["tuning"]
    stage(
        "invert and sample", lambda: mover.sample(unet, scene, "a turtle", generation, seed=0)
    )  # fmt: skip
    latents = made["invert and sample"]
    stage("decode", lambda: (mover.develop(latents, scene, generation),
                             mover.backbone.decode(scene.warped)))  # fmt: skip
    return figures


def measure_memory(
    size: Architecture, lofnet: LOFNet, device: torch.device, *, iterations: int = 2
) -> Figures:
    """Peaks of tuning and generation for each `--vram`; tuning takes a few iterations."""
    figures = {}
    for vram, memory in VRAM.items():
        mover = make_mover(size, lofnet, device, memory)
        made = measure_preset(mover, size, "paper", iterations=iterations)
        figures[f"--vram {vram}"] = {
            name: made[stage]["gib"]
            for name, stage in (("tuning", "tuning"), ("generation", "invert and sample"))
            if "gib" in made[stage]
        }
    return figures


def measure_graph(mover: MotionTransfer, *, steps: int = 50) -> dict[str, float]:
    """Seconds of inverting one frame, its kernels launched one by one and as one CUDA graph.

    Raises:
        AssertionError: if the answers differ.
    """
    unet, device = mover.inflate().eval(), mover.backbone.device
    channels, side = unet.config["in_channels"], unet.config["sample_size"]
    latents = torch.randn(1, channels, 1, side, side).to(device)
    text = mover.backbone.embed(["a turtle"])
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
    measure_preset(mover, size, "fast", iterations=2)  # kernels are chosen, memory is taken
    presets = {name: measure_preset(mover, size, name, iterations=iterations) for name in PRESETS}
    figures = {"matmul_peak": peak, "presets": presets, "inversion": {}, "vram": {}}
    if device.type == "cuda":
        figures["inversion"] = measure_graph(mover)
        del mover
        figures["vram"] = measure_memory(size, lofnet, device)
    return figures


def _operations(
    size: Architecture, tuning: TuningOptions, generation: GenerationOptions
) -> Mapping[str, float]:
    """Counted operations of each stage; LOFNet's are left out."""
    lora = {"rank": tuning.rank, "layers": tuning.lora, "blocks": tuning.lora_blocks}
    clip = flops.training(size, levels=tuning.checkpoint_levels, **lora)
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
    """Most memory of the device's tensors, in GiB, afterwards; nothing on a CPU."""
    found: dict[str, float] = {}
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if on_cuda:
        found["gib"] = torch.cuda.max_memory_allocated(device) / 2**30
