"""CLIP's measures: against direct computation, their invariants, and what is refused."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.clip_model import (
    DEFAULT_CLIP_MODEL,
    Embedder,
    clip_identity,
    clip_image,
    clip_pairs,
    clip_text,
    describe,
    find_clip_model,
    sum_over_ten,
    times_ten,
)

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def embedder(clip_folder: Path) -> Embedder:
    return Embedder.load(clip_folder, device="cpu")


def noise(count: int, height: int = 48, width: int = 48, seed: int = 0) -> torch.Tensor:
    """Frames of coarse noise in the values that bytes can have."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, 3, height // 8, width // 8), generator=generator)
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) / 127.5 - 1


def pixels_by_hand(frame: torch.Tensor) -> np.ndarray:
    """CLIP's preprocessing of one frame: shorter side to 32, middle square, normalised."""
    picture = Image.fromarray(((frame + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    scale = 32 / min(picture.size)
    wide, high = (int(side * scale) for side in picture.size)
    picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - 32) // 2, (high - 32) // 2
    values = np.asarray(picture)[top : top + 32, left : left + 32] / 255
    return ((values - MEAN) / STD).transpose(2, 0, 1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def by_hand(folder: Path, frames: torch.Tensor) -> np.ndarray:
    model = CLIPModel.from_pretrained(folder)
    pixels = torch.tensor(np.stack([pixels_by_hand(frame) for frame in frames])).float()
    with torch.no_grad():
        pooled = model.vision_model(pixel_values=pixels).pooler_output
        return unit(model.visual_projection(pooled).numpy())


@pytest.mark.parametrize(("height", "width"), [(48, 48), (48, 80), (24, 32)])
def test_frames_are_embedded_as_clip_does(
    embedder: Embedder, clip_folder: Path, height: int, width: int
) -> None:
    frames = noise(5, height, width)
    wanted = by_hand(clip_folder, frames)
    np.testing.assert_allclose(embedder.embed_frames(frames), wanted, atol=1e-5)
    assert (wanted @ wanted.T).min() < 0.99, "similar frames would prove little"


def test_embeddings_do_not_depend_on_the_slicing(clip_folder: Path) -> None:
    embedder = Embedder.load(clip_folder, device="cpu")
    frames = noise(5)
    whole = embedder.embed_frames(frames)
    embedder.frames_at_once = 2
    seen = []
    embedder.model.vision_model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["pixel_values"])), with_kwargs=True
    )
    torch.testing.assert_close(embedder.embed_frames(frames), whole)
    assert seen == [2, 2, 1]


def test_text_is_embedded_as_clip_does(embedder: Embedder, clip_folder: Path) -> None:
    text = describe("a turtle")
    model, tokenizer = (k.from_pretrained(clip_folder) for k in (CLIPModel, CLIPTokenizer))
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        pooled = model.text_model(input_ids=ids).pooler_output
        wanted = unit(model.text_projection(pooled).numpy())
    np.testing.assert_allclose(embedder.embed_text(text), wanted, atol=1e-5)
    assert float(embedder.embed_text(text) @ embedder.embed_text("rhino")[0]) < 0.999


def test_a_long_text_is_cut_and_logged(
    embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert embedder.embed_text("turtle " * 30).isfinite().all()
    assert "cut from 32 to 10 tokens" in caplog.text


def test_measures_are_those_of_the_papers() -> None:
    frames = unit(np.random.default_rng(0).normal(size=(4, 6)))
    source = unit(np.random.default_rng(1).normal(size=(3, 6)))
    own, other = torch.tensor(frames), torch.tensor(source)
    assert clip_image(own) == pytest.approx(np.mean([frames[0] @ frames[i] for i in (1, 2, 3)]))
    pairs = [frames[i] @ frames[j] for i in range(4) for j in range(4) if i != j]
    assert clip_pairs(own) == pytest.approx(np.mean(pairs))
    assert clip_text(own, other[:1]) == pytest.approx(np.mean(frames @ source[0]))
    identity = np.mean([frame @ wanted for frame in frames for wanted in source])
    assert clip_identity(own, other) == pytest.approx(identity)
    assert clip_identity(own, other) == pytest.approx(clip_identity(other, own))


def test_pairs_ignore_the_order_and_the_first_frame_does_not(embedder: Embedder) -> None:
    own = embedder.embed_frames(noise(5))
    assert clip_pairs(own.flip(0)) == pytest.approx(clip_pairs(own), abs=1e-6)
    assert abs(clip_image(own.flip(0)) - clip_image(own)) > 1e-3


def test_equal_frames_score_one(embedder: Embedder) -> None:
    own = embedder.embed_frames(noise(1).expand(10, -1, -1, -1))
    for value in (clip_image(own), clip_pairs(own), clip_identity(own, own[:3])):
        assert value == pytest.approx(1, abs=1e-5)
    assert sum_over_ten(clip_image(own), itself=True) == pytest.approx(10, abs=1e-4)


def test_the_papers_scales() -> None:
    own = torch.tensor(unit(np.random.default_rng(0).normal(size=(10, 4)) + 2))
    image, text = clip_image(own), clip_text(own, own[3:4])
    assert times_ten(image) == pytest.approx(10 * image)
    assert sum_over_ten(image, itself=True) == pytest.approx(float((own @ own[0]).sum()))
    assert sum_over_ten(text, itself=False) == pytest.approx(float((own @ own[3]).sum()))
    assert sum_over_ten(0.933, itself=True) == pytest.approx(9.397)
    assert 9 * 1.0 < 9.397, "nine cosines cannot sum to the paper's figure"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a turtle", "turtle"),
        ("An  elephant", "elephant"),
        ("the green\nturtle ", "green turtle"),
        ("antelope", "antelope"),
        ("theatre", "theatre"),
        ("turtle and a rhino", "turtle and a rhino"),
    ],
)
def test_the_papers_template(prompt: str, text: str) -> None:
    assert describe(prompt) == f"2D Illustration of a {text}"


