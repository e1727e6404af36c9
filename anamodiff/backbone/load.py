"""Strict loading of the parts of Stable Diffusion, from a folder or from one file.

Weights are safetensors, or torch's own files read as tensors only: no code in a file is run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch.serialization import safe_globals
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.backbone import files, hub
from anamodiff.backbone.libraries import without_loading_bars
from anamodiff.errors import AnaMoDiffError, shorten
from anamodiff.tensors import not_finite, read_tensors

logger = logging.getLogger(__name__)

#: Configurations of Stable Diffusion 1.x, for files that bring none.
SD1 = Path(__file__).parent / "sd1"
KINDS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
UNET, TEXT_ENCODER = "model.diffusion_model.", "cond_stage_model."
# Of each part, a weight that every checkpoint of Stable Diffusion 1.x has.
SIGNS = {
    "UNet": f"{UNET}input_blocks.0.0.weight",
    "autoencoder": "first_stage_model.decoder.conv_in.weight",
    "text encoder": f"{TEXT_ENCODER}transformer.text_model.embeddings.position_embedding.weight",
}
TOKENIZER_REPOSITORIES = (  # repositories of CLIP's tokenizer, and where in them it is
    (hub.SHORT_NAMES["sd14"], "tokenizer"),
    ("openai/clip-vit-large-patch14", ""),
    (hub.SHORT_NAMES["clip"], ""),
)


@dataclass(frozen=True)
class Parts:
    """Models on the CPU, the scheduler's configuration, and the weight files by their names."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Mapping[str, Any]
    files: Mapping[str, Path]


def load_folder(folder: Path, dtype: torch.dtype) -> Parts:
    """Read a diffusers folder that has all parts, in the weights that suit `dtype` best.

    Raises:
        AnaMoDiffError: it is another kind of model, or a file is missing or damaged.
    """
    names, half = hub.names_in(folder), dtype != torch.float32
    files.check_folder(folder)
    chosen = {part: files.weight_files(part, names, half=half) for part in KINDS}
    if not half and any(weights.variant for weights in chosen.values()):
        logger.info("weights of %s are here only in 16 bits: computing with those", folder)
    with _one_line(folder), without_loading_bars():
        models = {part: _load_part(folder, part, own, dtype) for part, own in chosen.items()}
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        scheduler = _read(folder / "scheduler" / "scheduler_config.json")
    paths = {f"{part}/{n}": folder / part / n for part, own in chosen.items() for n in own.files}
    return Parts(**models, tokenizer=tokenizer, scheduler=scheduler, files=paths)


def load_vae(folder: Path, dtype: torch.dtype) -> tuple[AutoencoderKL, Mapping[str, Path]]:
    """Read the autoencoder of a diffusers folder alone, and its weight files by their names.

    Raises:
        AnaMoDiffError: it is missing or damaged.
    """
    with _one_line(folder):
        half = dtype != torch.float32
        weights = files.weight_files("vae", hub.names_in(folder), half=half)
        vae = _load_part(folder, "vae", weights, dtype)
    return vae, {f"vae/{name}": folder / "vae" / name for name in weights.files}


def _load_part(folder: Path, part: str, weights: files.WeightFiles, dtype: torch.dtype) -> Any:
    """One model of a diffusers folder, whole."""
    width = "dtype" if part == "text_encoder" else "torch_dtype"
    model, info = KINDS[part].from_pretrained(
        folder, subfolder=part, variant=weights.variant, use_safetensors=weights.safetensors,
        local_files_only=True, output_loading_info=True, **{width: dtype},
    )  # fmt: skip
    _check_whole(f"{folder}/{part}", info["missing_keys"])
    _check_finite(f"{folder}/{part}", model)
    return model


def load_file(file: Path, dtype: torch.dtype) -> Parts:
    """Read one file of Stable Diffusion 1.x in CompVis' layout, through diffusers' converter.

    Configurations and tokenizer are those in the folder where the file is, if it has them; else
    those of Stable Diffusion 1.x, and CLIP's tokenizer from the hub's cache.

    Raises:
        AnaMoDiffError: it is another kind of model, a part is missing, or the tokenizer is.
    """
    # Importing it takes a while, and makes transformers complain that torchvision is not here.
    from diffusers import StableDiffusionPipeline

    with safe_globals(_stand_ins(file)):
        shapes = _shapes(file)
        beside = (file.parent / "model_index.json", file.parent / "unet" / "config.json")
        configs = file.parent if all(path.is_file() for path in beside) else SD1
        _check_shapes(file, shapes, _read(configs / "unet" / "config.json"))
        tokenizer = CLIPTokenizer.from_pretrained(_tokenizer_folder(file), local_files_only=True)
        with _one_line(file), without_loading_bars():
            pipeline = StableDiffusionPipeline.from_single_file(
                str(file), config=str(configs), tokenizer=tokenizer,
                safety_checker=None, feature_extractor=None, torch_dtype=dtype,
                local_files_only=True, extract_ema=True,
            )  # fmt: skip
    models = {name: getattr(pipeline, name) for name in ("vae", "unet", "text_encoder")}
    for name, model in models.items():
        _check_whole(f"{file} ({name})", [n for n, p in model.named_parameters() if p.is_meta])
        _check_finite(f"{file} ({name})", model)
    scheduler = _read(configs / "scheduler" / "scheduler_config.json")
    return Parts(**models, tokenizer=tokenizer, scheduler=scheduler, files={file.name: file})


