"""CUDA graphs, how busy tuning keeps a GPU, and what else could make it faster."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import torch
from speed import stages
from speed.timing import once
from torch import Tensor

from anamodiff.unet3d.blocks import VideoTransformerBlock
from anamodiff.unet3d.model import UNet3D
from gpu.bench import Bench
from gpu.kernels import kernel_time
from gpu.tuning_trials import (
    SAME,
    attention_kernels,
    inputs,
    mean_seconds,
    memory_formats,
    stirred_unet,
    training_step,
    tuning_graph,
)

# Seconds that must be left for a trial to begin. Compiling with a busy host beside it did not end
# in twelve.
LEAST = {
    "tuning_graph": 14.0,
    "tuning_busy": 5.0,
    "attention": 4.0,
    "channels_last": 7.0,
    "cuda_graph": 6.0,
    "compiled_sampling": 20.0,
    "compiled_tuning": 30.0,
}


def measure(bench: Bench) -> None:
    """Each trial by itself: one that fails leaves its error, and the others go on."""
    mover = stages.make_mover(bench.size, bench.lofnet(), bench.device)
    trials = {  # in the order of what they are worth
        "tuning_graph": tuning_graph,
        "tuning_busy": _busy,
        "attention": attention_kernels,
        "channels_last": memory_formats,
        "cuda_graph": _graph,
        "compiled_sampling": _sampling,
        "compiled_tuning": _tuning,
    }
    for name, trial in trials.items():
        if bench.record.left() < LEAST[name]:
            bench.record.note(**{name: f"left out: {bench.record.left():.0f} s left"})
            continue
        bench.record.note(running=name)
        try:
            bench.record.note(**{name: trial(bench, mover)})
        except Exception:  # the next trial may work
            bench.record.note(**{name: {"error": traceback.format_exc()[-3000:]}, "failed": True})
            traceback.print_exc()
        bench.settle()
    bench.record.note(running=None)


def _busy(bench: Bench, mover: Any) -> dict[str, Any]:
    """Whether a tuning iteration waits for the host: seconds of its kernels against its own."""
    if not bench.on_cuda:
        return {"left out": "needs CUDA"}
    _, step = training_step(bench, mover)
    return kernel_time(step, mean_seconds(bench, step))


def _graph(bench: Bench, mover: Any) -> dict[str, Any]:
    if not bench.on_cuda:
        return {"left out": "needs CUDA"}
    steps = 50
    stages.measure_graph(mover, steps=3)
    seconds = stages.measure_graph(mover, steps=steps)  # raises where the results differ
    return {"steps": steps, "same": True, "seconds": seconds,
            "gain": seconds["kernels"] / seconds["cuda graph"]}  # fmt: skip


def _sampling(bench: Bench, mover: Any) -> dict[str, Any]:
    """A guided step of sampling."""
    unet = stirred_unet(mover).eval()
    latents, text = inputs(bench, clips=2)

    @torch.no_grad()
    def step() -> Tensor:
        return unet(latents, 500, text).sample.float()

    return _compare(bench, unet, step)


def _tuning(bench: Bench, mover: Any) -> dict[str, Any]:
    """Forward and backward of a tuning iteration; compared are the gradients."""
    return _compare(bench, *training_step(bench, mover))


def _compare(bench: Bench, unet: UNet3D, step: Callable[[], Tensor]) -> dict[str, Any]:
    """Seconds of a step before and after the finest level's transformer blocks are compiled.

    They are the most expensive ones and of one width, so that one compilation serves them all.
    """
    plain, seconds = step(), {}
    seconds["kernels"] = mean_seconds(bench, step)
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64  # one for each width of the UNet, at least
    # Inductor on a CPU wants a C++ compiler; the trial there is of the traces.
    backend = "inductor" if bench.on_cuda else "aot_eager"
    blocks = [module for module in unet.modules() if isinstance(module, VideoTransformerBlock)]
    finest = min(block.norm1.weight.numel() for block in blocks)
    chosen = [block for block in blocks if block.norm1.weight.numel() == finest]
    for block in chosen:
        block.compile(backend=backend, dynamic=False)
    compiling = once(step, bench.device)
    compiled = step()
    seconds["compiled"] = mean_seconds(bench, step)
    error = float((compiled - plain).norm() / plain.norm())
    return {
        "blocks": f"{len(chosen)} of {len(blocks)}",
        "compiling_seconds": compiling,
        "seconds": seconds,
        "gain": seconds["kernels"] / seconds["compiled"],
        "relative_error": error,
        "same": error <= SAME,
        "graph_breaks": sum(torch._dynamo.utils.counters["graph_break"].values()),
    }