def test_one_frame_has_nothing_to_compare_with() -> None:
    for measure in (clip_image, clip_pairs):
        with pytest.raises(AnaMoDiffError, match="at least 2 frames to compare, got 1"):
            measure(torch.ones(1, 4) / 2)


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/such/folder"])
def test_what_is_no_folder_and_no_hub_id_is_refused(name: str) -> None:
    with pytest.raises(AnaMoDiffError, match=f"got '{name}'.*no folder here: .*--clip-model"):
        Embedder.load(name, device="cpu")


def test_a_model_that_cannot_be_fetched_is_named_with_the_cures(fake_hub) -> None:
    with pytest.raises(AnaMoDiffError, match="anamodiff fetch clip.*--clip-model") as error:
        Embedder.load(device="cpu")
    assert DEFAULT_CLIP_MODEL in str(error.value) and "\n" not in str(error.value)
    assert str(fake_hub.cache) in str(error.value)


@pytest.mark.parametrize("safe", [True, False])
def test_the_hub_gives_safetensors_where_it_has_them(
    safe: bool, clip_folder: Path, tmp_path: Path, fake_hub
) -> None:
    repository = shutil.copytree(clip_folder, tmp_path / "repository")
    torch.save(
        CLIPModel.from_pretrained(clip_folder).state_dict(), repository / "pytorch_model.bin"
    )
    if not safe:
        (repository / "model.safetensors").unlink()
    fake_hub.repositories[DEFAULT_CLIP_MODEL] = repository
    found = Embedder.load(DEFAULT_CLIP_MODEL, device="cpu")
    assert found.name == DEFAULT_CLIP_MODEL
    assert ("pytorch_model.bin" in fake_hub.asked) is not safe
    frames = noise(2)
    wanted = Embedder.load(clip_folder, device="cpu").embed_frames(frames)
    torch.testing.assert_close(found.embed_frames(frames), wanted)


def test_a_cached_model_without_weights_is_not_found(clip_folder: Path, fake_hub) -> None:
    fake_hub.put(DEFAULT_CLIP_MODEL, clip_folder, ["*.json", "*.txt"])
    with pytest.raises(AnaMoDiffError, match="without model.safetensors in .*not be fetched"):
        find_clip_model(DEFAULT_CLIP_MODEL)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("config.json", "No such file"),
        ("model.safetensors", "no file named model.safetensors"),
        ("tokenizer.json", "expected tokenizer.json or vocab.json"),
        ("preprocessor_config.json", "image processor"),
    ],
)
def test_an_incomplete_folder_is_refused(
    file: str, line: str, clip_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "copy")
    (folder / file).unlink()
    with pytest.raises(AnaMoDiffError, match=f"{line}.*--clip-model") as error:
        Embedder.load(folder, device="cpu")
    assert "\n" not in str(error.value)


def test_damaged_weights_are_refused(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "copy")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(AnaMoDiffError, match="cannot be loaded"):
        Embedder.load(folder, device="cpu")
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle that runs
    with pytest.raises(AnaMoDiffError, match="cannot be loaded"):
        Embedder.load(folder, device="cpu")


def test_missing_weights_are_refused(
    clip_folder: Path, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AnaMoDiffError, match="expected model_type 'clip'.*got 'clip_text_model'"):
        Embedder.load(tiny_backbone_folder / "text_encoder", device="cpu")
    folder = shutil.copytree(clip_folder, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(AnaMoDiffError, match="all weights.* without visual_projection.weight"):
        Embedder.load(folder, device="cpu")
