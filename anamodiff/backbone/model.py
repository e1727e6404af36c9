"""A Stable Diffusion model: autoencoder, UNet, text encoder, tokenizer and noise schedule.

One format, two sizes (the paper's SD v1.4 and the embedded `mini`): nothing here asks which it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.backbone import hub
from anamodiff.backbone.files import backbone_files, check_folder
from anamodiff.backbone.load import ENDINGS, load_file, load_folder
from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import find

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)

PAPER = hub.SHORT_NAMES["sd14"]
MINI = "mini"


class Backbone:
    """The frozen models that every part shares.

    Latents are `f c h w`, already multiplied by the autoencoder's scaling factor. `folder` is where
    it was loaded from, a file where it is one; `files` are its weights, by their names in there.
    With `offload`, each part rests in main memory and is on the device only inside `on_device`; the
    UNet always rests, for it is copied before it is tuned.
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
        files: Mapping[str, Path],
        frames_at_once: int = 4,
        device: torch.device | None = None,
        offload: bool = False,
    ) -> None:
        self.device = unet.device if device is None else device
        self.rest_device = torch.device("cpu") if offload else self.device
        self.vae, self.unet, self.text_encoder = vae, unet, text_encoder
        for part in (vae, unet, text_encoder):
            nn.Module.to(part.eval().requires_grad_(False), self.rest_device)
        self.tokenizer = tokenizer
        self.schedule = schedule
        self.folder = folder
        self.files = files
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
        """Load a diffusers folder, a hub id, one file in CompVis' layout, `mini`, or `auto`.

        Of weights in 16 and in 32 bits those that suit the precision are taken, the others where
        they are all there is. `offload` keeps idle parts in main memory; the autoencoder takes
        `frames_at_once`.

        Raises:
            AnaMoDiffError: it is incomplete, damaged, or not like Stable Diffusion 1.x.
        """
        device = choose_device(device)
        dtype = choose_precision(precision, device)
        if str(name) == "auto":
            name, reason = _choose_backbone(device, dtype)
            logger.info("backbone: %s (%s)", name, reason)
        folder = find_backbone(name, half=dtype != torch.float32)
        load = load_file if folder.is_file() else load_folder
        parts = load(folder, dtype)
        return cls(
            parts.vae, parts.unet, parts.text_encoder, parts.tokenizer,
            Schedule.from_config(parts.scheduler), folder=folder, files=parts.files,
            frames_at_once=frames_at_once, device=device, offload=offload,
        )  # fmt: skip

    @contextmanager
    def on_device(self, part: M) -> Iterator[M]:
        """`part` on the device, and back where it rests afterwards."""
        try:
            yield part.to(self.device)
        finally:
            part.to(self.rest_device)

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def reduction(self) -> int:
        """Pixels along one latent's side."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def latent_size(self) -> int:
        """Latents along a frame's side."""
        return int(self.unet.config["sample_size"])

    @property
    def image_size(self) -> int:
        """Pixels along a frame's side."""
        return self.latent_size * self.reduction

    @property
    def beside(self) -> Path:
        """The folder where settings and a LOFNet for it may lie; that of the file, if it is one."""
        return self.folder.parent if self.folder.is_file() else self.folder

    @cached_property
    def recommended(self) -> dict[str, Any]:
        """What the folder recommends for itself (`anamodiff.json`), empty where it says nothing."""
        path = self.beside / "anamodiff.json"
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise AnaMoDiffError(f"{path} is no JSON ({error}): correct or delete it") from error

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each weight file that was read, by its path inside the folder."""
        return {name: file_hash(path) for name, path in self.files.items()}

    @property
    def hash(self) -> str:
        """One short name for the weights that decide the latents: the autoencoder's."""
        own = {name: value for name, value in self.hashes.items() if name.startswith("vae/")}
        own = own or self.hashes  # one file holds all
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Latents f c h w (float32) of frames f 3 H W in [-1, 1]: the posterior's mode, scaled."""
        with self.on_device(self.vae) as vae:
            parts = [
                vae.encode(part.to(self.device, self.dtype), return_dict=False)[0].mode()
                for part in frames.split(self.frames_at_once)
            ]
        return torch.cat(parts).float() * self.vae.config["scaling_factor"]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Frames f 3 H W in [-1, 1] (float32) of scaled latents f c h w."""
        latents = latents / self.vae.config["scaling_factor"]
        with self.on_device(self.vae) as vae:
            parts = [
                vae.decode(part.to(self.device, self.dtype), return_dict=False)[0]  # pyright: ignore
                for part in latents.split(self.frames_at_once)
            ]
        return torch.cat(parts).float().clamp(-1, 1)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings b n d (float32); a prompt that is too long is cut, with a warning."""
        limit = self.tokenizer.model_max_length
        tokens = self.tokenizer(list(prompts), truncation=False)["input_ids"]
        for prompt, ids in zip(prompts, tokens, strict=True):
            if len(ids) > limit:
                logger.warning("prompt cut from %d to %d tokens: %r", len(ids), limit, prompt)
        padded = self.tokenizer(
            list(prompts), padding="max_length", max_length=limit, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        with self.on_device(self.text_encoder) as encoder:
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


def find_backbone(name: str | Path, *, half: bool = False) -> Path:
    """Where a backbone lies: `mini`, a folder, one file, or a hub id (fetched once, then cached).

    Args:
        half: whether to fetch weights in 16 bits, if the hub has both kinds.

    Raises:
        AnaMoDiffError: it is neither here nor to be fetched, incomplete, or of another kind.
    """
    if str(name) == MINI:
        return find("checkpoints/mini")
    path = Path(name).expanduser()
    if path.suffix in ENDINGS:
        if not path.is_file():
            raise AnaMoDiffError(f"expected a backbone in {path}, found no such file: correct it")
        return path
    choose = partial(backbone_files, half=half)
    cure = "use --backbone mini"
    folder = hub.locate(name, choose, role="backbone", cure=cure, check=check_folder)
    try:
        choose(hub.names_in(folder))
    except LookupError as missing:
        raise AnaMoDiffError(
            f"expected a diffusers folder of Stable Diffusion 1.x, got {folder} without "
            f"{missing.args[0]}: give a complete one, or run anamodiff fetch sd14 and give {PAPER}"
        ) from missing
    return folder


def _choose_backbone(device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """SD v1.4 on a CUDA machine that has it or can fetch it, else the embedded one; and why."""
    if device.type != "cuda":
        return MINI, f"device is {device.type}; {PAPER} wants a CUDA GPU"
    try:
        find_backbone(PAPER, half=dtype != torch.float32)
    except AnaMoDiffError:
        return MINI, f"{PAPER} is neither cached nor to be fetched here"
    return PAPER, "CUDA device found"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
