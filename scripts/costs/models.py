"""Models of Stable Diffusion v1.4's architecture on the meta device: shapes without numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from anamodiff import half_precision
from anamodiff.diffusion import Schedule
from anamodiff.unet3d.lora import add_lora
from anamodiff.unet3d.model import UNet3D, inflate

META = torch.device("meta")
SCHEDULE = Schedule.from_config({})


@dataclass(frozen=True, eq=False)
class Architecture:
    """Configurations of a backbone's models, and the size of a clip."""

    unet: Mapping[str, Any] = field(
        default_factory=lambda: {"sample_size": 64, "cross_attention_dim": 768}
    )
    vae: Mapping[str, Any] = field(
        default_factory=lambda: {
            "sample_size": 512,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
    )
    text: Mapping[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        }
    )
    frames: int = 10
    tokens: int = 77
    dtype: torch.dtype = torch.bfloat16

    def make_unet2d(self) -> UNet2DConditionModel:
        return self._frozen(UNet2DConditionModel, self.unet)

    def make_unet(self, **lora: Any) -> UNet3D:
        """The inflated UNet, frozen; with settings of `add_lora`, ready to be tuned."""
        unet = inflate(self.make_unet2d())
        if lora:
            with META:
                add_lora(unet, **lora)
        return unet

    def make_vae(self) -> AutoencoderKL:
        return self._frozen(AutoencoderKL, self.vae)

    def make_text_encoder(self) -> CLIPTextModel:
        with META:
            return CLIPTextModel(CLIPTextConfig(**self.text)).to(self.dtype)

    def latents(self, frames: int | None = None) -> Tensor:
        """A clip of latents f c h w, float32 as between the stages."""
        side, channels = self.unet["sample_size"], 4
        return torch.empty(frames or self.frames, channels, side, side, device=META)

    def pictures(self, frames: int) -> Tensor:
        """Frames f 3 H W in the precision of the models."""
        side = self.vae["sample_size"]
        return torch.empty(frames, 3, side, side, device=META, dtype=self.dtype)

    def clips(self, count: int, frames: int | None = None) -> Tensor:
        """Clips of latents b c f h w."""
        return self.latents(frames).transpose(0, 1).expand(count, -1, -1, -1, -1)

    def embedding(self, clips: int = 1) -> Tensor:
        """Prompts' embeddings, b n d."""
        return torch.empty(clips, self.tokens, self.unet["cross_attention_dim"], device=META)

    def _frozen(self, kind: type, config: Mapping[str, Any]) -> nn.Module:
        with META:
            return nn.Module.to(kind(**config), self.dtype).eval().requires_grad_(False)


SD_V1_4 = Architecture()
# Small enough for a CPU; the proportions of the real one.
SMALL = Architecture(
    unet={
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    },
    vae={
        "sample_size": 64,
        "block_out_channels": (8, 16, 16),
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
    },
    text={
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    frames=4,
    tokens=8,
    dtype=torch.float32,
)


@contextmanager
def flash_attention() -> Iterator[None]:
    """Compute the UNet's attention by a flash kernel, as on a GPU.

    On the meta device torch would choose plain matrix products, whose matrices of weights no GPU
    keeps.
    """
    with mock.patch.object(half_precision, "scaled_dot_product_attention", _flash):
        yield


def _flash(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
