"""The text-to-image UNet and its text encoder, trained together on cached latents."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.diffusion import Schedule, add_noise, generator_of

from .checkpoint import cosine, load_state, save_state
from .data import Frames, draw_creature
from .optimiser import descend, new_optimiser
from .text import build_text_encoder, build_tokenizer, vary

SCHEDULER = {
    "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085,
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon",
}  # fmt: skip


def build_unet(channels: list[int], heads: list[int], layers: int, width: int, size: int):
    """A UNet with random weights, and attention at every level but the first."""
    from diffusers import UNet2DConditionModel

    inner = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=4,
        out_channels=4,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * inner,
        up_block_types=("CrossAttnUpBlock2D",) * inner + ("UpBlock2D",),
        attention_head_dim=tuple(heads),  # numbers of heads, by diffusers' old name
        cross_attention_dim=width,
        norm_num_groups=16,
    )


@torch.no_grad()
def cache_latents(
    folder: Path, vae, clips: Frames | None, *, size: int, creatures: int, stride: int, seed: int,
    part: int = 256,
) -> None:  # fmt: skip
    """Latents (fp16) and captions of every `stride`-th clip frame and of drawn creatures.

    Written in parts: a kill loses one. Latents of another encoder need another folder.
    """
    from .vae import to_tensor

    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[int, int]] = []  # (clip, frame), or (-1, seed of a creature)
    if clips is not None:
        for i in range(len(clips.captions)):
            jobs += [(i, k) for k in range(0, int(clips.starts[i + 1] - clips.starts[i]), stride)]
    jobs += [(-1, seed + k) for k in range(creatures)]
    for first in range(0, len(jobs), part):
        path = folder / f"{first:06d}.npz"
        if path.is_file():
            continue
        frames, captions, groups = [], [], []
        for clip, k in jobs[first : first + part]:
            if clip >= 0:
                frames.append(np.asarray(clips.clip(clip)[k]))
                captions.append(clips.captions[clip])
                groups.append(clips.species[clip])
            else:
                drawn, caption = draw_creature(k, size)
                frames.append(drawn[0])
                captions.append(caption)
                groups.append("drawn " + caption.split(" ", 2)[-1])
        batches = to_tensor(frames).split(8)
        latents = torch.cat([vae.encode(batch).latent_dist.mode() for batch in batches])
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            latents=latents.half().numpy(),
            captions=np.array(captions),
            groups=np.array(groups),
        )
        os.replace(temporary, path)
        print(f"latents {first + len(frames)}/{len(jobs)}", flush=True)


def load_latents(folder: Path) -> tuple[Tensor, list[str], np.ndarray]:
    """All cached latents n 4 h w (fp16), their captions, and a sampling weight for each."""
    parts = [np.load(path) for path in sorted(folder.glob("??????.npz"))]
    latents = torch.from_numpy(np.concatenate([part["latents"] for part in parts]))
    captions = [str(c) for part in parts for c in part["captions"]]
    groups = np.concatenate([part["groups"] for part in parts])
    _, where, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[where])
    return latents, captions, weights / weights.sum()


def unet_loss(
    unet, text, schedule: Schedule, clean: Tensor, tokens: Tensor, generator: torch.Generator
) -> Tensor:
    """Noise-prediction error, weighted (min(SNR, 5) + 1) / SNR.

    At high noise that is the error of the velocity: there shapes are decided, which hardly change
    the plain error of the noise. At low noise it is the clean latents' error, times six.
    Timesteps are stratified over the batch, which lowers the variance of the gradient.
    """
    spread = torch.arange(len(clean)) + torch.rand(len(clean), generator=generator)
    t = (1000 * spread / len(clean)).long().clamp(max=999)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = add_noise(schedule, clean, noise, t)
    predicted = unet(noisy, t, encoder_hidden_states=text(tokens).last_hidden_state).sample.float()
    alpha = schedule.alphas_cumprod[t]
    snr = alpha / (1 - alpha)
    weight = (snr.clamp(max=5) + 1) / snr
    return (weight * (predicted - noise).pow(2).mean(dim=(1, 2, 3))).mean()


class Average:
    """Exponential moving average of parameters."""

    def __init__(self, modules: list[torch.nn.Module], decay: float = 0.999) -> None:
        self.modules, self.decay, self.updates = modules, decay, 0
        self.values = [p.detach().clone() for m in modules for p in m.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        now = [p.detach() for m in self.modules for p in m.parameters()]
        torch._foreach_lerp_(self.values, now, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Write the averages into the modules."""
        parameters = [p for m in self.modules for p in m.parameters()]
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)


def _tokenizer(folder: Path, captions: list[str], length: int):
    """The tokenizer of `folder`, built once: other captions would change its tokens."""
    from transformers import CLIPTokenizer

    if not folder.is_dir():
        build_tokenizer(sorted(set(captions)), length).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def train_unet(
    folder: Path, latents_folder: Path, *, channels: list[int], heads: list[int], layers: int,
    width: int, text_layers: int, length: int, size: int, steps: int, batch: int, lr: float,
    seed: int, compiled: bool = False, precision: str = "fp32", save_every: int = 250,
) -> tuple:  # fmt: skip
    """Train, or resume; returns tokenizer, text encoder and UNet with averaged weights."""
    latents, captions, weights = load_latents(latents_folder)
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder / "tokenizer", captions, length)
    text = build_text_encoder(tokenizer, width=width, layers=text_layers, heads=width // 32)
    unet = build_unet(channels, heads, layers, width, size)
    optimiser = new_optimiser([unet, text], lr)
    average = Average([unet, text])
    schedule = Schedule.from_config(SCHEDULER)
    if compiled:
        unet.compile()
    state, start = load_state(folder / "unet.pt"), 0
    if state is not None:
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
        if state["optimiser"]:
            optimiser.load_state_dict(state["optimiser"])
        average.values, average.updates, start = state["average"], state["step"], state["step"]
    began, losses = time.time(), []
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        generator = generator_of(seed * 1_000_003 + step)
        chosen = rng.choice(len(latents), size=batch, p=weights)
        prompts = [vary(captions[i], rng) for i in chosen]
        tokens = tokenizer(
            prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )["input_ids"]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = unet_loss(unet, text, schedule, latents[chosen].float(), tokens, generator)
        descend(optimiser, loss, lr * cosine(step, steps, warmup=100))
        average.update()
        losses.append(loss.item())
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save_state(
                folder / "unet.pt", unet=unet.state_dict(), text=text.state_dict(),
                optimiser=optimiser.state_dict(), average=average.values, step=step + 1,
            )  # fmt: skip
            mean, seconds = np.mean(losses), time.time() - began
            print(f"unet {step + 1}/{steps} loss {mean:.4f} {seconds:.0f} s", flush=True)
            losses.clear()
    average.apply()
    return tokenizer, text, unet


def save_unet(tokenizer, text, unet, folder: Path) -> None:
    """Write tokenizer, text encoder, UNet, scheduler and the index in the diffusers layout."""
    from .text import save_text

    save_text(tokenizer, text, folder)
    unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2))
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
