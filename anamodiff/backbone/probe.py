"""What bf16 gains on this CPU, measured for less than a second on blocks of the embedded models.

Matrix products in 16 bits are several times as fast on some processors, emulated on others, and
what surrounds them decides as much: it is measured, and no list of names is kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from anamodiff.half_precision import attention, group_norm

Step = Callable[[], object]


@dataclass(frozen=True)
class Probe:
    """A stage's step, made for a format and a number of frames.

    Attributes:
        few, most: frames of a step. With fewer, calling an operation takes longer than computing
            it, which hides what bf16 gains; the stage itself has `most` in a call.
        share: of the time, together with what the stages before have left.
    """

    make: Callable[[torch.dtype, int], Step]
    few: int
    most: int
    share: float


REVISION = 2  # of the operations, by which measurements are kept
SECONDS = 0.9  # for all stages; a step that has begun is ended
ROUNDS = 3, 7  # fewer tell nothing, more are not needed


def bf16_gains(seconds: float = SECONDS) -> dict[str, float | None]:
    """How many times as fast bf16 is as fp32 on this CPU, by stage of a transfer.

    Blocks have the embedded backbone's widths; wider ones gain more. None where the time was too
    short to tell, as on a machine that is busy.
    """
    end, gains = time.perf_counter(), {}
    with torch.random.fork_rng(devices=[]):  # a run's random numbers stay as they are
        torch.manual_seed(0)
        for stage, probe in PROBES.items():
            end += seconds * probe.share
            gains[stage] = _gain(probe, end)
    return gains


def _gain(probe: Probe, end: float) -> float | None:
    """The median ratio of times in fp32 and bf16, which run in turn: other work disturbs both."""
    began, frames = time.perf_counter(), probe.few
    if began >= end:
        return None
    single = probe.make(torch.float32, frames)
    single()
    now = time.perf_counter()
    if end - now < now - began:  # far too slow, or too busy
        return None
    if 2 * (ROUNDS[0] + 1) * (now - began) * probe.most / probe.few < end - now:
        frames = probe.most
        single = probe.make(torch.float32, frames)
        single()
    half = probe.make(torch.bfloat16, frames)
    half()
    ratios: list[float] = []
    while len(ratios) < ROUNDS[1]:
        plain, rounded = _timed(single, end), _timed(half, end)
        if plain is None or rounded is None:
            break
        ratios.append(plain / rounded)
    return statistics.median(ratios) if len(ratios) >= ROUNDS[0] else None


def _timed(step: Step, end: float) -> float | None:
    """Seconds of a step; None, and no step, where the time is over.

    On one thread it is processor time, which other work on the machine disturbs least.
    """
    if time.perf_counter() >= end:
        return None
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    step()
    return clock() - started


class _UNetBlocks(nn.Module):
    """The operations of a residual and a transformer block of the UNet's middle level, in clips."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(16, 64) for _ in range(3))
        self.conv1, self.conv2 = (nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))
        self.requires_grad_(False)
        self.spatial, self.temporal = (nn.Linear(64, 3 * 64, bias=False) for _ in range(2))
        self.outs = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))
        self.widen, self.narrow = nn.Linear(64, 8 * 64), nn.Linear(4 * 64, 64)

    def forward(self, hidden: Tensor) -> Tensor:
        """Tokens f n d of f c h w."""
        inner = self.conv1(F.silu(group_norm(self.norm1, hidden)))
        hidden = hidden + self.conv2(F.silu(group_norm(self.norm2, inner)))
        tokens = group_norm(self.norm3, hidden).flatten(2).transpose(1, 2)
        mixed = self._mixed(self.spatial, tokens, keys=2)
        tokens = tokens + self.outs[0](mixed)
        mixed = self._mixed(self.temporal, tokens.transpose(0, 1), keys=1).transpose(0, 1)
        tokens = tokens + self.outs[1](mixed)
        value, gate = self.widen(F.layer_norm(tokens, tokens.shape[-1:])).chunk(2, dim=-1)
        return tokens + self.narrow(value * F.gelu(gate))

    @staticmethod
    def _mixed(project: nn.Linear, tokens: Tensor, keys: int) -> Tensor:
        """Attention b n d of all tokens to `keys` times as many."""
        parts = project(tokens).unflatten(-1, (3, 2, 32)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = attention(query, torch.cat([key] * keys, 2), torch.cat([value] * keys, 2))
        return mixed.transpose(1, 2).flatten(2)


def _unet(dtype: torch.dtype, frames: int) -> tuple[nn.Module, Tensor]:
    blocks = _UNetBlocks().to(dtype).to(memory_format=torch.channels_last)  # pyright: ignore
    hidden = torch.randn(frames, 64, 16, 16).to(dtype, memory_format=torch.channels_last)
    return blocks, hidden


def _tuning_step(dtype: torch.dtype, frames: int) -> Step:
    blocks, hidden = _unet(dtype, frames)
    hidden.requires_grad_()

    @torch.enable_grad()
    def step() -> None:
        blocks(hidden).float().square().mean().backward()

    return step


def _sampling_step(dtype: torch.dtype, frames: int) -> Step:
    blocks, hidden = _unet(dtype, frames)
    return torch.no_grad()(lambda: blocks(hidden))


def _decoding_step(dtype: torch.dtype, frames: int) -> Step:
    """Residual blocks of the decoder, without a timestep, around a change of size."""
    without: Any = None  # which diffusers means by `int`
    coarse = ResnetBlock2D(in_channels=64, temb_channels=without, groups=8)
    larger = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1))
    fine = ResnetBlock2D(in_channels=64, out_channels=32, temb_channels=without, groups=8)
    for part in (coarse, larger, fine):
        part.requires_grad_(False).to(dtype)
    hidden = torch.randn(frames, 64, 32, 32).to(dtype)
    return torch.no_grad()(lambda: fine(larger(coarse(hidden, None)), None))


# The cheapest first: what it leaves is the next one's.
# The cheapest first: what it leaves is the next one's.
PROBES = {
    "decoding": Probe(_decoding_step, few=1, most=2, share=0.3),
    "sampling": Probe(_sampling_step, few=8, most=10, share=0.25),
    "tuning": Probe(_tuning_step, few=6, most=20, share=0.45),
}
