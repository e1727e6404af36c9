"""A small CLIP model for the measures."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP folder with random weights: 32-pixel pictures, texts of 10 tokens, 8 features."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    from anamodiff.evaluation.clip_model import CLIPImageProcessor

    folder = tmp_path_factory.mktemp("clip")
    words = ["2d illustration of a green turtle", "rhino"] * 9
    tokenizer = CLIPTokenizer().train_new_from_iterator(words, vocab_size=600)
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    size |= {"num_hidden_layers": 1}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 10,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(
            text_config=size | text,
            vision_config=size | {"image_size": 32, "patch_size": 8},
            projection_dim=8,
            initializer_factor=20.0,  # so that different frames differ plainly
        )
    ).save_pretrained(folder)
    edges = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=edges).save_pretrained(folder)
    return folder
