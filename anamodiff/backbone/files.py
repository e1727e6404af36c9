"""What folders of Stable Diffusion and of CLIP consist of, and which models are refused, by name.

Reads file names and configurations only: no weights, no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError

# Names of weight files, as safetensors and as torch's own, without variant and ending.
STEMS = {
    "vae": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "unet": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "text_encoder": ("model", "pytorch_model"),
}
MODEL_PARTS = tuple(STEMS)
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
# Channels of a UNet's input, and what they are for.
INPUTS = {
    5: "a depth model",
    7: "an upscaler",
    8: "an InstructPix2Pix model",
    9: "an inpainting model",
}
CURE = "give a text-to-image model of Stable Diffusion 1.x, such as CompVis/stable-diffusion-v1-4"


@dataclass(frozen=True)
class WeightFiles:
    """Weights of one part: names within its folder, and the libraries' arguments to load them."""

    files: tuple[str, ...]
    variant: str | None
    safetensors: bool


def weight_files(part: str, names: Iterable[str], *, half: bool) -> WeightFiles:
    """Which weights of a part to take: safetensors before torch's own, then what suits `half`.

    Args:
        part: `vae`, `unet` or `text_encoder`.
        names: of the folder's files, relative to it.
        half: whether the model will compute in 16 bits; the other width is taken where its own is
            missing.

    Raises:
        LookupError: there are none, with the first name that was looked for.
    """
    own = {name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")}
    variants = ("fp16", None) if half else (None, "fp16")
    for safetensors, stem in zip((True, False), STEMS[part], strict=True):
        end = "safetensors" if safetensors else "bin"
        for variant in variants:
            whole = f"{stem}.{variant}.{end}" if variant else f"{stem}.{end}"
            if whole in own:
                return WeightFiles((whole,), variant, safetensors)
            shards = tuple(sorted(n for n in own if n.startswith(f"{stem}-") and n.endswith(end)))
            if variant is None and f"{stem}.{end}.index.json" in own and shards:
                return WeightFiles((*shards, f"{stem}.{end}.index.json"), None, safetensors)
    raise LookupError(f"{part}/{STEMS[part][0]}.safetensors")


def backbone_files(names: Iterable[str], *, half: bool) -> list[str]:
    """The files of a backbone that are needed, from the names of all.

    Raises:
        LookupError: some are missing, with the first one's name.
        AnaMoDiffError: the names are those of another kind of model.
    """
    names = sorted(names)
    check_names(names)
    wanted = [name for name in names if name in ("model_index.json", "anamodiff.json")]
    for part in MODEL_PARTS:
        wanted += [_needed(names, f"{part}/config.json")]
        wanted += [f"{part}/{file}" for file in weight_files(part, names, half=half).files]
    wanted += [name for name in names if name.startswith("lofnet/")]
    return [*wanted, _needed(names, "scheduler/scheduler_config.json"), *tokenizer_files(names)]


def tokenizer_files(names: Iterable[str], folder: str = "tokenizer") -> list[str]:
    """The files of a tokenizer.

    Raises:
        LookupError: its vocabulary is missing.
    """
    start = f"{folder}/" if folder else ""
    own = [n for n in names if n.startswith(start) and "/" not in n[len(start) :]]
    if not any(all(f"{start}{file}" in own for file in files) for files in TOKENIZER_FILES):
        raise LookupError(f"{start}vocab.json and {start}merges.txt, or {start}tokenizer.json")
    kinds = {"vocab.json", "merges.txt"} | {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
    }  # fmt: skip
    return [name for name in own if name[len(start) :] in kinds]


def clip_model_files(names: Iterable[str]) -> list[str]:
    """The files of a CLIP model that are needed: safetensors, else torch's own weights.

    Raises:
        LookupError: some are missing, with the first one's name.
    """
    own = sorted(name for name in names if "/" not in name)
    for name in ("config.json", "preprocessor_config.json"):
        _needed(own, name)
    tokenizer_files(own, "")
    small = [name for name in own if name.endswith((".json", ".txt"))]
    safe = [name for name in own if name.startswith("model") and name.endswith(".safetensors")]
    weights = safe or [name for name in own if name == "pytorch_model.bin"]
    if not weights:
        raise LookupError("model.safetensors")
    return small + weights


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no Stable Diffusion 1.x, by what its configurations say it is.

    Configurations that are missing say nothing: `backbone_files` names what is missing.

    Raises:
        AnaMoDiffError: it is SDXL, an inpainting model and so on, or its parts do not fit.
    """
    unet, vae, text, index = (
        read_json(folder / name)
        for name in ("unet/config.json", "vae/config.json", "text_encoder/config.json",
                     "model_index.json")
    )  # fmt: skip
    if unet is None:
        return
    pipeline = str((index or {}).get("_class_name", ""))
    if "XL" in pipeline or unet.get("addition_embed_type") == "text_time":
        raise wrong_model(folder, "Stable Diffusion XL (SDXL)")
    latents, channels = (vae or {}).get("latent_channels", 4), unet.get("in_channels", 4)
    if channels != latents:
        kind = INPUTS.get(channels, "another model")
        detail = f"its UNet takes {channels} channels, its latents have {latents}"
        raise wrong_model(folder, kind, detail)
    if unet.get("out_channels", 4) != latents:
        detail = f"its UNet gives {unet['out_channels']} channels, its latents have {latents}"
        raise wrong_model(folder, "another model", detail)
    if not isinstance(unet.get("sample_size"), int):
        raise wrong_model(
            folder, "a model without one square size", "unet/config.json: sample_size"
        )
    width = (text or {}).get("hidden_size", 512)
    if text is not None and unet.get("cross_attention_dim", 1280) != width:
        detail = (
            f"its UNet wants prompts of width {unet.get('cross_attention_dim', 1280)}, its text "
            f"encoder gives {width}"
        )
        raise wrong_model(folder, _kind_of_unet(unet), detail)


def check_names(names: Iterable[str]) -> None:
    """Refuse other kinds of model that file names give away.

    Raises:
        AnaMoDiffError: it is one.
    """
    folders = {name.partition("/")[0] for name in names if "/" in name}
    if "transformer" in folders and "unet" not in folders:
        raise wrong_model("it", "a diffusion transformer (Stable Diffusion 3, FLUX and others)")
    if "text_encoder_2" in folders:
        raise wrong_model("it", "Stable Diffusion XL (SDXL)")


def wrong_model(what: object, kind: str, detail: str = "") -> AnaMoDiffError:
    """The error for a model of another kind."""
    why = f" ({detail})" if detail else ""
    return AnaMoDiffError(f"{what} cannot be the backbone: this is {kind}{why}; {CURE}")


def _kind_of_unet(unet: Mapping[str, Any]) -> str:
    widths: dict[Any, str] = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}
    known = widths.get(unet.get("cross_attention_dim"))
    return f"{known} with another's text encoder" if known else "another model"


def _needed(names: list[str], name: str) -> str:
    if name not in names:
        raise LookupError(name)
    return name


def read_json(file: Path) -> dict[str, Any] | None:
    """A configuration; None where there is no such file.

    Raises:
        AnaMoDiffError: it is none.
    """
    if not file.is_file():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise AnaMoDiffError(
            f"expected a configuration, but {file} is no JSON ({error}): fetch it again"
        ) from error
