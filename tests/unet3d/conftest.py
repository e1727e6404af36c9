"""Small UNets and the reference's numbers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open

from anamodiff.diffusion import Schedule
from anamodiff.unet3d.model import UNet3D, inflate


@dataclass(frozen=True)
class Reference:
    """Tune-A-Video's UNet with random weights, and what it computed."""

    unet: UNet3D
    weights: dict[str, torch.Tensor]
    tensors: dict[str, torch.Tensor]
    schedule: Schedule


@pytest.fixture(scope="session")
def reference(golden: Path) -> Reference:
    with safe_open(golden / "tune_a_video_unet.safetensors", framework="pt") as file:
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
        config: dict[str, Any] = json.loads(file.metadata()["config"])
        schedule = Schedule.from_config(json.loads(file.metadata()["scheduler"]))
    for key in ("down_block_types", "up_block_types"):
        config[key] = [name.replace("3D", "2D") for name in config[key]]
    weights = {k.removeprefix("unet."): v for k, v in tensors.items() if k.startswith("unet.")}
    unet = inflate(UNet2DConditionModel(**config).eval())
    unet.load_state_dict(weights)
    return Reference(unet, weights, tensors, schedule)


@pytest.fixture
def randn() -> Callable[..., torch.Tensor]:
    """Normal numbers of a shape, from a seed."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def stirred() -> Callable[[UNet3D], UNet3D]:
    """Gives every LoRA and temporal weight a value that is not its start, so that all matter."""

    @torch.no_grad()
    def stir(unet: UNet3D) -> UNet3D:
        generator = torch.Generator().manual_seed(7)
        for name, parameter in unet.named_parameters():
            if "lora_" in name or "_temp" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return unet

    return stir
