"""The models of a transfer: a backbone, and a flow network that fits its latents or has a proxy."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anamodiff.backbone import files, hub
from anamodiff.backbone.autoencoder import Encoder
from anamodiff.backbone.find import (
    MINI,
    choose_backbone,
    find_backbone,
    folder_of,
    name_of,
)
from anamodiff.backbone.load import Parts
from anamodiff.backbone.memory import Memory, choose_memory
from anamodiff.backbone.model import Backbone, choose_device
from anamodiff.backbone.precision import choose_precision
from anamodiff.backbone.size import Size
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.skeletal import FOLDER as SKELETAL
from anamodiff.lofnet.skeletal import SkeletalNetworks
from anamodiff.options import MemoryOptions
from anamodiff.resources import find

logger = logging.getLogger(__name__)

FOLDER = "lofnet"  # beside a backbone


@dataclass(frozen=True)
class FlowNetwork:
    """A LOFNet and where it was loaded from.

    Attributes:
        proxy: the embedded backbone's encoder, where the network sees its latents in the place of
            the backbone's own.
        skeletal: networks of motion by skeletons; none beside a network of one's own.
    """

    lofnet: LOFNet
    folder: Path
    proxy: Encoder | None = None
    skeletal: SkeletalNetworks | None = None


@dataclass(frozen=True)
class Models:
    """What a transfer computes with."""

    backbone: Backbone
    flow: FlowNetwork
    memory: Memory


def load_models(
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    size: Size | None = None,
) -> Models:
    """Load a backbone and a flow network; what can be checked is, before anything large is fetched.

    Args:
        backbone: as for `Backbone.load`.
        lofnet: folder of a LOFNet for the backbone's latents; `mini`, the embedded one, which sees
            the embedded autoencoder's latents of the same frames; None for the one beside the
            backbone, else `mini`.
        memory: options, or a mapping of some of them.
        size: as for `Backbone.load`.

    Raises:
        AnaMoDiffError: a model is missing or of other latents, or a setting is wrong.
    """
    own = memory if isinstance(memory, MemoryOptions) else MemoryOptions.build(memory)
    place = choose_device(device)
    dtype = choose_precision(precision, place)
    named = _named_network(lofnet)

    def check(folder: Path) -> None:
        if named is not None:
            check_config(named, folder)

    if str(backbone) == "auto":
        backbone = _auto(place, dtype, named, check)
    chosen = choose_memory(place, own)
    folder = find_backbone(backbone, half=dtype != torch.float32, check=check)
    flow = named or _find_flow_network(folder, place, beside=lofnet is None)
    check_config(flow, folder)
    loaded = Backbone.load(
        folder, device=place, precision=precision, offload=chosen.offload,
        frames_at_once=chosen.frames_at_once, size=size,
    )  # fmt: skip
    return _fitting(loaded, flow, chosen, lofnet)


def models_around(
    parts: Parts,
    folder: Path,
    lofnet: str | Path | None = None,
    *,
    device: torch.device,
    precision: str | None = None,
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    size: Size | None = None,
) -> Models:
    """`load_models` for a backbone whose parts are in memory, such as a pipeline's of diffusers.

    Args:
        folder: where they were loaded from, for what lies beside them.
        precision: as for `Backbone.of`.
        size: as for `Backbone.load`.

    Raises:
        AnaMoDiffError: the flow network is missing or of other latents, or a setting is wrong.
    """
    own = memory if isinstance(memory, MemoryOptions) else MemoryOptions.build(memory)
    chosen = choose_memory(device, own)
    flow = _named_network(lofnet) or _find_flow_network(folder, device, beside=lofnet is None)
    check_config(flow, folder)
    backbone = Backbone.of(
        parts, folder, device=device, precision=precision, offload=chosen.offload,
        frames_at_once=chosen.frames_at_once, size=size,
    )  # fmt: skip
    return _fitting(backbone, flow, chosen, lofnet)


def _named_network(lofnet: str | Path | None) -> FlowNetwork | None:
    """A network of the user's own."""
    if lofnet is None or str(lofnet) == MINI:
        return None
    return FlowNetwork(LOFNet.load(lofnet), Path(lofnet))


def _fitting(
    backbone: Backbone, flow: FlowNetwork, memory: Memory, lofnet: str | Path | None
) -> Models:
    """The models, if the network is for the backbone's latents."""
    check_latents(flow, backbone)
    if flow.proxy is not None:
        why = f"{backbone.name} has none of its own" if lofnet is None else f"--lofnet {MINI}"
        logger.info("flow network: the embedded one, on its own autoencoder's latents (%s)", why)
    return Models(backbone, flow, memory)


def _auto(
    device: torch.device, dtype: torch.dtype, named: FlowNetwork | None,
    check: Callable[[Path], None],
) -> str:  # fmt: skip
    """Which backbone `auto` is; the embedded one where a network for it is named."""
    if named is not None and named.lofnet.latents is not None:
        config = find("checkpoints/mini") / "vae" / "config.json"
        if named.lofnet.latents.may_be_of(json.loads(config.read_text(encoding="utf-8"))):
            logger.info("backbone: %s (the LOFNet in %s is for its latents)", MINI, named.folder)
            return MINI
    return choose_backbone(device, dtype, check=check)


def _find_flow_network(backbone: Path, device: torch.device, *, beside: bool) -> FlowNetwork:
    """The network beside a backbone, else the embedded one with its own encoder.

    Args:
        beside: False takes the embedded one in any case.
    """
    own, embedded = folder_of(backbone), find("checkpoints/mini")
    skeletal = SkeletalNetworks.load(find(SKELETAL))
    if own == embedded or (beside and (own / FOLDER).is_dir()):
        return FlowNetwork(LOFNet.load(own / FOLDER), own / FOLDER, skeletal=skeletal)
    lofnet = LOFNet.load(embedded / FOLDER)
    return FlowNetwork(lofnet, embedded / FOLDER, Encoder.load(embedded, device), skeletal)


def check_config(flow: FlowNetwork, folder: Path) -> None:
    """Refuse a network whose latents cannot be those of the backbone in `folder`.

    The backbone's configuration is enough: its weights need not be here yet.

    Raises:
        AnaMoDiffError: they cannot.
    """
    path = folder / "vae" / "config.json"
    config, latents = files.read_json(path), flow.lofnet.latents
    if flow.proxy is not None or config is None:  # of one file of all, `check_latents` decides
        return
    channels = flow.lofnet.config["dense_motion"]["num_channels"]
    fits = latents is None or latents.may_be_of(config)
    if config.get("latent_channels", 4) != channels or not fits:
        raise _foreign(flow, folder)


def check_latents(flow: FlowNetwork, backbone: Backbone) -> None:
    """Refuse a network that was trained for other latents than the backbone's.

    Raises:
        AnaMoDiffError: it was.
    """
    latents = flow.lofnet.latents
    if flow.proxy is None and latents is not None and not latents.fits(backbone.latent_space):
        raise _foreign(flow, backbone.folder)


def _foreign(flow: FlowNetwork, backbone: Path) -> AnaMoDiffError:
    """The error for a network of other latents than those of the backbone in a folder or file."""
    latents = flow.lofnet.latents
    own = "others" if latents is None else f"those of {latents.backbone}"
    again = shlex.quote(hub.id_of(backbone) or str(backbone))
    return AnaMoDiffError(
        f"expected a LOFNet for the latents of {name_of(backbone)}, got one for {own} in "
        f"{flow.folder}: name --lofnet {MINI}, the embedded one, which serves any backbone, or "
        f"train one with anamodiff train-lofnet --data CLIPS --backbone {again}"
    )
