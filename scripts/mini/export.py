"""Half-precision weights in the diffusers layout, and starting from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .checkpoint import save_state
from .precision import half
from .vae import grow


def export_vae(vae: Any, target: Path) -> None:
    """Write the autoencoder, in half precision from then on."""
    half(vae).save_pretrained(target / "vae", safe_serialization=True)


def print_size(target: Path) -> None:
    """Print what the folder takes."""
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {total / 2**20:.1f} MB", flush=True)


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
    grown = grow(backbone.vae.state_dict(), config["vae"], config["size"])
    keep = config["start"]["latents"] == "keep"
    if not keep:
        backbone.vae.save_pretrained(folder / "former", safe_serialization=True)
    fresh = {"optimiser": {}, "step": 0, "spent": 0.0}
    save_state(folder / "vae.pt", vae=grown.state_dict(), decoder_only=keep, settled=True, **fresh)
    save_state(
        folder / "unet.pt",
        unet=backbone.unet.state_dict(),
        text=backbone.text_encoder.state_dict(),
        average=[*backbone.unet.parameters(), *backbone.text_encoder.parameters()],
        **fresh,
    )
