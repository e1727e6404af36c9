"""Backbone folders: loading, latents, prompts, and refusals."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from anamodiff.backbone.find import find_backbone
from anamodiff.backbone.model import Backbone, choose_device, choose_precision
from anamodiff.backbone.size import UNET, Size
from anamodiff.errors import AnaMoDiffError


@pytest.fixture(scope="module")
def backbone(tiny_backbone_folder):
    return Backbone.load(tiny_backbone_folder, device="cpu")


def test_sizes_follow_the_folder(backbone):
    assert (backbone.latent_size, backbone.reduction, backbone.image_size) == (16, 4, 64)


def test_another_size_can_be_asked_for(tiny_backbone_folder):
    larger = Backbone.load(tiny_backbone_folder, device="cpu", size=96)
    assert (larger.latent_size, larger.image_size) == (24, 96)
    with pytest.raises(AnaMoDiffError, match=r"multiple of 4 pixels .* got 98; 96 is the nearest"):
        Backbone.load(tiny_backbone_folder, device="cpu", size=98)


@pytest.mark.parametrize(
    ("size", "given", "pixels"),
    [(32, None, 32), (32, 96, 96), (32, UNET, 64), (None, None, 64), (None, UNET, 64)],
)
def test_it_works_at_the_size_that_its_folder_recommends(
    size: int | None, given: Size | None, pixels: int, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (folder / "anamodiff.json").write_text(json.dumps({"size": size}))
    found = Backbone.load(folder, device="cpu", size=given)
    assert (found.image_size, found.latent_size, found.unet_size) == (pixels, pixels // 4, 64)
    assert found.named_size == (None if given is None else pixels)


@pytest.mark.parametrize("size", [98, "large", 8, True])
def test_a_size_that_cannot_be_recommended_is_refused(
    size: object, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (folder / "anamodiff.json").write_text(json.dumps({"size": size}))
    with pytest.raises(AnaMoDiffError, match="size in anamodiff.json: expected a .*, got "):
        Backbone.load(folder, device="cpu")


def test_latents_are_scaled_and_independent_of_the_slicing(backbone):
    frames = torch.rand(5, 3, 64, 64) * 2 - 1
    latents = backbone.encode(frames)
    plain = backbone.vae.encode(frames).latent_dist.mode() * backbone.vae.config.scaling_factor
    torch.testing.assert_close(latents, plain, atol=1e-5, rtol=1e-5)
    decoded = backbone.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.abs().max() <= 1
    direct = backbone.vae.decode(latents / backbone.vae.config.scaling_factor).sample.clamp(-1, 1)
    torch.testing.assert_close(decoded, direct, atol=1e-5, rtol=1e-5)


def test_prompts_differ_unknown_words_work_and_long_ones_are_cut_with_a_word(backbone, caplog):
    one, other, strange = backbone.embed(["a turtle", "a green", "zzyzx 🐢 é"])
    assert one.shape == (8, 16)
    assert not torch.equal(one, other)
    assert strange.isfinite().all()
    with caplog.at_level(logging.WARNING):
        backbone.embed(["turtle " * 30])
    assert "cut" in caplog.text


def test_nothing_of_the_backbone_wants_gradients(backbone):
    for model in (backbone.vae, backbone.unet, backbone.text_encoder):
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_hash_depends_on_the_autoencoder_alone(tiny_backbone_folder, backbone, tmp_path):
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    unet.write_bytes(unet.read_bytes()[:-1] + b"\x01")
    assert Backbone.load(folder, device="cpu").hash == backbone.hash
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    vae.write_bytes(vae.read_bytes()[:-1] + b"\x01")
    assert Backbone.load(folder, device="cpu").hash != backbone.hash


def test_settings_come_from_the_folder(tiny_backbone_folder, tmp_path):
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    assert Backbone.load(folder, device="cpu").recommended == {}
    (folder / "anamodiff.json").write_text(json.dumps({"tuning": {"iterations": 7}}))
    assert Backbone.load(folder, device="cpu").recommended["tuning"]["iterations"] == 7


def test_an_incomplete_folder_is_refused(tiny_backbone_folder, tmp_path):
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    shutil.rmtree(folder / "vae")
    with pytest.raises(AnaMoDiffError, match="without vae"):
        Backbone.load(folder, device="cpu")


def test_a_cut_weights_file_is_refused_in_one_line(tiny_backbone_folder, tmp_path):
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(AnaMoDiffError, match="cannot be loaded") as error:
        Backbone.load(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/such/folder"])
def test_what_is_no_folder_and_no_hub_id_is_refused(name):
    with pytest.raises(AnaMoDiffError, match="no folder here"):
        find_backbone(name)


def test_devices_and_precisions():
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_precision("auto", cpu) == torch.float32
    assert choose_precision("bf16", cpu) == torch.bfloat16
    with pytest.raises(AnaMoDiffError, match="fp32"):
        choose_precision("int3", cpu)
    with pytest.raises(AnaMoDiffError, match="device"):
        choose_device("toaster")


@pytest.mark.parametrize(("own", "precision"), [(True, torch.bfloat16), (False, torch.float16)])
def test_emulated_bf16_is_not_chosen(own, precision, monkeypatch):
    """T4, V100 and RTX 20xx: torch says that they support bf16 unless told not to count that."""

    def supported(including_emulation=True):
        return own or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", torch.device("cuda")) == precision


def test_auto_says_which_backbone_and_why(caplog):
    if torch.cuda.is_available():
        pytest.skip("says something else on a CUDA machine")
    with caplog.at_level(logging.INFO):
        backbone = Backbone.load("auto")
    assert backbone.folder.name == "mini"
    assert "backbone: mini (device is" in caplog.text
