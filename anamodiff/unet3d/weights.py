"""Tuned weights on disk: LoRA in a file that diffusers reads, temporal weights in another."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.unet3d.lora import (
    ADAPTER,
    has_lora,
    inject,
    lora_layers,
    temporal_parameters,
    unmerge_lora,
)
from anamodiff.unet3d.model import UNet3D

LORA_FILE = "pytorch_lora_weights.safetensors"
TEMPORAL_FILE = "temporal.safetensors"


def save_weights(unet3d: UNet3D, folder: str | Path) -> None:
    """Write `pytorch_lora_weights.safetensors` and `temporal.safetensors` into `folder`.

    The first is for `StableDiffusionPipeline.load_lora_weights` of diffusers, which assumes that
    alpha is the rank: another alpha is multiplied into the weights.

    Raises:
        AnaMoDiffError: there is no LoRA to save.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lora: dict[str, Tensor] = {}
    for name, layer in lora_layers(unet3d):
        lora[f"unet.{name}.lora_A.weight"] = _plain(layer.lora_A[ADAPTER].weight)
        scaled = layer.lora_B[ADAPTER].weight * layer.scaling[ADAPTER]
        lora[f"unet.{name}.lora_B.weight"] = _plain(scaled)
    if not lora:
        raise AnaMoDiffError("expected a UNet with LoRA to save, got none: call add_lora first")
    temporal = {name: _plain(parameter) for name, parameter in temporal_parameters(unet3d)}
    save_file(lora, folder / LORA_FILE, metadata={"format": "pt"})
    save_file(temporal, folder / TEMPORAL_FILE, metadata={"format": "pt"})


def load_weights(unet3d: UNet3D, folder: str | Path) -> None:
    """Read a folder that `save_weights` wrote, adding LoRA if `unet3d` has none.

    Raises:
        AnaMoDiffError: a file is missing or unreadable, or does not fit this UNet.
    """
    folder = Path(folder)
    load_lora(unet3d, folder / LORA_FILE)
    path = folder / TEMPORAL_FILE
    _copy_into(dict(temporal_parameters(unet3d)), _read(path)[0], path)


def load_lora(unet3d: UNet3D, path: str | Path) -> None:
    """Read only a LoRA file, which may be one that diffusers trained on the 2-D UNet.

    Raises:
        AnaMoDiffError: the file is missing or unreadable, or does not fit this UNet.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    unet = {k.removeprefix("unet."): v for k, v in tensors.items() if k.startswith("unet.")}
    weights = convert_unet_state_dict_to_peft(unet)
    weights = {name: tensor for name, tensor in weights.items() if ".lora_" in name}
    ranks = {
        name.removesuffix(".lora_A.weight"): len(tensor)
        for name, tensor in weights.items()
        if name.endswith(".lora_A.weight")
    }
    if not ranks:
        raise AnaMoDiffError(f"expected LoRA weights `unet.*` in {path}, got none: choose another")
    alpha = _alpha(metadata)
    if not has_lora(unet3d):
        kinds = (torch.nn.Linear, torch.nn.Conv2d)
        layers = {name for name, module in unet3d.named_modules() if isinstance(module, kinds)}
        _check_names(layers & set(ranks), set(ranks), path)
        inject(unet3d, ranks, alpha=alpha)
    unmerge_lora(unet3d)
    own = {}
    for name, layer in lora_layers(unet3d):
        own[f"{name}.lora_A.weight"] = layer.lora_A[ADAPTER].weight
        own[f"{name}.lora_B.weight"] = layer.lora_B[ADAPTER].weight
        if name in ranks:
            # The file's scale may differ from this layer's, which stays.
            scale = 1.0 if alpha is None else alpha / ranks[name]
            weights[f"{name}.lora_B.weight"] *= scale / layer.scaling[ADAPTER]
    _copy_into(own, weights, path)


def _alpha(metadata: dict[str, str]) -> float | None:
    """Alpha in the metadata of a file of diffusers'; None, thus the rank, without it."""
    adapter = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    return adapter.get("unet.lora_alpha")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise AnaMoDiffError(f"expected tuned weights in {path}, got no such file: tune first")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise AnaMoDiffError(
            f"expected a safetensors file in {path}, got: {error}; tune again"
        ) from error


@torch.no_grad()
def _copy_into(own: dict[str, torch.nn.Parameter], new: dict[str, Tensor], path: Path) -> None:
    """Copy every tensor of `new` into the parameter of its name, all or none."""
    _check_names(set(own), set(new), path)
    for name, tensor in new.items():
        if own[name].shape != tensor.shape:
            raise AnaMoDiffError(
                f"expected {name} of shape {tuple(own[name].shape)}, got {tuple(tensor.shape)} in "
                f"{path}: load it into a fresh UNet of the backbone that it was tuned on"
            )
    for name, tensor in new.items():
        own[name].copy_(tensor)


def _check_names(own: set[str], new: set[str], path: Path) -> None:
    if own != new:
        example = sorted(own ^ new)[0]
        raise AnaMoDiffError(
            f"expected the weights of this UNet in {path}, got {len(new - own)} that it lacks and "
            f"{len(own - new)} missing (as {example}): load it into the backbone it was tuned on"
        )
