"""Captions, the tokenizer and the small CLIP text encoder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

WORDS = """
a an the of in on and with is are it its one two small big little large old young baby cute
2d illustration picture drawing cartoon clip animation character animal man woman person boy
girl letter flag red orange yellow green blue purple pink brown grey gray black white tan
walking running jumping flying swimming trotting galloping standing eating waving light dark
fox wolf lion lioness tiger bear polar deer stag alpaca llama sheep robot kangaroo monkey
panda zebra giraffe rhino turtle horse cat elephant rabbit cow dog pig camel crocodile bird
"""


def build_tokenizer(captions: Iterable[str], length: int, vocabulary: int = 1400):
    """A CLIP tokenizer (byte-level BPE) with a single token for each word of the captions.

    Every string tokenizes: unknown words are split into pieces and, if need be, bytes.
    """
    from transformers import CLIPTokenizer

    corpus = list(captions) + WORDS.split() * 50
    tokenizer = CLIPTokenizer().train_new_from_iterator(corpus, vocab_size=vocabulary)
    tokenizer.model_max_length = length
    return tokenizer


def build_text_encoder(tokenizer, *, width: int, layers: int, heads: int):
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


def vary(caption: str, rng: np.random.Generator) -> str:
    """A random variant of a caption: whole, without colour or article, or empty (for guidance)."""
    draw = rng.random()
    if draw < 0.1:
        return ""
    words = caption.split()
    article, rest = (words[0], words[1:]) if words[0] in ("a", "an") else ("", words)
    if draw < 0.35 and len(rest) > 1:  # "a green turtle" -> "a turtle"
        rest = rest[1:]
        article = article and ("an" if rest[0][0] in "aeiou" else "a")
    if draw > 0.85:
        article = ""
    return " ".join([article, *rest] if article else rest)


def save_text(tokenizer, encoder, folder: Path) -> None:
    """Write both in the diffusers layout."""
    tokenizer.save_pretrained(folder / "tokenizer")
    encoder.half().save_pretrained(folder / "text_encoder", safe_serialization=True)
