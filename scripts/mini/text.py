"""Captions, the tokenizer and the small CLIP text encoder."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .precision import half

WORDS = """
a an the of in on and with is are it its one two small big little large old young baby cute
2d illustration picture drawing cartoon clip animation character animal man woman person boy
girl letter flag red orange yellow green blue purple pink brown grey gray black white tan
walking running jumping flying swimming trotting galloping standing eating waving light dark
fox wolf lion lioness tiger bear polar deer stag alpaca llama sheep robot kangaroo monkey
panda zebra giraffe rhino turtle horse cat elephant rabbit cow dog pig camel crocodile bird
"""


def build_tokenizer(captions: Iterable[str], length: int, vocabulary: int = 1400) -> Any:
    """A CLIP tokenizer (byte-level BPE) with a single token for each word of the captions.

    Every string tokenizes: unknown words are split into pieces and, if need be, bytes.
    """
    from transformers import CLIPTokenizer

    corpus = list(captions) + WORDS.split() * 50
    tokenizer = CLIPTokenizer().train_new_from_iterator(corpus, vocab_size=vocabulary)
    tokenizer.model_max_length = length
    return tokenizer


def build_text_encoder(tokenizer: Any, *, width: int, layers: int, heads: int) -> Any:
    """A CLIP text encoder for that tokenizer, with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 4,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


# Shares of the variants of a caption, in the order of `variants`; of the first two alone, where
# the picture's colours are not those of the caption.
SHARES = (0.1, 0.25, 0.5, 0.15)


def variants(caption: str) -> tuple[str, str, str, str]:
    """Empty (for guidance), without the colour, whole, and without the article."""
    words = caption.split()
    article, rest = (words[0], words[1:]) if words[0] in ("a", "an") else ("", words)
    bare = rest[1:] if len(rest) > 1 else rest  # "a green turtle" -> "a turtle"
    own = ("an" if bare[0][0] in "aeiou" else "a") if article else ""
    return "", f"{own} {' '.join(bare)}".strip(), caption, " ".join(rest)


class Captions:
    """Tokens of all variants of the frames' captions, on the device."""

    def __init__(self, tokenizer: Any, device: torch.device) -> None:
        # A tokenizer keeps, and saves, how it padded last: the one that is exported does not.
        self.tokenizer, self.device = copy.deepcopy(tokenizer), device
        self.rows: dict[str, int] = {}
        self.tokens = torch.empty(0)
        self.bounds = torch.tensor(np.cumsum(SHARES)[:-1], device=device, dtype=torch.float32)

    def indices(self, captions: list[str]) -> Tensor:
        """A number for each caption, by which `draw` knows it."""
        new = [c for c in dict.fromkeys(captions) if c not in self.rows]
        if new:
            self.rows |= {c: len(self.rows) + i for i, c in enumerate(new)}
            texts = [text for caption in self.rows for text in variants(caption)]
            ids = self.tokenizer(
                texts, padding="max_length", max_length=self.tokenizer.model_max_length,
                truncation=True, return_tensors="pt",
            )["input_ids"]  # fmt: skip
            self.tokens = ids.view(len(self.rows), len(SHARES), -1).to(self.device)
        return torch.tensor([self.rows[c] for c in captions], device=self.device)

    def draw(self, rows: Tensor, recoloured: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens b n of a random variant of each caption; of recoloured ones without colour."""
        lot = torch.rand(len(rows), generator=generator, device=self.device)
        kind = torch.bucketize(lot, self.bounds, right=True)
        return self.tokens[rows, torch.where(recoloured, kind.clamp(max=1), kind)]


def save_text(tokenizer: Any, encoder: Any, folder: Path) -> None:
    """Write both in the diffusers layout."""
    tokenizer.save_pretrained(folder / "tokenizer")
    half(encoder).save_pretrained(folder / "text_encoder", safe_serialization=True)
