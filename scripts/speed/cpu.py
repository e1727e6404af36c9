"""Forward pass and training step on one thread, compared with the baseline."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import torch
from costs.models import Architecture
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from anamodiff.unet3d.lora import add_lora, trainable_parameters
from anamodiff.unet3d.model import UNet3D, inflate
from speed.baseline import slow_down, train_as_published
from speed.timing import best_of

SMALL = Architecture(
    unet={
        "sample_size": 32,
        "block_out_channels": (64, 128, 256, 256),
        "attention_head_dim": 8,  # as diffusers has it: eight heads
        "cross_attention_dim": 768,
    },
    frames=8,
)
BARS = {"forward": 3.0, "training step": 2.0}


def forward(size: Architecture, repeats: int = 5) -> dict[str, float]:
    """Seconds of a forward pass of one clip, of the baseline and of ours.

    Raises:
        AssertionError: the outputs of baseline and ours differ.
    """
    ours, baseline = make_unet(size), slow_down(make_unet(size))
    given = make_input(size)
    with torch.no_grad():
        outputs = [unet(*given).sample for unet in (ours, baseline)]
    worst = (outputs[0] - outputs[1]).abs().max().item()
    assert worst < 1e-4 * outputs[0].abs().max().item(), f"outputs differ by {worst:g}"
    half = make_unet(size).to(torch.bfloat16)

    def run(unet: UNet3D, *, autocast: bool = False) -> Callable[[], Tensor]:
        def work() -> Tensor:
            with torch.no_grad(), _autocast(autocast):
                return unet(*given).sample

        return work

    works = {
        "baseline": run(baseline),
        "ours": run(ours),
        "ours, bf16 autocast": run(ours, autocast=True),
        "ours, all in bf16": run(half),
    }
    return best_of(works, repeats)


def training(size: Architecture, repeats: int = 2) -> dict[str, float]:
    """Seconds of an iteration on one clip, Adam's step included, of the baseline and of ours.

    Each trains its default weights: ours LoRA on all attention and the temporal attention, the
    baseline the queries and the temporal attention.
    """
    ours = make_unet(size).train()
    add_lora(ours)
    own = [parameter for _, parameter in trainable_parameters(ours)]
    works = {"ours": _step(ours, own, size), "ours, bf16 autocast": _step(ours, own, size, True)}
    for name, checkpointing in (("baseline", True), ("baseline, nothing checkpointed", False)):
        unet = slow_down(make_unet(size)).train()
        works[name] = _step(unet, train_as_published(unet, checkpointing=checkpointing), size)
    return best_of(works, repeats)


def make_unet(size: Architecture) -> UNet3D:
    """A UNet with random weights, always the same, and a temporal attention that is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = inflate(UNet2DConditionModel(**size.unet).eval())
        stir_temporal_attention(unet)
    return unet.requires_grad_(False)


def stir_temporal_attention(unet: UNet3D) -> None:
    """Give the temporal attention's output random weights; inflation makes them zero."""
    for name, parameter in unet.named_parameters():
        if ".attn_temp.to_out.0.weight" in name:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))


def make_input(size: Architecture) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, timestep and prompt embedding of one clip."""
    side, generator = size.unet["sample_size"], torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, size.frames, side, side, generator=generator)
    text = torch.randn(1, size.tokens, size.unet["cross_attention_dim"], generator=generator)
    return latents, torch.tensor([500]), text


def _step(
    unet: UNet3D, trained: list[nn.Parameter], size: Architecture, autocast: bool = False
) -> Callable[[], None]:
    given, optimiser = make_input(size), torch.optim.Adam(trained, lr=1e-6)

    def work() -> None:
        with _autocast(autocast):
            loss = (unet(*given).sample - given[0]).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return work


def _autocast(wanted: bool) -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if wanted else contextlib.nullcontext()
