"""The autoencoder: pixels b 3 h w in [-1, 1] to latents of 4 channels at a quarter of the size.

Three choices serve the later stages. The initial weights pass a thumbnail through
(`start_as_thumbnail`): otherwise shapes are learnt in grey, and hues long after. Crops around the
character teach more than ground does. And a share of each batch is decoded from *moved* latents and
compared with the moved picture, so that warped latents keep their colours and edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import precision
from .bank import held_out_samples
from .checkpoint import load_state, save_state
from .data import Frames, augment, crop, halved
from .loop import Clock, Plan, train
from .optimiser import new_optimiser
from .thumbnail import start_as_thumbnail


def build_vae(channels: list[int], latent_channels: int, layers: int, size: int) -> Any:
    """An `AutoencoderKL` without attention, which takes crops and whole frames alike."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=layers,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=size,
        scaling_factor=1.0,
    )
    start_as_thumbnail(vae)
    return vae


def to_tensor(frames: Iterable[np.ndarray]) -> Tensor:
    """uint8 h w 3 frames to b c h w in [-1, 1]."""
    return torch.from_numpy(np.stack(list(frames))).permute(0, 3, 1, 2).float() / 127.5 - 1


def sample_batch(
    frames: Frames, generator: torch.Generator, *, kind: int, batch: int, creatures: float,
    look: dict[str, float],
) -> Tensor:  # fmt: skip
    """Pictures of about the cost of `batch` whole frames, by turns (`kind`) whole ones, crops of
    half the size, whole ones at half the size, and crops again."""
    count = batch if kind % 4 == 0 else 4 * batch
    chosen = frames.choose(count, creatures, generator)
    pictures = augment(frames.pixels[chosen], generator, **look)
    if kind % 4 == 0:
        return pictures.pixels
    if kind % 4 == 2:
        return halved(pictures.pixels)
    return crop(pictures, pictures.pixels.shape[-1] // 2, generator)


class Reconstruction(nn.Module):
    """The autoencoder from pictures to pictures, by way of sampled latents, some of them moved."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded pictures, and mean and log variance of the latents; the first are moved."""
        with torch.set_grad_enabled(self.vae.encoder.conv_in.weight.requires_grad):
            posterior = self.vae.encode(x).latent_dist
        latents = posterior.mean.float() + posterior.std.float() * noise
        half = len(theta)
        latents = torch.cat([move(latents[:half], theta), latents[half:]]).to(x.dtype)
        return self.vae.decode(latents).sample.float(), posterior.mean, posterior.logvar


def vae_loss(
    model: Reconstruction, x: Tensor, generator: torch.Generator, *, kl_weight: float,
    square: float, moved: float, anchor: float = 0.0, former: Any = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loss and plain squared error; the first `moved` share is decoded from moved latents.

    `square` is the squared error's weight beside the absolute one's: more of it raises PSNR, which
    depends on edges, less of it keeps flat colours true. `anchor` weighs the squared distance to
    the latents of the autoencoder `former`, for which a UNet was trained.
    """
    config = model.vae.config
    side = x.shape[-1] // 2 ** (len(config.block_out_channels) - 1)
    shape = (len(x), config.latent_channels, side, side)
    noise = torch.randn(shape, generator=generator, device=x.device)
    half = min(max(1, round(len(x) * moved)), len(x) - 1)
    theta = random_move(half, generator)
    decoded, mean, logvar = precision.call(model, dtype, x.to(dtype), noise, theta)
    error = decoded - torch.cat([move(x[:half], theta), x[half:]])
    mean, logvar = mean.float(), logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    plain = error[half:].pow(2).mean().detach()
    loss = error.abs().mean() + square * error.pow(2).mean() + kl_weight * kl
    if former is not None:
        with torch.no_grad():
            before = former.encode(x.to(former.dtype)).latent_dist.mean.float()
        loss = loss + anchor * (mean - before).pow(2).mean()
    return loss, plain


def random_move(count: int, generator: torch.Generator) -> Tensor:
    """Small random affine maps (rotation, zoom, shear, shift) as b 2 3."""
    u = torch.rand(count, 5, generator=generator, device=generator.device) * 2 - 1
    angle, zoom = 0.35 * u[:, 0], 1 + 0.2 * u[:, 1]
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shear = 0.15 * u[:, 4]
    rows = torch.stack([cos, shear - sin, 0.25 * u[:, 2], sin, cos, 0.25 * u[:, 3]], dim=1)
    return rows.view(count, 2, 3)


def move(x: Tensor, theta: Tensor) -> Tensor:
    """`x` b c h w resampled by the affine maps `theta` b 2 3, with border padding."""
    if not len(x):
        return x
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def psnr(vae: Any, frames: Tensor) -> Tensor:
    """PSNR in dB of each frame f c h w in [-1, 1], encoded by the mean and decoded."""
    decoded = vae.decode(vae.encode(frames).latent_dist.mode()).sample.clamp(-1, 1)
    return -10 * torch.log10(((decoded - frames) / 2).pow(2).mean(dim=(1, 2, 3)))


def load_vae(folder: Path, options: dict, size: int) -> Any:
    """The autoencoder with the weights of the last state."""
    state = load_state(folder / "vae.pt")
    if state is None:
        raise SystemExit(f"expected an autoencoder in {folder}, found none: run the stage `vae`")
    vae = build_vae(options["channels"], options["latent_channels"], options["layers"], size)
    vae.load_state_dict(state["vae"])
    return vae.eval()


def grow(state: dict[str, Tensor], options: dict, size: int) -> Any:
    """An autoencoder with trained weights; additional layers start as identities."""
    vae = build_vae(options["channels"], options["latent_channels"], options["layers"], size)
    _, unexpected = vae.load_state_dict(state, strict=False)
    if unexpected:
        raise SystemExit(f"expected vae.layers for all trained weights, got {options['layers']}")
    return vae


@torch.no_grad()
def normalise_latents(autoencoder: Any, mean: Tensor, std: Tensor) -> None:
    """Fold a shift and a scale per channel into the two 1x1 convolutions around the latents.

    Afterwards latents have mean 0 and deviation 1 over the training frames, as diffusion expects,
    with a scaling factor of 1.
    """
    count = len(mean)
    quant, post = autoencoder.quant_conv, autoencoder.post_quant_conv
    quant.weight[:count] /= std[:, None, None, None]
    quant.bias[:count] = (quant.bias[:count] - mean) / std
    quant.bias[count:] -= 2 * std.log()
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(dim=1)
    post.weight *= std[None, :, None, None]


def settle(folder: Path, vae: Any, latents: Tensor) -> None:
    """Normalise the latents of a trained autoencoder, once: `latents` b c h w are some of them."""
    state = load_state(folder / "vae.pt")
    if state is None or state.get("settled"):
        return
    normalise_latents(vae, latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3)))
    save_state(folder / "vae.pt", **{**state, "vae": vae.state_dict(), "settled": True})


def held_out(size: int, count: int = 24) -> Tensor:
    """Creatures of seeds that training does not use."""
    return to_tensor(frame[..., :3] for frame, _, _ in held_out_samples(size, count))


def _former(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The autoencoder that stage `start` started from; None without that stage."""
    if not (folder / "former").is_dir():
        return None
    from diffusers import AutoencoderKL

    former = AutoencoderKL.from_pretrained(folder / "former").requires_grad_(False)
    return former.to(device, dtype).eval()


def train_vae(
    folder: Path,
    frames: Frames,
    *,
    plan: Plan,
    size: int,
    channels: list[int],
    latent_channels: int,
    layers: int,
    batch: int,
    kl_weight: float,
    square: float,
    moved: float,
    creatures: float,
    look: dict[str, float],
    seed: int,
    anchor: float = 0.0,
    decoder_only: bool = False,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Train, or resume; `decoder_only` keeps the latents as they are.

    `anchor` penalises the distance to the latents of the weights that stage `start` started from.
    """
    torch.manual_seed(seed)
    vae = build_vae(channels, latent_channels, layers, size).to(frames.device)
    parts = [vae.decoder, vae.post_quant_conv] if decoder_only else [vae]
    vae.requires_grad_(not decoder_only)
    for part in parts:
        part.requires_grad_(True)
    state = load_state(folder / "vae.pt")
    step, spent, settled, momenta = 0, 0.0, False, None
    if state is not None:
        if state["decoder_only"] and not decoder_only:
            return  # the decoder's own training has begun, so this stage is done
        vae.load_state_dict(state["vae"])
        settled = state.get("settled", False)
        if state["decoder_only"] == decoder_only and state["optimiser"]:
            momenta, step, spent = state["optimiser"], state["step"], state["spent"]
    former = _former(folder, frames.device, dtype) if anchor and not decoder_only else None
    model = Reconstruction(vae)

    def loss(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = sample_batch(frames, generator, kind=step, batch=batch, creatures=creatures, look=look)
        return vae_loss(
            model, x, generator, kl_weight=kl_weight, square=square, moved=moved, anchor=anchor,
            former=former, dtype=dtype,
        )  # fmt: skip

    generator = torch.Generator(frames.device)
    precision.choose_layout([vae], lambda: loss(0, generator)[0].backward())
    optimiser, clock = new_optimiser(parts, plan.lr), Clock(plan, step, spent)
    if momenta:
        optimiser.load_state_dict(momenta)

    def save() -> None:
        save_state(
            folder / "vae.pt", vae=vae.state_dict(), optimiser=optimiser.state_dict(),
            step=clock.step, spent=clock.spent, decoder_only=decoder_only, settled=settled,
        )  # fmt: skip

    sound = train(
        "vae", clock, optimiser, generator, seed, loss=loss, save=save,
        after=frames.poll, report=lambda mean: f"psnr {-10 * math.log10(mean / 4 + 1e-12):.2f} dB",
    )  # fmt: skip
    if sound and clock.share >= 1 and not settled:
        generator.manual_seed(seed)
        chosen = frames.choose(256, creatures, generator)
        pixels = augment(frames.pixels[chosen], generator, **look).pixels
        with torch.no_grad():
            latents = torch.cat([vae.encode(x).latent_dist.mode() for x in pixels.split(8)])
        settle(folder, vae, latents)
