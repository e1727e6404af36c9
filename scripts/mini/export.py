"""Half-precision weights in the diffusers layout, and samples of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from . import unet, vae
from .checkpoint import load_state, save_state


def export(folder: Path, target: Path, config: dict) -> None:
    """Write the averaged weights of all parts, and print their size."""
    autoencoder = vae.load_vae(folder, config["vae"], config["size"])
    autoencoder.half().save_pretrained(target / "vae", safe_serialization=True)
    own = dict(config["unet"])
    built = unet.train_unet(
        folder, folder / "latents", size=config["size"] // 4, seed=config["seed"],
        **{**own, "steps": load_state(folder / "unet.pt")["step"]},
    )  # fmt: skip
    unet.save_unet(*built, target)
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {total / 2**20:.1f} MB")


def start_from(source: Path, folder: Path, config: dict) -> None:
    """Start from the weights of an exported backbone, in a folder without states.

    With `start.latents: keep` its latents stay, and decoder, UNet and text encoder can be trained
    further; with `anchor` the whole autoencoder can, with `vae.anchor` as a penalty.
    """
    from anamodiff.backbone.model import Backbone

    if any(folder.glob("*.pt")):
        raise SystemExit(f"expected a folder without states, got {folder}: name another")
    backbone = Backbone.load(source, device="cpu", precision="fp32")
    backbone.tokenizer.save_pretrained(folder / "tokenizer")
    grown = vae.grow(backbone.vae.state_dict(), config["vae"], config["size"])
    keep = config["start"]["latents"] == "keep"
    if not keep:
        backbone.vae.save_pretrained(folder / "former", safe_serialization=True)
    fresh = {"optimiser": {}, "step": 0}
    save_state(folder / "vae.pt", vae=grown.state_dict(), decoder_only=keep, settled=True, **fresh)
    save_state(
        folder / "unet.pt",
        unet=backbone.unet.state_dict(),
        text=backbone.text_encoder.state_dict(),
        average=[*backbone.unet.parameters(), *backbone.text_encoder.parameters()],
        **fresh,
    )


@torch.no_grad()
def sheet(target: Path, options: dict, manifest: str | None) -> None:
    """Write `samples.png` beside the weights and print PSNR of held-out frames."""
    from anamodiff.backbone.model import Backbone
    from anamodiff.video.clip import read_clip
    from anamodiff.visual.sheets import contact_sheet, save_picture

    backbone = Backbone.load(target, device="cpu")
    size = backbone.image_size
    figures = {"creatures": vae.held_out(size)}
    if manifest:
        sources = sorted((Path(manifest).parent / "bench").glob("*/source.mp4"))
        frames = [read_clip(path, frames=5, size=size).frames for path in sources]
        figures["bench sources"] = torch.cat(frames)
    for name, frames in figures.items():
        values = vae.psnr(backbone.vae, frames)
        print(f"{name}: PSNR mean {values.mean():.2f} dB, worst {values.min():.2f} dB")
    rows = [(prompt, _sample(backbone, prompt, options)) for prompt in options["prompts"]]
    save_picture(target / "samples.png", contact_sheet(rows, columns=options["pictures"]))


def _sample(backbone, prompt: str, options: dict) -> torch.Tensor:
    """Pictures of one prompt, sampled by DDIM with guidance."""
    from anamodiff.diffusion import ddim_step, to_epsilon

    schedule, count = backbone.schedule, options["pictures"]
    seed = int(np.random.default_rng([options["seed"], len(prompt)]).integers(2**31))
    generator = torch.Generator().manual_seed(seed)
    shape = (count, backbone.vae.config.latent_channels, *[backbone.latent_size] * 2)
    x = torch.randn(shape, generator=generator)
    embedding = backbone.embed(["", prompt]).repeat_interleave(count, dim=0)
    for t in schedule.timesteps(options["steps"]).tolist():
        output = backbone.unet(torch.cat([x, x]), t, encoder_hidden_states=embedding).sample
        without, with_prompt = output.chunk(2)
        output = without + options["guidance"] * (with_prompt - without)
        epsilon = to_epsilon(schedule, output, x, t)
        x = ddim_step(schedule, x, epsilon, t, t - schedule.stride(options["steps"]))
    return backbone.decode(x)
