"""Train the embedded backbone: `python scripts/train_mini.py STAGE [SETTING=VALUE ...]`.

Stages, in this order; each resumes where it was stopped:

  start     optional: start from the weights of an exported backbone (`start.folder`)
  bank      the training frames: clips and drawn creatures, by worker processes; may run beside
            the others, and again
  vae       the autoencoder
  unet      UNet and text encoder
  decoder   more training for the decoder alone (latents stay as they are)
  export    half-precision weights into `export.folder`
  sheet     a contact sheet of sampled pictures, and figures beside those of `start.folder`

  all       start, bank (in the background), vae, unet, export and sheet within `seconds` from the
            start of the command; the exported weights are there from the autoencoder on, and
            renewed every half minute

Settings: configs/train_mini.yaml.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from mini import bank, export, measure, precision, unet, vae  # noqa: E402
from mini.data import Frames  # noqa: E402
from mini.latents import LatentPool  # noqa: E402
from mini.loop import Plan  # noqa: E402
from mini.text import Captions  # noqa: E402

from anamodiff.backbone.model import choose_device  # noqa: E402
from anamodiff.cli.compose import plain  # noqa: E402

STAGES = ("start", "bank", "vae", "unet", "decoder", "export", "sheet", "all")
PLAN = ("lr", "steps", "seconds", "warmup", "save_every", "save_seconds")


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
    run(arguments.stage, config)


def run(stage: str, config: dict) -> None:
    """Run one stage, or all of them."""
    folder, target = Path(config["folder"]), Path(config["export"]["folder"])
    device = choose_device(config["device"])
    precision.set_up(device)
    if stage == "start":
        export.start_from(Path(config["start"]["folder"]), folder, config)
    elif stage == "bank":
        for worker in start_workers(config, config["bank"]["seconds"]):
            worker.wait()
    elif stage == "all":
        run_all(config, device)
    elif stage in ("vae", "decoder"):
        train_vae(config, load_frames(config, device), decoder_only=stage == "decoder")
    elif stage == "unet":
        train_unet(config, load_frames(config, device), publish=False)
    elif stage == "export":
        target.mkdir(parents=True, exist_ok=True)
        autoencoder = vae.load_vae(folder, config["vae"], config["size"])
        export.export_vae(autoencoder, target)
        unet.save_unet(unet.averaged(folder, build_model(config, [])), target)
        export.print_size(target)
    else:
        show(config, device)


def run_all(config: dict, device: torch.device) -> None:
    """All stages, by the clock."""
    folder, target = Path(config["folder"]), Path(config["export"]["folder"])
    until = STARTED + config["seconds"] - config["reserve"]
    workers = start_workers(config, until - time.monotonic())
    if not (folder / "vae.pt").is_file():
        export.start_from(Path(config["start"]["folder"]), folder, config)
    own = config["bank"]
    frames = Frames(bank_folder(config), config["size"], own["capacity"], device, own["wait"])
    frames.watch(own["wait"], lambda: any(worker.poll() is None for worker in workers))
    left = until - time.monotonic()
    print(f"{len(frames)} frames, {left:.0f} s left on {device}", flush=True)
    train_vae(config, frames, seconds=config["vae_share"] * left)
    autoencoder = vae.load_vae(folder, config["vae"], config["size"])
    export.export_vae(autoencoder, target)
    train_unet(config, frames, publish=True, seconds=until - time.monotonic())
    for worker in workers:
        worker.terminate()
    del frames
    export.print_size(target)
    show(config, device)
    print(f"all done after {time.monotonic() - STARTED:.0f} s", flush=True)


def bank_folder(config: dict) -> Path:
    return Path(config["bank"]["folder"] or Path(config["folder"]) / "bank")


def start_workers(config: dict, seconds: float | None) -> list:
    """The processes that fill the bank."""
    own = config["bank"]
    manifest = Path(config["manifest"]) if config["manifest"] else None
    if manifest is not None and not manifest.is_file():
        raise SystemExit(f"expected clips listed in {manifest}, found no such file: correct it")
    return bank.start_workers(
        bank_folder(config), manifest, size=config["size"], seed=config["seed"],
        workers=own["workers"], frames=own["frames"], seconds=seconds,
    )  # fmt: skip


def load_frames(config: dict, device: torch.device) -> Frames:
    """The bank as it is, and what comes later."""
    frames = Frames(bank_folder(config), config["size"], config["bank"]["capacity"], device)
    frames.watch(1, lambda: False)
    return frames


def plan_of(own: dict[str, Any], seconds: float | None) -> tuple[Plan, dict[str, Any]]:
    """How long a stage trains, by the clock alone where `seconds` are given; other settings."""
    timing = {name: own[name] for name in PLAN if own.get(name) is not None}
    rest = {name: value for name, value in own.items() if name not in PLAN}
    if seconds is not None:
        timing |= {"seconds": max(1.0, seconds), "steps": None, "save_every": None}
    return Plan(**timing), rest


def train_vae(
    config: dict, frames: Frames, *, decoder_only: bool = False, seconds: float | None = None
) -> None:
    own = {**config["vae"], **(config["decoder"] if decoder_only else {})}
    plan, rest = plan_of(own, seconds)
    dtype = precision.choose(config["precision"], frames.device)
    vae.train_vae(
        Path(config["folder"]), frames, plan=plan, size=config["size"], dtype=dtype,
        seed=config["seed"] + decoder_only, decoder_only=decoder_only, **rest,
    )  # fmt: skip


def build_model(config: dict, captions: list[str]) -> unet.Model:
    size = config["size"] // 4
    return unet.build_model(Path(config["folder"]), captions, size=size, **config["model"])


def train_unet(
    config: dict, frames: Frames, *, publish: bool, seconds: float | None = None
) -> None:
    folder, target = Path(config["folder"]), Path(config["export"]["folder"])
    dtype = precision.choose(config["precision"], frames.device)
    plan, rest = plan_of(config["unet"], seconds)
    model = build_model(config, frames.captions)
    autoencoder = vae.load_vae(folder, config["vae"], config["size"]).to(frames.device)
    pool = LatentPool(
        autoencoder, frames, Captions(model.tokenizer, frames.device), dtype=dtype, **rest
    )
    unet.train_unet(
        folder, model, frames, pool, plan=plan, seed=config["seed"], dtype=dtype,
        publish=(lambda kept: unet.save_unet(kept, target)) if publish else None,
    )  # fmt: skip


def show(config: dict, device: torch.device) -> None:
    own = dict(config["sheet"])
    bench = Path(config["bench"]) if config["bench"] else None
    former = Path(config["start"]["folder"])
    target = Path(config["export"]["folder"])
    measure.measure(
        target, device=device, former=None if former == target else former, bench=bench,
        size=config["size"], count=own.pop("count"), sheet=own,
    )  # fmt: skip


if __name__ == "__main__":
    main()
