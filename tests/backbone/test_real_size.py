"""Stable Diffusion v1.4 at its real size, with random weights: loads, fits, runs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from sd_samples import as_published, compvis_names, published
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from anamodiff.backbone import load as loading
from anamodiff.backbone.find import PAPER
from anamodiff.backbone.model import Backbone
from anamodiff.unet3d.model import inflate

pytestmark = pytest.mark.slow

SIZE = 2_132_470_614  # bytes of all weights in 16 bits


def empty_models() -> dict[str, nn.Module]:
    """The three models as the shipped configurations describe them, without numbers."""
    with init_empty_weights():
        return {
            "unet": UNet2DConditionModel.from_config(
                UNet2DConditionModel.load_config(loading.SD1, subfolder="unet")
            ),
            "vae": AutoencoderKL.from_config(
                AutoencoderKL.load_config(loading.SD1, subfolder="vae")
            ),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig.from_pretrained(loading.SD1, subfolder="text_encoder")
            ),
        }


def numbers(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights in 16 bits that keep signals at their size; one drawn block serves for all."""
    block = torch.randn(2**20, generator=torch.Generator().manual_seed(seed)).half()
    state = {}
    for name, empty in model.state_dict().items():
        if not empty.is_floating_point():
            state[name] = torch.arange(empty.numel()).reshape(empty.shape)
        elif empty.ndim == 1:
            state[name] = torch.full(empty.shape, float(name.endswith("weight"))).half()
        else:
            drawn = block.repeat(-(-empty.numel() // len(block)))[: empty.numel()]
            scale = 0.02 if "embedding" in name else empty[0].numel() ** -0.5
            state[name] = drawn.reshape(empty.shape) * scale
    return state


@pytest.fixture(scope="module")
def folder(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the hub has it, in 16 bits; the tokenizer is a small one."""
    folder = tmp_path_factory.mktemp("real") / "sd"
    shutil.copytree(loading.SD1, folder)
    shutil.copytree(tiny_backbone_folder / "tokenizer", folder / "tokenizer")
    for seed, (part, model) in enumerate(empty_models().items()):
        stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        state = published(part, numbers(model, seed))
        save_file(state, folder / part / f"{stem}.fp16.safetensors", {"format": "pt"})
    yield folder
    shutil.rmtree(folder.parent)


@torch.no_grad()
def test_it_loads_from_the_cache_and_runs(folder: Path, fake_hub) -> None:
    snapshot = fake_hub.snapshot(PAPER)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folder)
    backbone = Backbone.load(PAPER, device="cpu", precision="bf16")
    assert sum((snapshot / name).stat().st_size for name in backbone.files) > SIZE
    assert (backbone.image_size, backbone.latent_size) == (512, 64)
    text = backbone.embed(["a turtle"])
    assert text.shape[-1] == 768 and text.isfinite().all()
    latents = backbone.encode(torch.rand(1, 3, 256, 256) * 2 - 1)
    assert latents.shape == (1, 4, 32, 32) and latents.isfinite().all()
    assert backbone.decode(latents).shape == (1, 3, 256, 256)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["pooled", "per_frame"])
def test_one_frame_of_a_fresh_inflation_equals_the_2d_unet(folder: Path, mode: str) -> None:
    unet = UNet2DConditionModel.from_pretrained(
        folder, subfolder="unet", variant="fp16", torch_dtype=torch.float32
    )
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 16, 16, generator=generator)
    text = torch.randn(1, 8, 768, generator=generator)
    expected = unet(sample, 500, text).sample
    got = inflate(unet, mode)(sample[:, :, None], 500, text).sample[:, :, 0]
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_one_file_equals_the_folder(folder: Path) -> None:
    """Under the names of CompVis' checkpoints, with the shipped configurations."""
    wanted = {
        part: load_file(next((folder / part).glob("*.safetensors"))) for part in empty_models()
    }
    state = {}
    for part, model in empty_models().items():
        names = compvis_names(part, model)
        own = numbers(model, list(wanted).index(part))
        state |= {names[name]: as_published(names[name], own[name]) for name in own}
    assert state["model.diffusion_model.output_blocks.5.2.conv.weight"].shape == (1280, 1280, 3, 3)
    assert state["first_stage_model.decoder.up.3.block.0.conv1.weight"].shape == (512, 512, 3, 3)
    alone = folder.parent / "alone"
    shutil.copytree(folder / "tokenizer", alone / "tokenizer")
    save_file(state, alone / "sd.safetensors", {"format": "pt"})
    del state
    found = Backbone.load(alone / "sd.safetensors", device="cpu", precision="fp16")
    assert json.loads(found.unet.to_json_string())["block_out_channels"] == [320, 640, 1280, 1280]
    for part in wanted:
        got = published(part, getattr(found, part).state_dict())
        assert got.keys() == wanted[part].keys()
        for name, tensor in wanted[part].items():
            assert torch.equal(got[name], tensor), name
