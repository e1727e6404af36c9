"""The text-to-image UNet and its text encoder, trained together on latents of two sizes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anamodiff.diffusion import Schedule

from . import precision
from .checkpoint import load_state, save_state
from .data import Frames
from .latents import LatentPool
from .loop import Clock, Plan, train
from .optimiser import new_optimiser
from .text import build_text_encoder, build_tokenizer, save_text

SCHEDULER = {
    "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085,
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon",
}  # fmt: skip


def build_unet(channels: list[int], heads: list[int], layers: int, width: int, size: int) -> Any:
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


def noisy_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Timesteps spread over a batch, which lowers the variance of the gradient.

    Their density rises from half the mean at 0 to one and a half of it at 1000: what a picture
    shows is decided at high noise, and there the loss is hardest to bring down.
    """
    device = generator.device
    spread = torch.arange(count, device=device)
    spread = (spread + torch.rand(count, generator=generator, device=device)) / count
    return (500 * ((1 + 8 * spread).sqrt() - 1)).long().clamp(0, 999)


def unet_loss(
    unet: Any, text: Any, alphas: Tensor, clean: Tensor, tokens: Tensor,
    generator: torch.Generator, dtype: torch.dtype = torch.float32,
) -> Tensor:  # fmt: skip
    """Noise-prediction error, weighted (min(SNR, 5) + 1) / SNR; `alphas` are cumulative ones.

    At high noise that is the error of the velocity: there shapes are decided, which hardly change
    the plain error of the noise. At low noise it is the clean latents' error, times six.
    """
    t = noisy_timesteps(len(clean), generator)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    alpha = alphas[t][:, None, None, None]
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    prompt = text(tokens).last_hidden_state
    predicted = precision.call(
        unet, dtype, noisy.to(dtype), t, encoder_hidden_states=prompt.to(dtype)
    )
    snr = alphas[t] / (1 - alphas[t])
    weight = (snr.clamp(max=5) + 1) / snr
    error = (predicted.sample.float() - noise).pow(2).mean(dim=(1, 2, 3))
    return (weight * error).mean()


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

    def load(self, values: list[Tensor], updates: int) -> None:
        """Go on from saved averages."""
        self.values = [v.to(old) for v, old in zip(values, self.values, strict=True)]
        self.updates = updates


def _tokenizer(folder: Path, captions: list[str], length: int) -> Any:
    """The tokenizer of `folder`, built once: other captions would change its tokens."""
    from transformers import CLIPTokenizer

    if not folder.is_dir():
        build_tokenizer(sorted(set(captions)), length).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


@dataclass(frozen=True)
class Model:
    """UNet, text encoder and tokenizer, whose averaged weights are what is kept."""

    unet: Any
    text: Any
    tokenizer: Any


def build_model(
    folder: Path, captions: list[str], *, channels: list[int], heads: list[int], layers: int,
    width: int, text_layers: int, length: int, size: int,
) -> Model:  # fmt: skip
    """A model with random weights, and the folder's tokenizer."""
    tokenizer = _tokenizer(folder / "tokenizer", captions, length)
    text = build_text_encoder(tokenizer, width=width, layers=text_layers, heads=width // 32)
    return Model(build_unet(channels, heads, layers, width, size), text, tokenizer)


def averaged(folder: Path, model: Model) -> Model:
    """The model with the averaged weights of the last state."""
    state = load_state(folder / "unet.pt")
    if state is None:
        raise SystemExit(f"expected a trained UNet in {folder}, found none: run the stage `unet`")
    average = Average([model.unet, model.text])
    average.load(state["average"], state["step"])
    average.apply()
    return model


def train_unet(
    folder: Path, model: Model, frames: Frames, pool: LatentPool, *, plan: Plan, seed: int,
    dtype: torch.dtype = torch.float32, publish: Callable[[Model], None] | None = None,
) -> None:  # fmt: skip
    """Train, or resume; `publish` gets a copy with averaged weights whenever a state is saved."""
    torch.manual_seed(seed)
    modules = [model.unet.to(frames.device).train(), model.text.to(frames.device).train()]
    alphas = Schedule.from_config(SCHEDULER).alphas_cumprod.to(frames.device)
    state, generator = load_state(folder / "unet.pt"), torch.Generator(frames.device)
    if state is not None:
        model.unet.load_state_dict(state["unet"])
        model.text.load_state_dict(state["text"])

    def loss(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clean, tokens = pool.batch(step, generator)
        value = unet_loss(model.unet, model.text, alphas, clean, tokens, generator, dtype)
        return value, value.detach()

    precision.choose_layout([model.unet], lambda: loss(0, generator)[0].backward())
    optimiser, average, clock = new_optimiser(modules, plan.lr), Average(modules), Clock(plan)
    if state is not None:
        if state["optimiser"]:
            optimiser.load_state_dict(state["optimiser"])
        clock = Clock(plan, state["step"], state["spent"])
        average.load(state["average"], state["step"])

    def save() -> None:
        save_state(
            folder / "unet.pt", unet=model.unet.state_dict(), text=model.text.state_dict(),
            optimiser=optimiser.state_dict(), average=average.values, step=clock.step,
            spent=clock.spent,
        )  # fmt: skip
        if publish is not None:
            kept = copy.deepcopy(modules)
            other = Average(kept)
            other.load(average.values, average.updates)
            other.apply()
            publish(Model(kept[0], kept[1], model.tokenizer))

    train(
        "unet", clock, optimiser, generator, seed, loss=loss, save=save,
        after=average.update, report=lambda mean: f"loss {mean:.4f}",
    )  # fmt: skip


def save_unet(model: Model, folder: Path) -> None:
    """Write tokenizer, text encoder, UNet, scheduler and the index in the diffusers layout."""
    save_text(model.tokenizer, model.text, folder)
    precision.half(model.unet).save_pretrained(folder / "unet", safe_serialization=True)
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
