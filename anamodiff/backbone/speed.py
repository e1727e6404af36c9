"""How fast a device computes, measured for a moment on blocks of Stable Diffusion v1.4."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def measured_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second in one residual and one transformer block of SD v1.4's top level."""
    side, frames = (64, 10) if device.type == "cuda" else (32, 1)
    block = nn.ModuleList(
        [
            ResnetBlock2D(in_channels=320, temb_channels=1280, groups=32),
            BasicTransformerBlock(320, 8, 40, cross_attention_dim=768),
        ]
    )

    @torch.no_grad()
    def run(place: torch.device | str) -> None:
        hidden = torch.ones(frames, 320, side, side, device=place, dtype=dtype)
        hidden = block[0](hidden, torch.ones(frames, 1280, device=place, dtype=dtype))
        tokens = hidden.flatten(2).transpose(1, 2)
        block[1](tokens, encoder_hidden_states=hidden.new_ones(frames, 77, 768))

    block.to(device, dtype)
    seconds = _seconds(lambda: run(device), device)
    block.to("meta")
    # Spelled out, because fused attention is not counted everywhere.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run("meta")
    return counter.get_total_flops() / seconds


def now() -> float:
    """Seconds on a clock, once the device has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """The best of a few runs after the first."""
    run()
    took = []
    for _ in range(3):
        started = now()
        run()
        if device.type == "mps":
            torch.mps.synchronize()
        took.append(now() - started)
    return min(took)
