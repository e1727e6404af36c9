"""Half-precision training: weights stay float32 and are cast inside the graph.

Autocast keeps group norms in float32 on GPUs, and with them most activations, whose traffic is
what small networks take their time for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call


def call(module: nn.Module, dtype: torch.dtype, *args: Any, **kwargs: Any) -> Any:
    """`module(*args, **kwargs)` with weights of `dtype`; inputs must be of it."""
    if dtype == torch.float32:
        return module(*args, **kwargs)
    cast = {name: p.to(dtype) for name, p in module.named_parameters()}
    return functional_call(module, cast, args, kwargs)


def choose(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 on GPUs, fp32 elsewhere."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def set_up(device: torch.device) -> None:
    """Settings of the libraries: tensor cores for float32 on GPUs, no denormals on CPUs."""
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = device.type == "cuda"


def half(module: nn.Module) -> Any:
    """The module on the CPU, in half precision and in the layout that safetensors takes."""
    return module.half().cpu().to(memory_format=torch.contiguous_format)


LAYOUTS = {"planes": torch.contiguous_format, "channels last": torch.channels_last}


def choose_layout(modules: list[nn.Module], run: Callable[[], Any], rounds: int = 4) -> str:
    """Give the weights the memory layout with which `run`, forward and backward, is faster.

    On CPUs they stay as they are. Which one is faster on a GPU depends on the widths and on the
    version of its libraries. To be called before there is an optimiser; returns the layout's name.
    """
    device = next(modules[0].parameters()).device
    if device.type != "cuda":
        return "planes"
    took = {}
    for name in LAYOUTS:
        _arrange(modules, name)
        for k in range(2 * rounds):
            if k == rounds:  # the first ones choose the convolutions' algorithms
                torch.cuda.synchronize(device)
                began = time.monotonic()
            run()
        torch.cuda.synchronize(device)
        took[name] = (time.monotonic() - began) / rounds
    best = min(took, key=lambda name: took[name])
    _arrange(modules, best)
    times = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items())
    print(f"layout: {times}", flush=True)
    return best


def _arrange(modules: list[nn.Module], name: str) -> None:
    for module in modules:
        module.zero_grad(set_to_none=True)
        module.to(memory_format=LAYOUTS[name])
