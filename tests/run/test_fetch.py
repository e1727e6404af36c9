"""`anamodiff fetch` and what is cached, with a hub of folders."""

import shutil
from pathlib import Path

import pytest
import torch
from sd_samples import publish

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.fomm import detector_keywords
from anamodiff.lofnet.keypoints import KeypointDetector
from anamodiff.run import fetch as fetching
from anamodiff.run.fetch import FOMM, cached_models, fetch


@pytest.fixture
def clip_files(tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    """Files as a CLIP model's repository has them; nobody loads them here."""
    folder = shutil.copytree(tiny_backbone_folder / "tokenizer", tmp_path / "clip")
    for name in (
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "flax_model.msgpack",
    ):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(("precision", "kind"), [("fp32", ""), ("bf16", ".fp16")])
def test_a_backbone_is_fetched_in_the_precisions_width(
    tiny_backbone_folder: Path, tmp_path: Path, fake_hub, precision: str, kind: str
) -> None:
    for variant in (None, "fp16"):
        publish(tiny_backbone_folder, tmp_path / "sd", variant=variant)
    fake_hub.repositories["CompVis/stable-diffusion-v1-4"] = tmp_path / "sd"
    lines = fetch("sd14", device="cpu", precision=precision)
    assert f"unet/diffusion_pytorch_model{kind}.safetensors" in fake_hub.asked
    assert lines[0].startswith(f"CompVis/stable-diffusion-v1-4: {fake_hub.cache}")
    assert lines[1] == "next: anamodiff transfer --backbone CompVis/stable-diffusion-v1-4 ..."
    asked = list(fake_hub.asked)
    assert fetch("sd14", device="cpu", precision=precision) == lines
    assert fake_hub.asked == asked, "what is cached is not fetched again"


def test_clip_and_tokenizer_and_any_id(
    tiny_backbone_folder: Path, clip_files: Path, fake_hub
) -> None:
    fake_hub.repositories |= {
        "openai/clip-vit-base-patch32": clip_files,
        "some/clip": clip_files,
        "some/sd": tiny_backbone_folder,
        "CompVis/stable-diffusion-v1-4": tiny_backbone_folder,
    }
    assert fetch("clip")[1] == "next: anamodiff evaluate ..."
    assert "flax_model.msgpack" not in fake_hub.asked
    assert fetch("some/clip")[1] == "next: anamodiff evaluate --clip-model some/clip ..."
    assert fetch("some/sd")[1] == "next: anamodiff transfer --backbone some/sd ..."
    fake_hub.asked.clear()
    assert len(fetch("tokenizer")) == 1
    assert fake_hub.asked and all(name.startswith("tokenizer/") for name in fake_hub.asked)


def test_fomm_comes_from_where_one_says(fake_hub, tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="no hub repository is known.*--from OWNER/NAME/mgif"):
        fetch("fomm")
    with pytest.raises(AnaMoDiffError, match="got some/one"):
        fetch("fomm", "some/one")
    with pytest.raises(AnaMoDiffError, match="could not be fetched from some/one") as error:
        fetch("fomm", f"some/one/models/{FOMM}")
    assert "\n" not in str(error.value) and str(fake_hub.cache) in str(error.value)
    file = tmp_path / "one" / "models" / FOMM
    file.parent.mkdir(parents=True)
    fake_hub.repositories["some/one"] = tmp_path / "one"
    file.write_bytes(b"something else")
    with pytest.raises(AnaMoDiffError, match="is broken or holds more than tensors"):
        fetch("fomm", f"some/one/models/{FOMM}")
    detector = KeypointDetector(**detector_keywords())
    torch.save({"kp_detector": detector.state_dict()}, file)
    lines = fetch("fomm", f"some/one/models/{FOMM}")
    assert lines[0].endswith(f"models/{FOMM} (10 key points)")
    assert fetch("fomm") == lines, "once it is cached, its name is enough"


@pytest.mark.parametrize(
    ("what", "source", "line"),
    [
        ("sd15", None, "expected sd14, clip, tokenizer, fomm or a hub id .* got 'sd15'"),
        ("clip", "some/one/x", "expected --from only with fomm, got it with clip"),
        ("some/one", None, "go online and run anamodiff fetch some/one"),
        ("clip", None, "go online and run anamodiff fetch clip"),
    ],
)
def test_mistakes_are_one_line(fake_hub, what: str, source: str | None, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as error:
        fetch(what, source, device="cpu")
    assert "\n" not in str(error.value)


def test_the_cache_is_told(tiny_backbone_folder: Path, clip_files: Path, fake_hub) -> None:
    lines = {one.short_name: one.line for one in cached_models(half=True)}
    assert "not cached; 2.1 GB to fetch: anamodiff fetch sd14" in lines["sd14"]
    assert "4.3 GB to fetch" in next(one.line for one in cached_models(half=False))
    assert lines["fomm"].endswith(f"anamodiff fetch fomm --from OWNER/NAME/{FOMM}")
    fake_hub.put("openai/clip-vit-base-patch32", clip_files)
    fake_hub.put("CompVis/stable-diffusion-v1-4", tiny_backbone_folder, ["tokenizer/*"])
    lines = {one.short_name: one.line for one in cached_models(half=True)}
    assert "not cached" in lines["sd14"] and "not cached" in lines["fomm"]
    assert "cached (0.0 MB)" in lines["clip"] and "not" not in lines["tokenizer"]
    assert fetching.SIZES["clip"] > 1e8
