"""A Stable Diffusion UNet for pictures inflated to one for clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anamodiff.diffusion import to_device
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import CheckpointLevels, GroupNormMode
from anamodiff.unet3d.blocks import (
    VideoResnetBlock,
    VideoTransformerBlock,
    clip_group_norm,
)
from anamodiff.unet3d.kv_cache import KeyValueCache


@dataclass(frozen=True)
class UNet3DOutput:
    """`sample`: the predicted noise or velocity, as the backbone was trained, b c f h w."""

    sample: Tensor


class UNet3D(nn.Module):
    """A UNet over clips: diffusers' blocks, with frames folded into the batch.

    Its state dict has the keys of the 2-D UNet plus `attn_temp.*` and `norm_temp.*` in every
    transformer block, which are those of Tune-A-Video. Build it with `inflate`.
    """

    def __init__(self, unet2d: UNet2DConditionModel, group_norm: GroupNormMode) -> None:
        """Wrap the modules of `unet2d`, whose blocks are video blocks already."""
        super().__init__()
        self.config: Mapping[str, Any] = unet2d.config
        self.group_norm = group_norm
        self.conv_in = unet2d.conv_in
        self.time_proj, self.time_embedding = unet2d.time_proj, unet2d.time_embedding
        self.down_blocks = unet2d.down_blocks
        self.mid_block = unet2d.mid_block
        self.up_blocks = unet2d.up_blocks
        self.conv_norm_out, self.conv_act = unet2d.conv_norm_out, unet2d.conv_act
        self.conv_out = unet2d.conv_out

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.conv_in.weight.device

    def checkpoint_gradients(self, levels: CheckpointLevels = "all") -> None:
        """Gradient checkpointing: keep only the blocks' inputs in training, recompute the rest.

        It is non-re-entrant: the re-entrant kind loses the gradients of every block whose input
        needs none, as in the published Tune-A-Video.

        Args:
            levels: "all"; "top", the level of the highest resolution, which saves the most memory
                for its share of the work; "none".

        Raises:
            AnaMoDiffError: another word.
        """
        if levels not in get_args(CheckpointLevels):
            raise AnaMoDiffError(f"expected levels 'none', 'top' or 'all', got {levels!r}")
        top = (self.down_blocks[0], self.up_blocks[-1])
        chosen = {"none": (), "top": top, "all": (self,)}[levels]
        inside = {module for part in chosen for module in part.modules()}
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = module in inside
                module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def forward(
        self,
        sample: Tensor,
        timestep: int | Tensor,
        encoder_hidden_states: Tensor,
        cache: KeyValueCache | None = None,
    ) -> UNet3DOutput:
        """Predict the noise (or velocity) in clips.

        Args:
            sample: noisy latents, b c f h w, in any precision.
            timestep: in [0, 1000): a number, a 0-d tensor, or one per clip (b,).
            encoder_hidden_states: prompt embeddings, b n d, one per clip, in any precision.
            cache: of the calls before this one, which adds its own keys and values.

        Raises:
            AnaMoDiffError: shapes do not fit each other, or there is a cache where gradients are
                recorded.
        """
        clips, frames = _check(sample, encoder_hidden_states)
        if cache is not None and torch.is_grad_enabled():
            raise AnaMoDiffError(
                "expected no cache where gradients are recorded, got one: call under "
                "torch.no_grad()"
            )
        text = encoder_hidden_states.to(self.dtype)
        hidden = rearrange(sample.to(self.dtype), "b c f h w -> (b f) c h w")
        # Channels last: pooled norms and the change to tokens are views, convolutions faster.
        hidden = self.conv_in(hidden.contiguous(memory_format=torch.channels_last))
        time = self._embed_time(timestep, clips, hidden)
        hidden = self._down_and_up(hidden, time, text, cache)
        hidden = self.conv_act(self._normalise_out(hidden, clips))
        hidden = rearrange(self.conv_out(hidden), "(b f) c h w -> b c f h w", f=frames)
        return UNet3DOutput(hidden)

    def _embed_time(self, timestep: int | Tensor, clips: int, like: Tensor) -> Tensor:
        if not isinstance(timestep, Tensor):  # filled on the device: a copy would wait for a GPU
            timestep = torch.full((), timestep, device=like.device)
        timestep = to_device(timestep, like.device).reshape(-1).expand(clips)
        return self.time_embedding(self.time_proj(timestep).to(like.dtype))  # b d

    def _down_and_up(
        self, hidden: Tensor, time: Tensor, text: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        prompt = {"encoder_hidden_states": text, "cross_attention_kwargs": {"cache": cache}}
        skips = [hidden]
        for block in self.down_blocks:
            hidden, residuals = block(hidden, time, **_prompt_of(block, prompt))
            skips.extend(residuals)
        hidden = self.mid_block(hidden, time, **prompt)
        for block in self.up_blocks:
            count = len(block.resnets)
            skips, own = skips[:-count], tuple(skips[-count:])
            # Upsampling alone would not restore odd sizes.
            size = skips[-1].shape[2:] if skips else None
            hidden = block(hidden, own, time, upsample_size=size, **_prompt_of(block, prompt))
        return hidden

    def _normalise_out(self, hidden: Tensor, clips: int) -> Tensor:
        pooled = self.group_norm == "pooled"
        return clip_group_norm(self.conv_norm_out, hidden, clips if pooled else len(hidden))


def inflate(unet2d: UNet2DConditionModel, group_norm: GroupNormMode = "pooled") -> UNet3D:
    """Inflate a UNet for pictures to one for clips (Tune-A-Video, section 4.1; paper, section 3.4).

    The modules of `unet2d` are reused without copying a weight, and its blocks are replaced: do not
    use it afterwards. Before training, the result on a single frame equals that of `unet2d`.

    Args:
        unet2d: a UNet of the Stable Diffusion 1.x kind, without adapters.
        group_norm: "pooled" takes the statistics of group norms over all frames of a clip, as
            Tune-A-Video does; "per_frame" over each frame.

    Raises:
        AnaMoDiffError: `unet2d` has parts that the inflated UNet would leave out.
    """
    if group_norm not in get_args(GroupNormMode):
        raise AnaMoDiffError(f"expected group_norm 'pooled' or 'per_frame', got {group_norm!r}")
    _check_kind(unet2d)
    for name, module in list(unet2d.named_modules()):
        if isinstance(module, ResnetBlock2D):
            unet2d.set_submodule(name, VideoResnetBlock(module, group_norm))
        elif isinstance(module, BasicTransformerBlock):
            unet2d.set_submodule(name, VideoTransformerBlock(module))
    return UNet3D(unet2d, group_norm).to(memory_format=torch.channels_last).train(unet2d.training)


def _prompt_of(block: nn.Module, prompt: dict[str, Any]) -> dict[str, Any]:
    return prompt if getattr(block, "has_cross_attention", False) else {}


def _check(sample: Tensor, text: Tensor) -> tuple[int, int]:
    if sample.ndim != 5:
        raise AnaMoDiffError(
            f"expected latents of shape b c f h w, got {tuple(sample.shape)}: add the missing "
            "dimension (a clip `f c h w` becomes `1 c f h w`)"
        )
    if text.ndim != 3 or len(text) != len(sample):
        raise AnaMoDiffError(
            f"expected one prompt embedding `n d` for each of {len(sample)} clips, got "
            f"{tuple(text.shape)}: repeat it per clip, not per frame"
        )
    return sample.shape[0], sample.shape[2]


def _check_kind(unet2d: UNet2DConditionModel) -> None:
    """Raise for parts that Stable Diffusion 1.x does not have and `UNet3D` would ignore."""
    config = unet2d.config
    plain = {
        "addition_embed_type": None,
        "attention_type": "default",
        "center_input_sample": False,
        "class_embed_type": None,
        "dual_cross_attention": False,
        "encoder_hid_dim_type": None,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "num_class_embeds": None,
        "only_cross_attention": False,
        "resnet_skip_time_act": False,
        "resnet_time_scale_shift": "default",
        "time_embedding_act_fn": None,
    }
    for key, value in plain.items():
        if config.get(key, value) != value:
            raise AnaMoDiffError(
                f"expected a UNet like Stable Diffusion 1.x ({key}={value!r}), got "
                f"{key}={config[key]!r}: choose another backbone"
            )
    blocks = {*config["down_block_types"], *config["up_block_types"]}
    known = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}
    if not blocks <= known:
        raise AnaMoDiffError(
            f"expected blocks of {sorted(known)}, got {sorted(blocks - known)}: "
            "choose another backbone"
        )
    if any("lora_" in name for name, _ in unet2d.named_parameters()):
        raise AnaMoDiffError(
            "expected a UNet without adapters, got one with LoRA: inflate first, then add LoRA"
        )
