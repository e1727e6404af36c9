"""Live tensors of tuning and of generation, counted as they are allocated and freed.

Not counted is what else a GPU holds: workspaces of kernels, the allocator's cache, the driver.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anamodiff.backbone.memory import Memory
from anamodiff.tuning.loss import NoisyClip, disentangled_loss
from anamodiff.tuning.optimiser import MasterWeights
from costs.models import SCHEDULE, Architecture, flash_attention

GIB = 2**30


class LiveTensors(TorchDispatchMode):
    """Count the bytes of live meta tensors, and their peak.

    A storage counts once, with all its views, until the last of them is freed.
    """

    def __init__(self, present: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref] = {}
        for tensor in present:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.is_meta:
                self._add(leaf)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def gone(_: weakref.ref) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def tensors_of(*modules: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [t for m in modules for t in (*m.parameters(), *m.buffers())]


@cache
def idle(size: Architecture) -> int:
    """Bytes of idle models on the device, without offloading; without LOFNet (0.2 GiB)."""
    parts = (size.make_unet2d(), size.make_vae(), size.make_text_encoder())
    return LiveTensors(tensors_of(*parts)).now


@cache
def tuning_peak(
    size: Architecture, *, levels: str = "none", clips_at_once: int = 1, **lora: Any
) -> int:
    """Bytes at the peak of an iteration on two clips, Adam's state included."""
    unet = size.make_unet(**{"rank": 16, **lora}).train()
    unet.checkpoint_gradients(levels)
    clips = NoisyClip(size.latents(), 0, 1000), NoisyClip(size.latents(), 850, 1000)
    text, generator = size.embedding(), torch.Generator()
    with LiveTensors(tensors_of(unet)) as live, flash_attention():
        weights = MasterWeights(unet, 5e-4)
        for _, parameter in weights.parameters:  # a first step allocates Adam's state
            parameter.grad = torch.zeros_like(parameter)
        weights.step()
        disentangled_loss(
            unet, *clips, text, SCHEDULE, generator,
            clips_at_once=clips_at_once, backward=weights.backward,
        )  # fmt: skip
        weights.step()
    return live.peak


@cache
@torch.no_grad()
def generation_peak(size: Architecture, frames_at_once: int) -> int:
    """Bytes at the peak of a guided step, and of decoding with the tuned UNet in memory."""
    unet, vae = size.make_unet(rank=16), size.make_vae()
    with LiveTensors(tensors_of(unet)) as step, flash_attention():
        unet(size.clips(2), 500, size.embedding(2))
    with LiveTensors(tensors_of(unet, vae)) as decoding:
        vae.decode(size.latents(frames_at_once).to(size.dtype))
    return max(step.peak, decoding.peak)


def preset_peaks(size: Architecture, memory: Memory, **lora: Any) -> tuple[int, int]:
    """Bytes at the peaks of tuning and of generation with a preset."""
    resident = 0 if memory.offload else idle(size)
    tuning = tuning_peak(
        size, levels=memory.checkpoint_levels, clips_at_once=memory.clips_at_once, **lora
    )
    return resident + tuning, resident + generation_peak(size, memory.frames_at_once)
