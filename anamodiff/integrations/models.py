"""The models of a transfer out of the components of a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from anamodiff.backbone.find import find_backbone
from anamodiff.backbone.load import Parts
from anamodiff.backbone.precision import PRECISIONS, choose_precision
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import RunOptions
from anamodiff.run.models import models_around
from anamodiff.run.motion_transfer import MotionTransfer

#: A pipeline's components, in the order of `Parts`.
COMPONENTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = ("vae", "unet", "text_encoder")


def mover_of(
    components: Mapping[str, Any],
    *,
    lofnet: str | None = None,
    precision: str | None = None,
    memory: Mapping[str, Any] | None = None,
    size: int | None = None,
) -> MotionTransfer:
    """A `MotionTransfer` that computes with a pipeline's own components, on their device.

    Args:
        components: those of `COMPONENTS`, by name.
        lofnet, memory, size: as for `anamodiff.transfer`.
        precision: likewise, and the weights get it; None is what the UNet's have, and on a CPU
            `auto` where that is fp32.

    Raises:
        AnaMoDiffError: a component is missing, or a setting is wrong.
    """
    if missing := [name for name in COMPONENTS if components.get(name) is None]:
        raise AnaMoDiffError(
            f"expected a pipeline with {', '.join(COMPONENTS)}, got it without {missing[0]}: load "
            "the components first"
        )
    RunOptions.check(size=size)
    unet = components["unet"]
    if precision is None and unet.device.type == "cpu" and unet.dtype == torch.float32:
        precision = "auto"
    dtype = unet.dtype if precision is None else choose_precision(precision, unet.device)
    if dtype not in PRECISIONS:
        raise AnaMoDiffError(
            f"expected a pipeline in {', '.join(PRECISIONS.values())}, got one in {dtype}: move it "
            "with pipeline.to(torch.float32)"
        )
    for name in WEIGHTS:
        # All have one format in a transfer; transformers takes that of the file, which may be half.
        if components[name].dtype != dtype:
            components[name].to(dtype)
    folder = folder_of(components)
    parts = Parts(
        **{name: components[name] for name in COMPONENTS[:-1]},
        scheduler=written_config(components["scheduler"]),
        files=_files(components, folder),
    )
    models = models_around(
        parts, folder, lofnet, device=unet.device, precision=precision, memory=memory, size=size
    )
    return MotionTransfer.of(models)


def folder_of(components: Mapping[str, Any]) -> Path:
    """The backbone that the autoencoder was loaded from: what lies beside it is for its latents.

    Raises:
        AnaMoDiffError: it was not loaded from a diffusers folder or hub id.
    """
    place = _place(components, "vae")
    if place == Path("vae"):
        raise AnaMoDiffError(
            "expected an autoencoder that was loaded from a diffusers folder, beside which a "
            "backbone's settings are, got one of nowhere: load the pipeline with from_pretrained"
        )
    return place.parent.absolute() if place.is_dir() else find_backbone(place.parent.as_posix())


def written_config(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration without what diffusers filled in, as it stands in the file."""
    config = dict(scheduler.config)
    return {key: config[key] for key in config.keys() - set(config.get("_use_default_values", ()))}


def _files(components: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Weight files for the record of a run; none of parts that came from elsewhere."""
    return {
        f"{part}/{path.name}": path
        for part in WEIGHTS
        if _place(components, part).absolute() == folder / part
        for path in sorted((folder / part).glob("*.safetensors"))
    }


def _place(components: Mapping[str, Any], part: str) -> Path:
    """Where `from_pretrained` found a part; the libraries note it with and without its folder."""
    model = components[part]
    path = Path(getattr(model, "name_or_path", None) or model.config.get("_name_or_path", ""))
    return path if path.name == part else path / part
