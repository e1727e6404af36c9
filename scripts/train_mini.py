"""Train the embedded backbone: `python scripts/train_mini.py STAGE [SETTING=VALUE ...]`.

Stages, in this order; each resumes where it was stopped:

  start     optional: start from the weights of an exported backbone (`start.folder`)
  vae       the autoencoder
  latents   its latents of all training frames
  unet      UNet and text encoder on those latents
  decoder   more training for the decoder alone (latents stay as they are)
  export    half-precision weights into `export.folder`
  sheet     a contact sheet of sampled pictures, and the reconstruction figures

Settings: configs/train_mini.yaml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from mini import data, export, unet, vae  # noqa: E402

from anamodiff.cli.compose import plain  # noqa: E402

STAGES = ("start", "vae", "latents", "unet", "decoder", "export", "sheet")


def settings(overrides: list[str]) -> dict:
    """`configs/train_mini.yaml` with overrides."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return plain(compose("train_mini", overrides))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("overrides", nargs="*", metavar="SETTING=VALUE")
    arguments = parser.parse_args()
    config = settings(arguments.overrides)
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    torch.set_flush_denormal(True)
    run(arguments.stage, config)


def run(stage: str, config: dict) -> None:
    folder, size = Path(config["folder"]), config["size"]
    clips = None
    if config["manifest"] and stage in ("vae", "latents", "decoder"):
        clips = data.load_clips(Path(config["manifest"]), folder, size)
    if stage == "start":
        export.start_from(Path(config["start"]["folder"]), folder, config)
    elif stage == "vae":
        vae.train_vae(folder, clips, size=size, seed=config["seed"], **config["vae"])
    elif stage == "decoder":
        both = {**config["vae"], **config["decoder"]}
        vae.train_vae(folder, clips, size=size, seed=config["seed"] + 1, **both, decoder_only=True)
    elif stage == "latents":
        autoencoder = vae.settle(folder, clips, config["vae"], size)
        unet.cache_latents(
            folder / "latents", autoencoder, clips, size=size, seed=config["seed"] + 10**6,
            **config["latents"],
        )  # fmt: skip
    elif stage == "unet":
        unet.train_unet(
            folder, folder / "latents", size=size // 4, seed=config["seed"], **config["unet"]
        )
    elif stage == "export":
        export.export(folder, Path(config["export"]["folder"]), config)
    else:
        export.sheet(Path(config["export"]["folder"]), config["sheet"], config["manifest"])


if __name__ == "__main__":
    main()
