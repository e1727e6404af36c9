"""Stable Diffusion with random weights, in the names and files in which it is published.

diffusers and transformers have renamed weights since: what they save today is not what people have.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel

KINDS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
STEMS = {"safetensors": ("diffusion_pytorch_model", "model")}
STEMS["bin"] = ("diffusion_pytorch_model", "pytorch_model")
VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
VAE_RENAMED = {
    r"\.down_blocks\.(\d+)\.resnets\.": r".down.\1.block.",
    r"\.down_blocks\.(\d+)\.downsamplers\.0\.": r".down.\1.downsample.",
    r"\.up_blocks\.(\d+)\.resnets\.": r".up.\1.block.",
    r"\.up_blocks\.(\d+)\.upsamplers\.0\.": r".up.\1.upsample.",
    r"\.mid_block\.resnets\.0\.": ".mid.block_1.",
    r"\.mid_block\.resnets\.1\.": ".mid.block_2.",
    r"\.mid_block\.attentions\.0\.": ".mid.attn_1.",
    r"attn_1\.group_norm\.": "attn_1.norm.",
    r"attn_1\.to_([qkv])\.": r"attn_1.\1.",
    r"attn_1\.to_out\.0\.": "attn_1.proj_out.",
    r"conv_norm_out": "norm_out",
    r"conv_shortcut": "nin_shortcut",
}


def published(part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a part in the names that the hub's repositories have for them."""
    if part == "text_encoder":
        state = {f"text_model.{name.removeprefix('text_model.')}": t for name, t in state.items()}
        length = len(state["text_model.embeddings.position_embedding.weight"])
        return state | {"text_model.embeddings.position_ids": torch.arange(length)[None]}
    if part == "vae":
        for new, old in VAE_ATTENTION.items():
            state = {
                re.sub(rf"(attentions\.0)\.{re.escape(new)}\.", rf"\1.{old}.", name): tensor
                for name, tensor in state.items()
            }
    return state


def publish(
    folder: Path, target: Path, *, variant: str | None = None, ending: str = "safetensors"
) -> Path:
    """Rewrite a folder that the libraries saved as the hub's repositories are."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".safetensors", ".bin"):
            (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(folder))
    if (folder / "lofnet").is_dir():
        shutil.copytree(folder / "lofnet", target / "lofnet", dirs_exist_ok=True)
    for part, kind in KINDS.items():
        state = published(part, kind.from_pretrained(folder / part).state_dict())
        if variant == "fp16":
            state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
        stem = STEMS[ending][part == "text_encoder"]
        file = target / part / f"{stem}{f'.{variant}' if variant else ''}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if ending == "bin":
            torch.save(state, file)
        else:
            save_file({n: t.contiguous() for n, t in state.items()}, file, {"format": "pt"})
    return target


def compvis(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder as one of CompVis' checkpoints has them."""
    state = {}
    for part, kind in KINDS.items():
        model = kind.from_pretrained(folder / part)
        names = compvis_names(part, model)
        for name, tensor in model.state_dict().items():
            state[names[name]] = as_published(names[name], tensor)
    return state


def compvis_names(part: str, model: nn.Module) -> dict[str, str]:
    """What CompVis' checkpoints call each weight of a part."""
    names = {}
    for name in model.state_dict():
        if part == "unet":
            names[name] = f"model.diffusion_model.{_unet_name(name, model.config)}"
        elif part == "vae":
            levels = len(model.config.block_out_channels)
            names[name] = f"first_stage_model.{_vae_name(name, levels)}"
        else:
            text = f"text_model.{name.removeprefix('text_model.')}"
            names[name] = f"cond_stage_model.transformer.{text}"
    return names


def as_published(name: str, tensor: Tensor) -> Tensor:
    """The autoencoder's attention consists of 1x1 convolutions there."""
    return tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor


def _unet_name(name: str, config: Mapping[str, Any]) -> str:
    for new, old in UNET_ENDS.items():
        if name.startswith(f"{new}."):
            rest = name.removeprefix(f"{new}.")
            return f"{old}.{_resnet(rest) if 'resnets' in new else rest}"
    side, level, kind, index, rest = re.match(
        r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name
    ).groups()
    level, index, layers = int(level), int(index), config["layers_per_block"]
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":  # after the attention, where the level has one
        place = 2 if "CrossAttn" in config["up_block_types"][level] else 1
        return f"output_blocks.{level * (layers + 1) + layers}.{place}.{rest}"
    number = level * (layers + 1) + index + (side == "down")
    start = f"{'input' if side == 'down' else 'output'}_blocks.{number}"
    return f"{start}.0.{_resnet(rest)}" if kind == "resnets" else f"{start}.1.{rest}"


def _resnet(rest: str) -> str:
    layer, _, kind = rest.partition(".")
    return f"{UNET_RESNET[layer]}.{kind}"


def _vae_name(name: str, levels: int) -> str:
    for new, old in VAE_RENAMED.items():
        name = re.sub(new, old, name)
    # Counted from the other end there.
    return re.sub(r"\.up\.(\d+)\.", lambda found: f".up.{levels - 1 - int(found[1])}.", name)


def scheduler(folder: Path, **changes: object) -> None:
    """Change a folder's noise schedule."""
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
