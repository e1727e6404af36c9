"""The autoencoder: pixels f c h w in [-1, 1] to latents of 4 channels at a quarter of the size.

Three choices serve the later stages. The initial weights pass a thumbnail through
(`start_as_thumbnail`): otherwise shapes are learnt in grey, and hues long after. Crops around the
character make a step worth four. And half of each batch is decoded from *moved* latents and
compared with the moved picture, so that warped latents keep their colours and edges.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.diffusion import generator_of

from .checkpoint import cosine, load_state, save_state
from .data import Frames, draw_creature, random_crop, recolour
from .optimiser import descend, new_optimiser
from .thumbnail import start_as_thumbnail


def build_vae(channels: list[int], latent_channels: int, layers: int, size: int):
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


def to_tensor(frames: list[np.ndarray]) -> Tensor:
    """uint8 h w 3 frames to b c h w in [-1, 1]."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def sample_batch(
    clips: Frames | None,
    rng: np.random.Generator,
    *,
    size: int,
    crop: int | None,
    count: int,
    creatures: float = 0.5,
) -> Tensor:
    """Frames of drawn creatures, a share, and of clips: cropped, mirrored, recoloured."""
    batch = []
    for _ in range(count):
        if clips is None or rng.random() < creatures:
            frame = draw_creature(int(rng.integers(2**31)), size)[0][0]
        else:
            frame = np.asarray(clips.pixels[rng.integers(len(clips.pixels))])
        frame = random_crop(frame, crop, rng) if crop else frame
        frame = frame[:, ::-1] if rng.random() < 0.5 else frame
        batch.append(np.ascontiguousarray(recolour(frame, rng)))
    return to_tensor(batch)


def random_move(count: int, generator: torch.Generator) -> Tensor:
    """Small random affine maps (rotation, zoom, shear, shift) as b 2 3."""
    u = torch.rand(count, 5, generator=generator) * 2 - 1
    angle, zoom = 0.35 * u[:, 0], 1 + 0.2 * u[:, 1]
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shear = 0.15 * u[:, 4]
    rows = torch.stack([cos, shear - sin, 0.25 * u[:, 2], sin, cos, 0.25 * u[:, 3]], dim=1)
    return rows.view(count, 2, 3)


