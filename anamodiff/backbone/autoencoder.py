"""A backbone's autoencoder: frames to latents and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from anamodiff.backbone.latents import reduction_of
from anamodiff.backbone.load import load_vae


class Encoder:
    """A backbone's encoder alone, in single precision, without the UNet and the text encoder.

    Args:
        vae: frozen.
        image_size: pixels along the side of the frames that it works at.
        files: its weights, by their names inside the backbone's folder.
    """

    def __init__(self, vae: AutoencoderKL, image_size: int, files: Mapping[str, Path]) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.image_size = image_size
        self.files = files

    @classmethod
    def load(cls, folder: Path, device: torch.device | str) -> Encoder:
        """Read a diffusers folder's autoencoder, and no other weights.

        Raises:
            AnaMoDiffError: it is missing or damaged.
        """
        vae, files = load_vae(folder, torch.float32)
        unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
        nn.Module.to(vae, device)  # in place
        return cls(vae, unet["sample_size"] * reduction_of(vae.config), files)

    def encode(self, frames: Tensor) -> Tensor:
        """Latents f c h w (float32) of frames f 3 H W in [-1, 1], resized to its own size."""
        size = (self.image_size, self.image_size)
        if frames.shape[-2:] != size:
            frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        return encode(self.vae, frames)


@torch.no_grad()
def encode(vae: AutoencoderKL, frames: Tensor, frames_at_once: int = 4) -> Tensor:
    """Latents f c h w (float32) of frames f 3 H W in [-1, 1]: the posterior's mode, scaled."""
    parts = [
        vae.encode(part.to(vae.device, vae.dtype), return_dict=False)[0].mode()
        for part in frames.split(frames_at_once)
    ]
    return torch.cat(parts).float() * vae.config["scaling_factor"]


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor, frames_at_once: int = 4) -> Tensor:
    """Frames f 3 H W in [-1, 1] (float32) of scaled latents f c h w."""
    latents = latents / vae.config["scaling_factor"]
    parts = [
        vae.decode(part.to(vae.device, vae.dtype), return_dict=False)[0]  # pyright: ignore
        for part in latents.split(frames_at_once)
    ]
    return torch.cat(parts).float().clamp(-1, 1)
