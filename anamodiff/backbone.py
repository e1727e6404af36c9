"""A Stable Diffusion folder: autoencoder, UNet, text encoder, tokenizer and noise schedule.

One format, two sizes (the paper's SD v1.4 and the embedded `mini`): nothing here asks which it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.config import find
from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError

log = logging.getLogger(__name__)

PAPER = "CompVis/stable-diffusion-v1-4"
MINI = "mini"
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = ("vae", "unet", "text_encoder")


class Backbone:
    """The frozen models that every part shares.

    Latents are `f c h w`, already multiplied by the autoencoder's scaling factor. With `offload`,
    each part waits in main memory and is on the device only `at_work`; the UNet always waits, for
    it is copied before it works.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        schedule: Schedule,
        *,
        folder: Path,
        frames_at_once: int = 4,
        device: torch.device | None = None,
        offload: bool = False,
    ) -> None:
        self.device = unet.device if device is None else device
        self.home = torch.device("cpu") if offload else self.device
        self.vae, self.unet, self.text_encoder = (
            part.eval().requires_grad_(False).to(self.home) for part in (vae, unet, text_encoder)
        )
        self.tokenizer = tokenizer
        self.schedule = schedule
        self.folder = folder
        self.frames_at_once = frames_at_once

    @classmethod
    def load(
        cls,
        name: str | Path = "auto",
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        offload: bool = False,
        frames_at_once: int = 4,
    ) -> Backbone:
        """Load a diffusers folder, a hub id, `mini`, or `auto`.

        `offload` keeps idle parts in main memory; the autoencoder takes `frames_at_once`.
        Raises `AnaMoDiffError` where the folder is incomplete or not like Stable Diffusion 1.x.
        """
        device = choose_device(device)
        dtype = choose_precision(precision, device)
        if str(name) == "auto":
            name, reason = _choose_backbone(device)
            log.info("backbone: %s (%s)", name, reason)
        folder = locate(name)
        try:
            options = {"torch_dtype": dtype, "local_files_only": True}
            vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", **options)
            unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options)
            text = CLIPTextModel.from_pretrained(
                folder, subfolder="text_encoder", dtype=dtype, local_files_only=True
            )
            tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
        except (OSError, ValueError, TypeError) as error:
            first = str(error).strip().splitlines()[0]
            raise AnaMoDiffError(f"the backbone {folder} cannot be loaded: {first}") from error
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        _check_like_sd1(folder, vae, unet, text)
        return cls(
            vae, unet, text, tokenizer, Schedule.from_config(config), folder=folder,
            frames_at_once=frames_at_once, device=device, offload=offload,
        )  # fmt: skip

    @contextmanager
    def at_work(self, part: nn.Module) -> Iterator[nn.Module]:
        """`part` on the device, and back home afterwards."""
        try:
            yield part.to(self.device)
        finally:
            part.to(self.home)

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def reduction(self) -> int:
        """Pixels along one latent's side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_size(self) -> int:
        """Latents along a frame's side."""
        return int(self.unet.config.sample_size)

    @property
    def image_size(self) -> int:
        """Pixels along a frame's side."""
        return self.latent_size * self.reduction

    @cached_property
    def settings(self) -> dict:
        """What the folder recommends for itself (`anamodiff.json`), empty where it says nothing."""
        path = self.folder / "anamodiff.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def options(self, kind: type, given: Any, name: str) -> Any:
        """Options of a stage: what is given, else recommended for `name`, else `kind`'s own.

        `given` is a `kind`, a mapping of some of its fields (None entries count as not given), or
        None.
        """
        if isinstance(given, kind):
            return given
        chosen = dict(self.settings.get(name, {}))
        chosen.update({key: value for key, value in (given or {}).items() if value is not None})
        return kind(**chosen)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each weight file, by its path inside the folder."""
        files = [f for part in WEIGHTS for f in sorted((self.folder / part).glob("*.safetensors"))]
        return {str(f.relative_to(self.folder)): file_hash(f) for f in files}

    @property
    def hash(self) -> str:
        """One short name for the weights that decide the latents: the autoencoder's."""
        own = {name: value for name, value in self.hashes.items() if name.startswith("vae")}
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Latents f c h w (float32) of frames f 3 H W in [-1, 1]: the posterior's mode, scaled."""
        with self.at_work(self.vae) as vae:
            parts = [
                vae.encode(part.to(self.device, self.dtype)).latent_dist.mode()
                for part in frames.split(self.frames_at_once)
            ]
        return torch.cat(parts).float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Frames f 3 H W in [-1, 1] (float32) of scaled latents f c h w."""
        latents = latents / self.vae.config.scaling_factor
        with self.at_work(self.vae) as vae:
            parts = [
                vae.decode(part.to(self.device, self.dtype)).sample
                for part in latents.split(self.frames_at_once)
            ]
        return torch.cat(parts).float().clamp(-1, 1)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings b n d (float32). A prompt beyond the model's length is cut, and said."""
        limit = self.tokenizer.model_max_length
        tokens = self.tokenizer(list(prompts), truncation=False)["input_ids"]
        for prompt, ids in zip(prompts, tokens, strict=True):
            if len(ids) > limit:
                log.warning("prompt cut from %d to %d tokens: %r", len(ids), limit, prompt)
        padded = self.tokenizer(
            list(prompts), padding="max_length", max_length=limit, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        with self.at_work(self.text_encoder) as encoder:
            return encoder(padded["input_ids"].to(self.device)).last_hidden_state.float()


def choose_device(device: str | torch.device) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU."""
    if str(device) != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise AnaMoDiffError(
                f"expected a device such as auto, cpu, cuda or cuda:0, got {device!r}"
            ) from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise AnaMoDiffError(f"device {device} asked for, but no CUDA device is here: use cpu")
        return chosen
    if torch.cuda.is_available():
        # Each process of `accelerate launch` has a GPU of its own.
        local = os.environ.get("LOCAL_RANK")
        return torch.device("cuda" if local is None else f"cuda:{local}")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is half precision on GPUs (bf16 where the GPU has it) and fp32 on CPUs."""
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if precision not in names:
        raise AnaMoDiffError(f"expected precision auto, {', '.join(names)}, got {precision!r}")
    return names[precision]


def locate(name: str | Path) -> Path:
    """The folder of a backbone: `mini`, a path, or a hub id (fetched once, then cached)."""
    if str(name) == MINI:
        return _complete(find("checkpoints/mini"))
    path = Path(name).expanduser()
    if path.is_dir():
        return _complete(path)
    if len(path.parts) != 2 or str(name).startswith((".", "/", "~")):
        raise AnaMoDiffError(
            f"expected a backbone folder, a hub id (owner/name) or 'mini', got {str(name)!r}, "
            "which is no folder here"
        )
    return _complete(_fetch(str(name)))


def _fetch(repository: str) -> Path:
    """Fetch a hub repository's diffusers files, safetensors only; resumable, cached by the hub."""
    from huggingface_hub import snapshot_download

    wanted = ["model_index.json"]
    wanted += [f"{part}/*.{end}" for part in PARTS for end in ("json", "txt", "safetensors")]
    unwanted = ["*.fp16.safetensors", "*non_ema*"]
    try:
        return Path(snapshot_download(repository, allow_patterns=wanted, ignore_patterns=unwanted))
    except Exception as error:  # the hub client raises its own, requests' and httpx' kinds
        raise AnaMoDiffError(
            f"backbone {repository} is not cached here and could not be fetched "
            f"({type(error).__name__}): go online, give a local folder, or use --backbone mini"
        ) from error


def _choose_backbone(device: torch.device) -> tuple[str, str]:
    """SD v1.4 on a CUDA machine that has it or can fetch it, else the embedded one; and why."""
    if device.type != "cuda":
        return MINI, f"device is {device.type}; {PAPER} wants a CUDA GPU"
    try:
        _fetch(PAPER)
    except AnaMoDiffError:
        return MINI, f"{PAPER} is neither cached nor to be fetched here"
    return PAPER, "CUDA device found"


def _complete(folder: Path) -> Path:
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise AnaMoDiffError(
            f"expected a diffusers folder with {', '.join(PARTS)}, got {folder} without "
            f"{', '.join(missing)}: give a complete Stable Diffusion 1.x folder"
        )
    return folder


def _check_like_sd1(
    folder: Path, vae: AutoencoderKL, unet: UNet2DConditionModel, text: CLIPTextModel
) -> None:
    """Refuse what has the same file layout but another method (inpainting, SD 2 sizes, SDXL)."""
    latents, width = vae.config.latent_channels, text.config.hidden_size
    if unet.config.in_channels != latents or unet.config.out_channels != latents:
        raise AnaMoDiffError(
            f"expected a UNet on {latents} latent channels, got {unet.config.in_channels} in "
            f"{folder}: inpainting and depth models cannot be used, take a text-to-image one"
        )
    if unet.config.cross_attention_dim != width or unet.config.addition_embed_type is not None:
        raise AnaMoDiffError(
            f"expected a UNet conditioned on one text encoder of width {width}, got "
            f"{unet.config.cross_attention_dim} in {folder}: only Stable Diffusion 1.x works"
        )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
