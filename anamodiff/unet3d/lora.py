"""LoRA on the spatial layers of an inflated UNet, through peft."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.options import LoraBlocks, LoraLayers
from anamodiff.unet3d.model import UNet3D

ADAPTER = "default"
ATTENTIONS = ("attn1", "attn2")
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
# What `layers="all"` adds: convolutions of residual blocks, and the other layers of transformers.
OTHERS = ("conv1", "conv2", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
BLOCK_PREFIXES = {"down": "down_blocks.", "mid": "mid_block.", "up": "up_blocks."}


def add_lora(
    unet3d: UNet3D,
    *,
    rank: int = 16,
    alpha: float | None = None,
    layers: LoraLayers = "attention",
    targets: Sequence[str] = PROJECTIONS,
    blocks: LoraBlocks | Sequence[str] = "all",
    generator: torch.Generator | None = None,
) -> None:
    """Add LoRA to the attention projections and freeze all but it and the temporal weights.

    The output does not change before training: the factor B is zero (LoRA, section 4.1). The
    temporal attention is new, so it is trained whole.

    Args:
        unet3d: an inflated UNet without LoRA.
        rank: the paper names none.
        alpha: the update is scaled by alpha / rank; None is the rank, a scale of one.
        layers: "attention" is the paper's; "all" adds the convolutions of residual blocks and the
            feed-forward layers, for a UNet without attention at its highest resolution, whose
            details attention alone could not tune.
        targets: projections of `attn1` and `attn2` with LoRA.
        blocks: those that are trained, temporal attention included: "all"; "mid_up", which saves
            the backward pass through the down blocks; or some of "down", "mid", "up".
        generator: of the factor A; None is a fixed seed.

    Raises:
        AnaMoDiffError: unknown blocks or targets, a rank below one, or LoRA already there.
    """
    levels = _levels(blocks)
    _check_options(rank, layers, targets, levels)
    prefixes = tuple(BLOCK_PREFIXES[level] for level in levels)
    ends = tuple(f"{attention}.{target}" for attention in ATTENTIONS for target in targets)
    ends += OTHERS if layers == "all" else ()
    names = [name for name, _ in unet3d.named_modules() if name.endswith(ends)]
    names = [name for name in names if name.startswith(prefixes)]
    inject(unet3d, {name: rank for name in names}, alpha=alpha, generator=generator)
    for name, parameter in temporal_parameters(unet3d):
        parameter.requires_grad_(name.startswith(prefixes))


def inject(
    unet3d: UNet3D,
    ranks: dict[str, int],
    *,
    alpha: float | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Add LoRA of the given rank to each named layer; train it and the temporal weights.

    Raises:
        AnaMoDiffError: LoRA is already there, or no layer is named.
    """
    if has_lora(unet3d):
        raise AnaMoDiffError("expected a UNet without LoRA, got one with it: inflate a fresh one")
    if not ranks:
        raise AnaMoDiffError(
            "expected LoRA on at least one layer, got none: widen blocks or targets"
        )
    rank = next(iter(ranks.values()))
    others = {f"^{name}": own for name, own in ranks.items() if own != rank}
    config = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,
        target_modules=list(ranks),
        rank_pattern=others,
        alpha_pattern=others if alpha is None else {},
    )
    unet3d.requires_grad_(False)
    # peft initialises from the global generator; below it is done again with ours.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, unet3d, adapter_name=ADAPTER)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    for _, layer in lora_layers(unet3d):
        _init_kaiming_uniform(layer.lora_A[ADAPTER].weight, generator)
    for _, parameter in temporal_parameters(unet3d):
        parameter.requires_grad_(True)


def trainable_parameters(unet3d: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that are trained, in the order of the module tree."""
    return [(name, p) for name, p in unet3d.named_parameters() if p.requires_grad]


def temporal_parameters(unet3d: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters of `attn_temp` and `norm_temp` in every transformer block."""
    return [(name, parameter) for name, parameter in unet3d.named_parameters() if is_temporal(name)]


def is_temporal(name: str) -> bool:
    """Whether a parameter of that name belongs to `attn_temp` or `norm_temp`."""
    return ".attn_temp." in name or ".norm_temp." in name


def lora_layers(unet3d: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Names and layers that peft has wrapped."""
    return ((name, m) for name, m in unet3d.named_modules() if isinstance(m, LoraLayer))


def has_lora(unet3d: nn.Module) -> bool:
    """Whether the UNet has LoRA, from `add_lora` or `load_weights`."""
    return next(lora_layers(unet3d), None) is not None


def merge_lora(unet3d: nn.Module) -> None:
    """Merge LoRA into the base weights, for faster sampling; merged layers stay as they are."""
    for _, layer in lora_layers(unet3d):
        if not layer.merged:
            layer.merge()


def unmerge_lora(unet3d: nn.Module) -> None:
    """Undo `merge_lora`, up to rounding, for further training."""
    for _, layer in lora_layers(unet3d):
        if layer.merged:
            layer.unmerge()


@torch.no_grad()
def _init_kaiming_uniform(weight: torch.Tensor, generator: torch.Generator) -> None:
    """Kaiming's with a = sqrt(5), as peft does it, but the same on all devices."""
    bound = math.sqrt(1 / weight[0].numel())
    noise = torch.rand(weight.shape, generator=generator, device=generator.device)
    weight.copy_((2 * noise - 1) * bound)


def _levels(blocks: str | Sequence[str]) -> Sequence[str]:
    named = {"all": tuple(BLOCK_PREFIXES), "mid_up": ("mid", "up")}
    return named.get(blocks, (blocks,)) if isinstance(blocks, str) else blocks


def _check_options(rank: int, layers: str, targets: Sequence[str], blocks: Sequence[str]) -> None:
    if rank < 1:
        raise AnaMoDiffError(f"expected a LoRA rank of at least 1, got {rank}")
    if layers not in get_args(LoraLayers):
        raise AnaMoDiffError(f"expected LoRA layers 'attention' or 'all', got {layers!r}")
    if unknown := set(targets) - set(PROJECTIONS):
        raise AnaMoDiffError(f"expected targets among {PROJECTIONS}, got {sorted(unknown)}")
    if unknown := set(blocks) - set(BLOCK_PREFIXES):
        raise AnaMoDiffError(
            f"expected blocks 'all', 'mid_up' or some of {tuple(BLOCK_PREFIXES)}, "
            f"got {sorted(unknown)}"
        )