def move(x: Tensor, theta: Tensor) -> Tensor:
    """`x` b c h w resampled by the affine maps `theta` b 2 3, with border padding."""
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def vae_loss(
    vae, x: Tensor, generator: torch.Generator, *, kl_weight: float, square: float, moved: float,
    anchor: float = 0.0, former=None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loss and plain squared error; the first `moved` share is decoded from moved latents.

    `square` is the squared error's weight beside the absolute one's: more of it raises PSNR, which
    depends on edges, less of it keeps flat colours true. `anchor` weighs the squared distance to
    the latents of the autoencoder `former`, for which a UNet was trained.
    """
    with torch.set_grad_enabled(vae.encoder.conv_in.weight.requires_grad):
        posterior = vae.encode(x).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator)
    latents = posterior.mean + posterior.std * noise
    half = max(1, round(len(x) * moved))
    theta = random_move(half, generator)
    latents = torch.cat([move(latents[:half], theta), latents[half:]])
    target = torch.cat([move(x[:half], theta), x[half:]])
    error = vae.decode(latents).sample - target
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    plain = error[half:].pow(2).mean().detach()
    loss = error.abs().mean() + square * error.pow(2).mean() + kl_weight * kl
    if former is not None:
        with torch.no_grad():
            before = former.encode(x).latent_dist.mean
        loss = loss + anchor * (posterior.mean - before).pow(2).mean()
    return loss, plain


@torch.no_grad()
def psnr(vae, frames: Tensor) -> Tensor:
    """PSNR in dB of each frame f c h w in [-1, 1], encoded by the mean and decoded."""
    decoded = vae.decode(vae.encode(frames).latent_dist.mode()).sample.clamp(-1, 1)
    return -10 * torch.log10(((decoded - frames) / 2).pow(2).mean(dim=(1, 2, 3)))


def load_vae(folder: Path, options: dict, size: int):
    """The autoencoder with the weights of the last state."""
    vae = build_vae(options["channels"], options["latent_channels"], options["layers"], size)
    vae.load_state_dict(load_state(folder / "vae.pt")["vae"])
    return vae.eval()


def grow(state: dict[str, Tensor], options: dict, size: int):
    """An autoencoder with trained weights; additional layers start as identities."""
    vae = build_vae(options["channels"], options["latent_channels"], options["layers"], size)
    _, unexpected = vae.load_state_dict(state, strict=False)
    if unexpected:
        raise SystemExit(f"expected vae.layers for all trained weights, got {options['layers']}")
    return vae


@torch.no_grad()
def normalise_latents(autoencoder, mean: torch.Tensor, std: torch.Tensor) -> None:
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


def settle(folder: Path, clips: Frames | None, options: dict, size: int, count: int = 512):
    """Normalise the latents of a trained autoencoder, once, and return it."""
    vae = load_vae(folder, options, size)
    state = load_state(folder / "vae.pt")
    if not state.get("settled"):
        rng = np.random.default_rng(0)
        frames = sample_batch(clips, rng, size=size, crop=None, count=count)
        with torch.no_grad():
            latents = torch.cat([vae.encode(x).latent_dist.mode() for x in frames.split(8)])
        normalise_latents(vae, latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3)))
        save_state(folder / "vae.pt", **{**state, "vae": vae.state_dict(), "settled": True})
    return vae


def held_out(size: int, count: int = 24) -> Tensor:
    """Creatures of seeds that training does not use."""
    return to_tensor([draw_creature(-(i + 1) % 2**31 + 2**31, size)[0][0] for i in range(count)])


def _former(folder: Path):
    """The autoencoder that stage `start` started from; None without that stage."""
    if not (folder / "former").is_dir():
        return None
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder / "former").requires_grad_(False).float().eval()


def train_vae(
    folder: Path,
    clips: Frames | None,
    *,
    size: int,
    channels: list[int],
    latent_channels: int,
    layers: int,
    steps: int,
    batch: int,
    crop: int,
    lr: float,
    kl_weight: float,
    square: float,
    moved: float,
    creatures: float,
    seed: int,
    anchor: float = 0.0,
    decoder_only: bool = False,
    save_every: int = 200,
    stop_at: int | None = None,
) -> None:
    """Train, or resume; `decoder_only` keeps the latents as they are.

    `anchor` penalises the distance to the latents of the weights that stage `start` started from.
    `stop_at` ends early, at a step where a state is saved, as a kill would.
    """
    torch.manual_seed(seed)
    vae = build_vae(channels, latent_channels, layers, size)
    parts = [vae.decoder, vae.post_quant_conv] if decoder_only else [vae]
    vae.requires_grad_(not decoder_only)
    for part in parts:
        part.requires_grad_(True)
    optimiser = new_optimiser(parts, lr)
    state = load_state(folder / "vae.pt")
    start, settled = 0, False
    if state is not None:
        if state["decoder_only"] and not decoder_only:
            return  # the decoder's own training has begun, so this stage is done
        vae.load_state_dict(state["vae"])
        settled = state.get("settled", False)
        if state["decoder_only"] == decoder_only and state["optimiser"]:
            optimiser.load_state_dict(state["optimiser"])
            start = state["step"]
    former = _former(folder) if anchor and not decoder_only else None
    began, errors = time.time(), []
    for step in range(start, min(steps, stop_at or steps)):
        rng = np.random.default_rng([seed, step])
        generator = generator_of(seed * 1_000_003 + step)
        whole = step % 4 == 3  # a quarter of the steps takes whole frames, at the same cost
        count = max(2, batch * crop**2 // size**2) if whole else batch
        x = sample_batch(
            clips, rng, size=size, crop=None if whole else crop, count=count, creatures=creatures
        )
        loss, plain = vae_loss(
            vae, x, generator, kl_weight=kl_weight, square=square, moved=moved, anchor=anchor,
            former=former,
        )  # fmt: skip
        descend(optimiser, loss, lr * cosine(step, steps, warmup=50))
        errors.append(float(plain))
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save_state(
                folder / "vae.pt",
                vae=vae.state_dict(),
                optimiser=optimiser.state_dict(),
                step=step + 1,
                decoder_only=decoder_only,
                settled=settled,
            )
            line = f"vae {step + 1}/{steps} batch psnr {-10 * math.log10(np.mean(errors) / 4):.2f}"
            line += (
                f" held-out {psnr(vae, held_out(size)).mean():.2f} dB {time.time() - began:.0f} s"
            )
            print(line, flush=True)
            errors.clear()
