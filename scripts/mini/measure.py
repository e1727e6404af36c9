"""Figures and a contact sheet of an exported backbone."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.backbone.model import Backbone
from anamodiff.diffusion import ddim_step, to_epsilon
from anamodiff.visual.sheets import contact_sheet, save_picture

from .bank import held_out_samples, read_video
from .data import augment, halved
from .vae import psnr, to_tensor

TIMESTEPS = (999, 951, 850, 700, 500, 250)
BENCH_FRAMES = 5


def measure(
    target: Path, *, device: torch.device, former: Path | None, bench: Path | None, size: int,
    count: int, sheet: dict,
) -> None:  # fmt: skip
    """Print reconstruction and noise prediction on held-out pictures; draw the sheet; then the same
    figures of `former`, and how far the latents are from its."""
    torch.backends.cudnn.benchmark = False  # each shape comes once
    frames, latents = held_out_frames(size, count, bench), []
    for name, folder in (("now", target), ("former", former)):
        if folder is None or not (folder / "vae").is_dir():
            continue
        began = time.monotonic()
        backbone = Backbone.load(folder, device=device, precision="fp32")
        for what, pictures in frames.items():
            values = torch.cat([psnr(backbone.vae, x.to(device)) for x in pictures.split(8)])
            print(f"{name}: {what}: PSNR {values.mean():.2f} dB, worst {values.min():.2f} dB")
        for side in (size, size // 2):
            errors = prediction_errors(backbone, side, count)
            listed = ", ".join(f"{t}: {e:.3f}" for t, e in errors.items())
            print(f"{name}: clean latents' error at {side} pixels by timestep: {listed}")
        latents.append(backbone.encode(frames["creatures"]))
        print(f"{name}: measured in {time.monotonic() - began:.1f} s", flush=True)
        if name == "now":
            save_picture(target / "samples.png", draw_sheet(backbone, sheet))
    if len(latents) == 2:
        moved = (latents[0] - latents[1]).pow(2).mean() / latents[1].var()
        print(f"latents moved: {moved:.4f} of their variance", flush=True)


def held_out_frames(size: int, count: int, bench: Path | None) -> dict[str, Tensor]:
    """Pictures f 3 h w in [-1, 1] by what they show."""
    drawn = [frame for frame, _, _ in held_out_samples(size, count)]
    both = torch.from_numpy(np.stack(drawn))
    lot = torch.Generator().manual_seed(0)
    none = {"recolour": 0.0, "resize": 0.0}
    found = {"creatures": to_tensor(frame[..., :3] for frame in drawn)}
    found[f"creatures at {size // 2}"] = halved(found["creatures"])
    found["creatures on plain grounds"] = augment(both, lot, white=0, plain=1, **none).pixels
    found["creatures on soft grounds"] = augment(both, lot, white=0, plain=0, **none).pixels
    if bench is not None and (sources := sorted(bench.glob("*/source.mp4"))):
        clips = [read_video(path, size) for path in sources]
        frames = [
            clip[i] for clip in clips for i in range(0, len(clip), -(-len(clip) // BENCH_FRAMES))
        ]
        found["bench sources"] = to_tensor(frames)
    return found


@torch.no_grad()
def prediction_errors(backbone: Backbone, side: int, count: int) -> dict[int, float]:
    """Mean squared error of the clean latents that the UNet predicts, by timestep, for held-out
    creatures on white, with their captions."""
    samples = held_out_samples(side, count)
    latents = backbone.encode(to_tensor(frame[..., :3] for frame, _, _ in samples))
    prompts = backbone.embed([caption for _, caption, _ in samples])
    errors = {}
    for t in TIMESTEPS:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(t))
        noise, alpha = noise.to(latents.device), float(backbone.schedule.alphas_cumprod[t])
        noisy = math.sqrt(alpha) * latents + math.sqrt(1 - alpha) * noise
        parts = zip(noisy.split(16), prompts.split(16), strict=True)
        predicted = [backbone.unet(x, t, encoder_hidden_states=p).sample for x, p in parts]
        error = (torch.cat(predicted) - noise).pow(2).mean() * (1 - alpha) / alpha
        errors[t] = float(error)
    return errors


def draw_sheet(backbone: Backbone, options: dict) -> np.ndarray:
    """Pictures of all prompts, sampled from noise alone, as bytes h w 3."""
    rows, prompts, at_once = [], list(options["prompts"]), options["prompts_at_once"]
    for start in range(0, len(prompts), at_once):
        some = prompts[start : start + at_once]
        pictures = sample(backbone, some, options).cpu().split(options["pictures"])
        rows += zip(some, pictures, strict=True)
    return contact_sheet(rows, columns=options["pictures"])


@torch.no_grad()
def sample(backbone: Backbone, prompts: list[str], options: dict) -> Tensor:
    """Pictures f 3 h w, `pictures` of each prompt, by DDIM with guidance."""
    schedule, count = backbone.schedule, options["pictures"]
    side, channels = backbone.latent_size, backbone.vae.config["latent_channels"]
    noise = []
    for prompt in prompts:
        seed = int(np.random.default_rng([options["seed"], len(prompt)]).integers(2**31))
        generator = torch.Generator().manual_seed(seed)
        noise.append(torch.randn(count, channels, side, side, generator=generator))
    x = torch.cat(noise).to(backbone.device)
    embedding = backbone.embed([""] * len(prompts) + prompts).repeat_interleave(count, dim=0)
    for t in schedule.timesteps(options["steps"]).tolist():
        output = backbone.unet(torch.cat([x, x]), t, encoder_hidden_states=embedding).sample
        without, with_prompt = output.chunk(2)
        output = without + options["guidance"] * (with_prompt - without)
        epsilon = to_epsilon(schedule, output, x, t)
        x = ddim_step(schedule, x, epsilon, t, t - schedule.stride(options["steps"]))
    return backbone.decode(x)
