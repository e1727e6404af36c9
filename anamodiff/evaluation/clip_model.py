"""CLIP's measures: the paper's two, Tune-A-Video's, consistency, and likeness to the source.

All are plain cosines of embeddings of unit length (f d). The paper prints 9.397 for CLIP-Image and
3.147 for CLIP-Text, which no cosine can be: `times_ten` and `sum_over_ten` are the two scales that
could yield such figures.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPModel, CLIPTokenizer

from anamodiff.backbone import hub
from anamodiff.backbone.files import clip_model_files
from anamodiff.backbone.model import choose_device
from anamodiff.errors import AnaMoDiffError
from anamodiff.video.letterbox import to_pixels

try:  # Pillow resizes as in CLIP's own code; torchvision, where it is installed, does not
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:  # the first releases of transformers 5 have Pillow's under the plain name
    from transformers import CLIPImageProcessor

logger = logging.getLogger(__name__)

DEFAULT_CLIP_MODEL = hub.SHORT_NAMES["clip"]
TEMPLATE = "2D Illustration of a {}"  # the paper's, with "a" also before a vowel
CLIP_CURE = "name another with --clip-model, or none to leave CLIP's measures out"
VOCABULARY_FILES = ("tokenizer.json", "vocab.json")


class Embedder:
    """A CLIP model with its own preprocessing: embeddings of unit length of frames and texts."""

    def __init__(
        self,
        model: CLIPModel,
        processor: CLIPImageProcessor,
        tokenizer: CLIPTokenizer,
        *,
        name: str,
        frames_at_once: int = 16,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor = processor
        self.tokenizer = tokenizer
        self.name = name
        self.frames_at_once = frames_at_once

    @classmethod
    def load(
        cls, name: str | Path = DEFAULT_CLIP_MODEL, *, device: str | torch.device = "auto"
    ) -> Embedder:
        """Load a folder that transformers' `save_pretrained` wrote, or a hub id.

        Raises:
            AnaMoDiffError: it is not found, damaged, or no CLIP model.
        """
        device, folder = choose_device(device), find_clip_model(name)
        try:
            _check_parts(folder)
            # In fp32 whatever was saved: figures should not depend on the device.
            # From a folder, because for a hub id that has only a pickle transformers would ask the
            # hub's bot for a conversion, from a thread of its own.
            model, info = CLIPModel.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
            processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (
            OSError,
            ValueError,
            TypeError,
            RuntimeError,
            SafetensorError,
            UnpicklingError,
        ) as e:
            first = str(e).strip().splitlines()[0]
            raise AnaMoDiffError(
                f"the CLIP model {name} cannot be loaded: {first}; {CLIP_CURE}"
            ) from e
        if info["missing_keys"]:  # transformers would leave them random
            raise AnaMoDiffError(
                f"expected all weights of a CLIP model, got {folder} without "
                f"{min(info['missing_keys'])}: fetch it again, or {CLIP_CURE}"
            )
        return cls(model.to(device), processor, tokenizer, name=str(name))

    @torch.inference_mode()
    def embed_frames(self, frames: Tensor) -> Tensor:
        """Embeddings f d (float32, on the CPU) of frames f c h w in [-1, 1].

        CLIP's preprocessing crops to the middle square: give square frames to measure all of them.
        """
        parts = []
        for part in frames.split(self.frames_at_once):
            # Bytes, as in a picture file: what the preprocessing expects.
            pixels = self.processor(
                list(to_pixels(part)), return_tensors="pt", input_data_format="channels_last"
            )["pixel_values"]
            parts.append(self.model.get_image_features(pixels.to(self.model.device)).pooler_output)
        return normalize(torch.cat(parts).float().cpu(), dim=-1)

    @torch.inference_mode()
    def embed_text(self, text: str) -> Tensor:
        """Embedding 1 d (float32, on the CPU). A longer text than the model's is cut and logged."""
        limit = self.model.config.text_config.max_position_embeddings
        if (length := len(self.tokenizer(text)["input_ids"])) > limit:
            logger.warning("text for CLIP cut from %d to %d tokens: %r", length, limit, text)
        tokens = self.tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
        features = self.model.get_text_features(**tokens.to(self.model.device)).pooler_output
        return normalize(features.float().cpu(), dim=-1)


