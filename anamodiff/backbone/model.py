"""A Stable Diffusion model: autoencoder, UNet, text encoder, tokenizer and noise schedule.

One format, two sizes (the paper's SD v1.4 and the embedded `mini`): nothing here asks which it is.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.backbone.autoencoder import decode, encode
from anamodiff.backbone.find import choose_backbone, find_backbone, folder_of, name_of
from anamodiff.backbone.latents import LatentSpace, reduction_of
from anamodiff.backbone.load import Parts, load_file, load_folder
from anamodiff.backbone.memory import Memory
from anamodiff.backbone.precision import (
    PRECISIONS,
    StagePrecision,
    choose_precision,
    is_measured,
    stage_precision,
)
from anamodiff.backbone.size import Size, cells_along
from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError, shorten

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)


class Backbone:
    """The frozen models that every part shares.

    Latents are `f c h w`, already multiplied by the autoencoder's scaling factor. `folder` is where
    it was loaded from, a file where it is one; `files` are its weights, by their names in there.
    What it computes in is `precision`; `auto` is measured on a CPU, when it is first asked for.
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
        precision: str | None = None,
        size: Size | None = None,
    ) -> None:
        self.device = unet.device if device is None else device
        self._named_precision = precision or PRECISIONS[unet.dtype]
        self._run_precision: StagePrecision | None = None
        self.rest_device = torch.device("cpu") if offload else self.device
        self.vae, self.unet, self.text_encoder = vae, unet, text_encoder
        for part in (vae, unet, text_encoder):
            nn.Module.to(part.eval().requires_grad_(False), self.rest_device)
        self._decoders: dict[torch.dtype, AutoencoderKL] = {}
        self.tokenizer = tokenizer
        self.schedule = schedule
        self.folder = folder
        self.files = files
        self.frames_at_once = frames_at_once
        self._names_size = size is not None
        self.latent_size = cells_along(
            size, self.recommended, unet_cells=self._unet_cells, unit=self.reduction, name=self.name
        )

    @classmethod
    def load(
        cls,
        name: str | Path = "auto",
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        offload: bool = False,
        frames_at_once: int = 4,
        size: Size | None = None,
    ) -> Backbone:
        """Load a diffusers folder, a hub id, one file in CompVis' layout, `mini`, or `auto`.

        Of weights in 16 and in 32 bits those that suit the precision are taken, the others where
        they are all there is. `offload` keeps idle parts in main memory; the autoencoder takes
        `frames_at_once`. `size` is the side in pixels of the frames: None is what the backbone's
        folder recommends, else its UNet's; `"unet"` is the UNet's in any case.

        Raises:
            AnaMoDiffError: it is incomplete, damaged, or not like Stable Diffusion 1.x, or has no
                such size.
        """
        device = choose_device(device)
        dtype = choose_precision(precision, device)
        if str(name) == "auto":
            name = choose_backbone(device, dtype)
        folder = find_backbone(name, half=dtype != torch.float32)
        load = load_file if folder.is_file() else load_folder
        return cls.of(
            load(folder, dtype), folder, device=device, precision=precision, offload=offload,
            frames_at_once=frames_at_once, size=size,
        )  # fmt: skip

    @classmethod
    def of(
        cls,
        parts: Parts,
        folder: Path,
        *,
        device: torch.device,
        precision: str | None = None,
        offload: bool = False,
        frames_at_once: int = 4,
        size: Size | None = None,
    ) -> Backbone:
        """From parts that were loaded from a folder or file; the arguments are `load`'s.

        `precision` None is the format that the weights have.
        """
        return cls(
            parts.vae, parts.unet, parts.text_encoder, parts.tokenizer,
            Schedule.from_config(parts.scheduler), folder=folder, files=parts.files,
            frames_at_once=frames_at_once, device=device, offload=offload, precision=precision,
            size=size,
        )  # fmt: skip

    @cached_property
    def _own_precision(self) -> StagePrecision:
        return stage_precision(self._named_precision, self.device)

    @property
    def precision(self) -> StagePrecision:
        """The number format of each stage. Weights, encoder and text encoder have `dtype`."""
        return self._run_precision or self._own_precision

    @contextmanager
    def in_precision(self, name: str | None) -> Iterator[None]:
        """Go on as a run began, where nobody named a precision and a CPU's was to be measured.

        Args:
            name: the run's `precision_name`; None, of old runs, changes nothing.
        """
        before = self._run_precision
        if name is not None and self.takes_precision:
            self._run_precision = StagePrecision.parse(name)
        try:
            yield
        finally:
            self._run_precision = before

    @property
    def takes_precision(self) -> bool:
        """Whether a run that goes on decides: no precision was named, and this is a CPU."""
        return is_measured(self._named_precision, self.device)

    @property
    def named_precision(self) -> str | None:
        """`precision_name`, or None where `takes_precision`, without measuring."""
        return None if self.takes_precision else self.precision_name

    @property
    def precision_name(self) -> str:
        """What `load` takes for the same precision again."""
        uniform = self.precision == StagePrecision.uniform(self.dtype)
        return PRECISIONS[self.dtype] if uniform else str(self.precision)

    @contextmanager
    def on_device(self, part: M) -> Iterator[M]:
        """`part` on the device, and back where it rests afterwards."""
        try:
            yield part.to(self.device)
        finally:
            part.to(self.rest_device)

    def adopt(self, memory: Memory) -> None:
        """Let idle parts rest, and the autoencoder work, as a smaller memory preset says."""
        self.frames_at_once = min(self.frames_at_once, memory.frames_at_once)
        if memory.offload:
            self.rest_device = torch.device("cpu")
            for part in (self.vae, self.unet, self.text_encoder):
                nn.Module.to(part, self.rest_device)

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def reduction(self) -> int:
        """Pixels along one latent's side."""
        return reduction_of(self.vae.config)

    @property
    def image_size(self) -> int:
        """Pixels along a frame's side."""
        return self.latent_size * self.reduction

    @property
    def named_size(self) -> int | None:
        """`image_size`, or None where nobody named one, so that a run that goes on decides."""
        return self.image_size if self._names_size else None

    @property
    def unet_size(self) -> int:
        """`image_size` as the UNet was made for first."""
        return self._unet_cells * self.reduction

    @property
    def _unet_cells(self) -> int:
        return int(self.unet.config["sample_size"])

    @property
    def name(self) -> str:
        """Its hub id, else the name of its folder or file."""
        return name_of(self.folder)

    @property
    def beside(self) -> Path:
        """The folder where settings and a LOFNet for it may lie; that of the file, if it is one."""
        return folder_of(self.folder)

    @cached_property
    def recommended(self) -> dict[str, Any]:
        """What the folder recommends for itself (`anamodiff.json`), empty where it says nothing."""
        path = self.beside / "anamodiff.json"
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
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

    @cached_property
    def latent_space(self) -> LatentSpace:
        """Which latents these are, for a flow network that is to work on them."""
        return LatentSpace.of(self.name, self.encode, self.vae.config)

    def encode(self, frames: Tensor) -> Tensor:
        """Latents f c h w (float32) of frames f 3 H W in [-1, 1]: the posterior's mode, scaled."""
        with self.on_device(self.vae) as vae:
            return encode(vae, frames, self.frames_at_once)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames f 3 H W in [-1, 1] (float32) of scaled latents f c h w."""
        with self.on_device(self._decoder(self.precision.decoding)) as vae:
            return decode(vae, latents, self.frames_at_once)

    def _decoder(self, dtype: torch.dtype) -> AutoencoderKL:
        """The autoencoder for decoding; a copy without an encoder where the formats differ."""
        if dtype == self.vae.dtype:
            return self.vae
        if dtype not in self._decoders:
            # The encoder stays in single precision, and need not be copied.
            decoder = copy.deepcopy(self.vae, {id(self.vae.encoder): nn.Identity()})
            self._decoders[dtype] = nn.Module.to(decoder, dtype)  # pyright: ignore
        return self._decoders[dtype]

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings b n d (float32); a prompt that is too long is cut, with a warning."""
        limit = self.tokenizer.model_max_length
        tokens = self.tokenizer(list(prompts), truncation=False)["input_ids"]
        for prompt, ids in zip(prompts, tokens, strict=True):
            if len(ids) > limit:
                shown = shorten(repr(prompt), 120)
                logger.warning("prompt cut from %d to %d tokens: %s", len(ids), limit, shown)
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


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