def _tokenizer_folder(file: Path) -> Path:
    """The tokenizer's folder: beside the file, or in the hub's cache."""
    for inner in ("tokenizer", ""):
        with suppress(LookupError):
            files.tokenizer_files(
                [
                    path.relative_to(file.parent).as_posix()
                    for path in (file.parent / inner).glob("*")
                ],
                inner,
            )
            return file.parent / inner
    for repository, inner in TOKENIZER_REPOSITORIES:
        found = hub.find_cached(repository, lambda names, i=inner: files.tokenizer_files(names, i))
        if found is not None:
            return found / inner
    repositories = ", ".join(repository for repository, _ in TOKENIZER_REPOSITORIES)
    raise AnaMoDiffError(
        f"{file} brings no tokenizer: expected vocab.json and merges.txt in "
        f"{file.parent / 'tokenizer'}, or {repositories} in {hub.cache_folder('x/y').parent}, "
        "found none: run anamodiff fetch tokenizer (2 MB)"
    )


def _check_shapes(file: Path, shapes: Mapping[str, tuple[int, ...]], unet: dict[str, Any]) -> None:
    """Refuse by name what is no Stable Diffusion 1.x."""
    starts = {name.partition(".")[0] for name in shapes}
    if "conditioner" in starts:
        raise files.wrong_model(file, "Stable Diffusion XL (SDXL)")
    if any(n.startswith((f"{UNET}joint_blocks", f"{UNET}double_blocks")) for n in shapes):
        raise files.wrong_model(
            file, "a diffusion transformer (Stable Diffusion 3, FLUX and others)"
        )
    if any(n.startswith(f"{TEXT_ENCODER}model.") for n in shapes):
        raise files.wrong_model(
            file, "Stable Diffusion 2.x in one file", "its diffusers folder can be used"
        )
    if any("lora_" in name for name in shapes):
        raise files.wrong_model(file, "LoRA, weights that are added to a model")
    for part, sign in SIGNS.items():
        if sign not in shapes:
            raise AnaMoDiffError(
                f"expected a whole Stable Diffusion 1.x in {file}, got it without {part} "
                f"({sign}): {files.CURE}"
            )
    channels = shapes[SIGNS["UNet"]][1]
    if channels != unet.get("in_channels", 4):
        kind = files.INPUTS.get(channels, "another model")
        raise files.wrong_model(file, kind, f"its UNet takes {channels} channels")


class _Inert:
    """Stands for a class of the training program in a checkpoint: takes anything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def _stand_ins(file: Path) -> list[Any]:
    """Stand-ins for classes of PyTorch Lightning, which the original checkpoints name as keys."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # safetensors, torch's oldest format, or broken: reading it says so
        return []
    return [(_Inert, name) for name in names if name.startswith("pytorch_lightning.")]


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor in a file, without reading the numbers where that works."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}
        state = read_tensors(file, mmap=True)
    except Exception as error:  # both libraries raise a dozen kinds for broken and unsafe files
        raise AnaMoDiffError(
            f"{file} is broken or holds more than tensors ({type(error).__name__}), and code in a "
            "file is never run: fetch it again, or take a .safetensors file"
        ) from error
    while isinstance(state, Mapping) and "state_dict" in state:
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise AnaMoDiffError(f"expected tensors by name in {file}, got {type(state).__name__}")
    return {name: tuple(t.shape) for name, t in state.items() if isinstance(t, torch.Tensor)}


def _check_whole(what: str, missing: Iterable[str]) -> None:
    """Refuse weights that the libraries would leave random."""
    if missing := sorted(missing):
        raise AnaMoDiffError(
            f"expected all weights of {what}, got it without {missing[0]} and {len(missing) - 1} "
            "more: fetch it again"
        )


def _check_finite(what: str, model: torch.nn.Module) -> None:
    """Refuse weights with which nothing can be computed."""
    if name := not_finite(model.named_parameters()):
        raise AnaMoDiffError(
            f"expected finite weights of {what}, got NaN or infinity in {name}: fetch it again"
        )


@contextmanager
def _one_line(what: Path) -> Iterator[None]:
    """Turn what the libraries raise for files that are damaged or do not fit into one line."""
    try:
        yield
    except AnaMoDiffError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, LookupError, SafetensorError,
            UnpicklingError) as error:  # fmt: skip
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AnaMoDiffError(
            f"expected a backbone in {what}, but it cannot be loaded, got: {shorten(first, 300)}: "
            "fetch it again or give another"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    found = files.read_json(file)
    if found is None:
        raise AnaMoDiffError(f"expected a configuration in {file}, found no such file: fetch it")
    return found