def clip_image(frames: Tensor) -> float:
    """Paper's CLIP-Image: mean cosine of the first frame with each of the f - 1 later ones.

    Args:
        frames: embeddings f d of unit length.

    Raises:
        AnaMoDiffError: fewer than two frames.
    """
    _check_frames(frames)
    return float((frames[1:] @ frames[0]).mean())


def clip_text(frames: Tensor, text: Tensor) -> float:
    """Paper's CLIP-Text: mean over frames (f d) of the cosine with the text (1 d)."""
    return float((frames @ text[0]).mean())


def clip_pairs(frames: Tensor) -> float:
    """Tune-A-Video's frame consistency: mean cosine over all f (f - 1) / 2 pairs of frames (f d).

    Raises:
        AnaMoDiffError: fewer than two frames.
    """
    _check_frames(frames)
    first, second = torch.triu_indices(len(frames), len(frames), offset=1)
    return float((frames @ frames.T)[first, second].mean())


def clip_identity(frames: Tensor, source: Tensor) -> float:
    """Similarity: mean cosine of each frame (f d) with each of the source's (s d)."""
    return float((frames @ source.T).mean())


def temporal_consistency(frames: Tensor) -> float:
    """Mean cosine of each frame (f d) with the next.

    CLIP's frame consistency of Esser et al. 2023 ("Structure and Content-Guided Video Synthesis
    with Diffusion Models") and of benchmarks of video editing since. A clip that stands still has
    1: read it beside a measure of motion.

    Raises:
        AnaMoDiffError: fewer than two frames.
    """
    _check_frames(frames)
    return float((frames[1:] * frames[:-1]).sum(dim=-1).mean())


def appearance_consistency(frames: Tensor, reference: Tensor) -> float:
    """Mean cosine of each frame (f d) with one picture (1 d), the source's first frame.

    CLIP-I of Ruiz et al. 2023 ("DreamBooth"), which newer benchmarks of image animation compare
    frames with the given picture by. Pose counts a little, too: the truth itself stays below 1.
    """
    return float((frames @ reference[0]).mean())


def times_ten(mean: float) -> float:
    """A mean cosine times ten: 9.397 would be a CLIP-Image of 0.940, 3.147 a CLIP-Text of 0.315."""
    return 10 * mean


def sum_over_ten(mean: float, *, itself: bool) -> float:
    """The sum of ten frames' cosines, from their mean; as if of ten frames for any clip.

    CLIP-Text sums ten cosines, one a frame, which makes it equal to `times_ten`. CLIP-Image has
    nine later frames, whose sum stays below the paper's 9.397: it is reached only with the first
    frame's cosine with itself (1), at a mean of 0.933.

    Args:
        mean: of the cosines.
        itself: whether one of the ten is the first frame with itself, not counted in `mean`.
    """
    return 1 + 9 * mean if itself else 10 * mean


def describe(prompt: str) -> str:
    """The paper's text for an object O: "a turtle" gives "2D Illustration of a turtle"."""
    words = " ".join(prompt.split())
    return TEMPLATE.format(re.sub(r"^(a|an|the)\s+", "", words, flags=re.IGNORECASE))


def find_clip_model(name: str | Path) -> Path:
    """The folder of a CLIP model: a path, or a hub id (fetched once, then cached).

    Raises:
        AnaMoDiffError: it is neither on disk nor can it be fetched.
    """
    return hub.locate(name, clip_model_files, role="CLIP model", cure=CLIP_CURE)


def _check_parts(folder: Path) -> None:
    """Refuse folders that transformers would fill up with random weights or an empty vocabulary."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != "clip":
        raise ValueError(f"expected model_type 'clip' in {folder / 'config.json'}, got {kind!r}")
    if not any((folder / file).is_file() for file in VOCABULARY_FILES):
        raise FileNotFoundError(
            f"expected {' or '.join(VOCABULARY_FILES)} in {folder}, found neither"
        )


def _check_frames(frames: Tensor) -> None:
    if len(frames) < 2:
        raise AnaMoDiffError(
            f"expected at least 2 frames to compare, got {len(frames)}: give a longer clip"
        )
