"""Weights of the rivals: ours, and the published checkpoints, which load strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.tps import TPSMotion
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.fomm import detector_keywords, differing_keys, published_config
from anamodiff.resources import find
from anamodiff.tensors import read_published

#: The rivals by name, and where weights of theirs are looked for.
KINDS: dict[str, type[TPSMotion | FOMM]] = {"tps": TPSMotion, "fomm": FOMM}
SHIPPED = "checkpoints/baselines"
#: Our weights' files in a folder: `model.safetensors` and `model.json`.
MODEL = "model"


def load_tps(checkpoint: Path | str, frame_size: int = 256) -> TPSMotion:
    """Load a published checkpoint of TPS Motion, such as `vox.pth.tar`.

    All published configurations have the same widths; those with a moving background have a
    predictor of it. What the file holds beside the networks (optimisers, the animation-via-
    disentanglement network) is left out: relative motion does not use it.

    Args:
        checkpoint: read as tensors only, no code in it is run.
        frame_size: side of the frames that it was trained on: 384 for TED-talks, else 256.

    Raises:
        AnaMoDiffError: the file is missing or broken, or names or shapes differ.
    """
    file = Path(checkpoint)
    parts = _read(file)
    with torch.device("meta"):  # numbers that are about to be replaced take seconds to draw
        model = TPSMotion(frame_size, background="bg_predictor" in parts)
    for name, network in model.named_children():
        _fill(network, parts, name, file)
    return model.eval()


def load_first_order(
    checkpoint: Path | str, config: Path | str | Mapping[str, Any] | None = None
) -> FOMM:
    """Load a published checkpoint of the first order model, such as `mgif-cpk.pth.tar`.

    Args:
        checkpoint: read as tensors only, no code in it is run; its discriminator is left out.
        config: FOMM's own file, such as `config/mgif-256.yaml`, or its parsed content; None is
            MGIF's.

    Raises:
        AnaMoDiffError: a file is missing or broken, or names or shapes differ.
    """
    file, detector = Path(checkpoint), detector_keywords(config)
    parts = _read(file)
    common = {name: detector.pop(name) for name in ("num_kp", "num_channels")}
    given = dict(published_config(config)["model_params"].get("generator_params", {}))
    motion = given.pop("dense_motion_params", None)
    given.pop("estimate_occlusion_map", None)
    try:
        with torch.device("meta"):
            model = FOMM(detector=detector, dense_motion=motion, **common, **given)
    except TypeError as error:
        raise AnaMoDiffError(
            f"expected generator_params of FOMM's own configuration, got others ({error}): name "
            "its file, such as config/mgif-256.yaml"
        ) from error
    for name, network in model.named_children():
        _fill(network, parts, name, file)
    return model.eval()


def load_rival(path: Path) -> TPSMotion | FOMM:
    """Load a folder of ours, as `scripts/train_baseline.py` writes it, or a published checkpoint.

    Raises:
        AnaMoDiffError: there is neither, or the weights do not fit.
    """
    if path.is_dir():
        return _kind_of(path).load(path / MODEL)
    parts = _read(path)
    if "inpainting_network" in parts:
        return load_tps(path)
    if "generator" in parts:
        return load_first_order(path)
    raise AnaMoDiffError(
        f"expected a checkpoint of TPS Motion or of the first order model, {path} has "
        f"{', '.join(map(str, parts)) or 'nothing'}: name another"
    )


def is_rival(path: Path) -> bool:
    """Whether a path is a folder of our weights, or a file of torch's."""
    if path.is_dir():
        return (path / f"{MODEL}.json").is_file()
    return path.is_file() and path.name.endswith((".pth.tar", ".pth", ".pt", ".tar"))


def shipped(name: str) -> Path:
    """The folder in `checkpoints/baselines` with weights of a rival.

    Raises:
        AnaMoDiffError: there are none.
    """
    try:
        return find(f"{SHIPPED}/{name}")
    except AnaMoDiffError:
        raise AnaMoDiffError(
            f"expected weights of {name} in {SHIPPED}/{name}, found none: train them with `python "
            f"scripts/train_baseline.py {name} RUN --clips FOLDER`, and name RUN or a published "
            f"checkpoint in the place of {name}: my-{name}=RUN"
        ) from None


def weights_file(path: Path) -> Path:
    """The file that holds a rival's tensors; `AnaMoDiffError` where it is missing."""
    file = path / f"{MODEL}.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise AnaMoDiffError(
            f"expected a rival's weights, found no file {file}: name the folder that "
            "scripts/train_baseline.py wrote, or a published checkpoint"
        )
    return file


def _kind_of(folder: Path) -> type[TPSMotion | FOMM]:
    try:
        config = json.loads((folder / f"{MODEL}.json").read_text(encoding="utf-8"))
        return KINDS["tps" if "num_tps" in config else "fomm"]
    except (OSError, ValueError, TypeError) as error:
        raise AnaMoDiffError(
            f"expected {MODEL}.json of a trained rival in {folder}, got {error}: name the folder "
            "that scripts/train_baseline.py wrote"
        ) from error


def _read(file: Path) -> Mapping[str, Any]:
    """The parts of a published checkpoint by name."""
    parts = read_published(file, "a rival's checkpoint")
    if not isinstance(parts, Mapping):
        raise AnaMoDiffError(
            f"expected networks by name in {file}, got a {type(parts).__name__}: name another"
        )
    return parts


def _fill(network: nn.Module, parts: Mapping[str, Any], name: str, file: Path) -> None:
    """Load one network strictly."""
    state = parts.get(name)
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise AnaMoDiffError(
            f"expected tensors under {name} in {file}, got {', '.join(map(str, parts))}: name a "
            "published checkpoint"
        )
    if difference := differing_keys(network.state_dict(), state):
        raise AnaMoDiffError(
            f"expected {name} of the published configuration in {file}, got another "
            f"({difference}): name the configuration that belongs to it, or another checkpoint"
        )
    network.load_state_dict(state, assign=True)
