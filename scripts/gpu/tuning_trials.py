"""What could make tuning faster on a GPU: a CUDA graph, memory formats, attention's kernels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from einops import rearrange
from speed import stages
from speed.cpu import stir_temporal_attention
from speed.timing import once
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from anamodiff import cuda_graph
from anamodiff.half_precision import group_norm
from anamodiff.options import TuningOptions
from anamodiff.tuning.loop import tune
from anamodiff.tuning.loss import NoisyClip, disentangled_loss
from anamodiff.unet3d import blocks, model
from anamodiff.unet3d.lora import add_lora, trainable_parameters
from anamodiff.unet3d.model import UNet3D
from gpu.bench import Bench

ITERATIONS = 10  # of a run, the first of which do not count
FIRST = 4
REPEATS = 5
SAME = 3e-2  # relative error that rounding to 16 bits may come to
BACKENDS = ("flash_attention", "efficient_attention", "cudnn_attention", "math")
KERNELS, AGAIN, GRAPH = "kernels", "kernels again", "cuda graph"


def tuning_graph(bench: Bench, mover: Any) -> dict[str, Any]:
    """Iterations launched kernel by kernel and as a CUDA graph: seconds, losses, updates.

    Kernels add in no fixed order: how far two runs without a graph are apart is measured, too.
    """
    seconds, made, warnings = {}, {}, []
    for name in (KERNELS, AGAIN, GRAPH):
        with mock.patch.object(
            cuda_graph.logger, "warning", wraps=cuda_graph.logger.warning
        ) as warned:
            seconds[name], made[name] = _tune(bench, mover, name == GRAPH)
        warnings += [str(call.args[-1]) for call in warned.call_args_list]
        bench.settle()
    apart = {
        name: {kind: _apart(made[name][kind], made[KERNELS][kind]) for kind in made[name]}
        for name in (AGAIN, GRAPH)
    }
    return {
        "seconds": seconds,
        "gain": seconds[KERNELS] / seconds[GRAPH],
        "iterations": ITERATIONS,
        "relative_errors": apart,
        "same": apart[GRAPH]["losses"] <= SAME
        and apart[GRAPH]["updates"] <= max(SAME, 2 * apart[AGAIN]["updates"]),
        "not_recorded": warnings,
    }


def _tune(bench: Bench, mover: Any, graph: bool) -> tuple[float, dict[str, Tensor]]:
    """Seconds of an iteration; losses, and the updates of the weights."""
    options = TuningOptions(iterations=ITERATIONS, lr=stages.LEARNING_RATE, cuda_graph=graph)
    unet = mover.method.inflate(options)
    add_lora(unet, rank=options.rank)
    before = [p.detach().float().clone() for _, p in trainable_parameters(unet)]
    latents, text = inputs(bench, clips=2)
    clips = rearrange(latents, "b c f h w -> b f c h w")
    ends: list[float] = []
    losses = tune(
        unet, clips[0], clips[1], text[:1], stages.SCHEDULE, options, seed=0,
        progress=lambda *_: ends.append(time.perf_counter()),
    )  # fmt: skip
    after = [p.detach().float() for _, p in trainable_parameters(unet)]
    updates = torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])
    seconds = (ends[-1] - ends[FIRST]) / (len(ends) - 1 - FIRST)
    return seconds, {"losses": torch.tensor(losses), "updates": updates}


def memory_formats(bench: Bench, mover: Any) -> dict[str, Any]:
    """Forward and backward pass with group norms that leave channels last, and without the format.

    The product's return to channels last at once; before, the next convolution did.
    """
    unet, step = training_step(bench, mover)
    plain = step()
    seconds = {"channels last": mean_seconds(bench, step)}
    with ExitStack() as patches:
        for module in (blocks, model):
            patches.enter_context(mock.patch.object(module, "clip_group_norm", _norm_as_it_comes))
        errors = {"norms as they come": _apart(step(), plain)}
        seconds["norms as they come"] = mean_seconds(bench, step)
        unet.to(memory_format=torch.contiguous_format)
        unet.conv_in.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
        errors["contiguous"] = _apart(step(), plain)
        seconds["contiguous"] = mean_seconds(bench, step)
    others = [taken for name, taken in seconds.items() if name != "channels last"]
    return {
        "seconds": seconds,
        "gain": min(others) / seconds["channels last"],
        "relative_errors": errors,
        "same": max(errors.values()) <= SAME,
    }


def _norm_as_it_comes(norm: nn.GroupNorm, hidden: Tensor, clips: int) -> Tensor:
    frames = len(hidden) // clips
    pooled = group_norm(norm, rearrange(hidden, "(b f) c h w -> b c (f h) w", b=clips))
    return rearrange(pooled, "b c (f h) w -> (b f) c h w", f=frames)


def attention_kernels(bench: Bench, mover: Any) -> dict[str, Any]:
    """Seconds of attention forward and backward at the finest level, by kernel."""
    config = mover.backbone.unet.config
    width, heads = config["block_out_channels"][0], config["attention_head_dim"]
    heads = heads if isinstance(heads, int) else heads[0]
    frames, tokens = bench.size.frames, config["sample_size"] ** 2
    shapes = {  # b heads n d, and the number of keys
        "sparse-causal": ((2 * (frames - 2), heads, tokens, width // heads), 2 * tokens),
        "temporal": ((2 * tokens, heads, frames, width // heads), frames),
    }
    made: dict[str, dict[str, Any]] = {}
    for name, (shape, keys) in shapes.items():
        made[name] = {"default": _attention_seconds(bench, shape, keys)}
        made[name]["padded to 64"] = _attention_seconds(bench, shape, keys, width=64)
        for backend in BACKENDS if bench.on_cuda else ("math",):
            if backend == "math" and name == "sparse-causal" and not bench.small:
                continue  # its matrices would not fit
            try:
                with sdpa_kernel(getattr(SDPBackend, backend.upper())):
                    made[name][backend] = _attention_seconds(bench, shape, keys)
            except RuntimeError as error:  # this card, or these shapes, have none
                made[name][backend] = str(error).splitlines()[0]
    return {"attention_seconds": made}


def _attention_seconds(
    bench: Bench, shape: tuple[int, ...], keys: int, width: int | None = None
) -> float:
    b, heads, _, features = shape
    tensors = [
        torch.randn(size, device=bench.device, dtype=bench.size.dtype, requires_grad=True)
        for size in (shape, *2 * [(b, heads, keys, features)])
    ]

    def step() -> None:
        given = [t if width is None else pad(t, (0, width - features)) for t in tensors]
        mixed = scaled_dot_product_attention(*given, scale=features**-0.5)[..., :features]
        mixed.backward(torch.ones_like(mixed))

    return mean_seconds(bench, step)


def training_step(bench: Bench, mover: Any) -> tuple[UNet3D, Callable[[], Tensor]]:
    """A UNet with LoRA, and an iteration's forward and backward pass, which returns gradients."""
    unet = stirred_unet(mover)
    add_lora(unet)
    unet.checkpoint_gradients("none")
    unet.train()
    latents, text = inputs(bench, clips=2)
    trained = [parameter for _, parameter in trainable_parameters(unet)]
    clips = [NoisyClip(latents[i].transpose(0, 1), 500, 501) for i in range(2)]

    def step() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        disentangled_loss(
            unet, *clips, text[:1], stages.SCHEDULE, generator, backward=torch.Tensor.backward
        )
        gradients = [p.grad.float().flatten() for p in trained if p.grad is not None]
        unet.zero_grad(set_to_none=True)
        return torch.cat(gradients)

    return unet, step


def stirred_unet(mover: Any) -> UNet3D:
    """An inflated UNet whose temporal attention is not idle."""
    unet = mover.method.inflate(TuningOptions())
    stir_temporal_attention(unet)
    return unet


def inputs(bench: Bench, clips: int) -> tuple[Tensor, Tensor]:
    """Latents b c f h w and prompts' embeddings b n d of noise."""
    size, generator = bench.size, torch.Generator().manual_seed(0)
    side, width = size.unet["sample_size"], size.unet["cross_attention_dim"]
    latents = torch.randn(clips, 4, size.frames, side, side, generator=generator)
    text = torch.randn(clips, size.tokens, width, generator=generator)
    return latents.to(bench.device), text.to(bench.device)


def mean_seconds(bench: Bench, step: Callable[[], object]) -> float:
    """Seconds of a step, the mean of some after a first one."""
    step()
    return once(lambda: [step() for _ in range(REPEATS)], bench.device) / REPEATS


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())
