"""LoRA: what it trains, and its files in and out of diffusers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.errors import AnaMoDiffError
from anamodiff.unet3d.lora import (
    add_lora,
    lora_layers,
    merge_lora,
    trainable_parameters,
    unmerge_lora,
)
from anamodiff.unet3d.model import inflate
from anamodiff.unet3d.weights import LORA_FILE, TEMPORAL_FILE, load_lora, load_weights, save_weights


@torch.no_grad()
def run(unet, randn, frames: int = 3) -> torch.Tensor:
    return unet(randn(1, 4, frames, 8, 8), 500, randn(1, 5, 12)).sample


def stock_pipeline(unet) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def test_fresh_lora_changes_nothing(unet2d, randn) -> None:
    unet = inflate(unet2d())
    before = run(unet, randn)
    add_lora(unet, rank=2)
    assert torch.equal(run(unet, randn), before)


def test_only_lora_and_time_are_trained(unet2d) -> None:
    unet = inflate(unet2d())
    add_lora(unet, rank=2)
    names = [name for name, _ in trainable_parameters(unet)]
    assert all("lora_" in n or ".attn_temp." in n or ".norm_temp." in n for n in names)
    assert not [n for n in names if "lora_" in n and "attn_temp" in n]
    assert {name.split(".")[0] for name in names} == {"down_blocks", "mid_block", "up_blocks"}


def test_blocks_and_targets_narrow_what_is_trained(unet2d) -> None:
    unet = inflate(unet2d())
    add_lora(unet, rank=2, blocks=("mid",), targets=("to_q",))
    names = [name for name, _ in trainable_parameters(unet)]
    assert all(name.startswith("mid_block.") for name in names)
    assert {name.split(".")[-4] for name in names if "lora_" in name} == {"to_q"}


@pytest.mark.parametrize("blocks", ["all", "mid_up"])
def test_autograd_begins_at_the_first_trained_layer(unet2d, randn, blocks) -> None:
    """What comes before it keeps nothing for a backward pass, and spends none."""
    unet = inflate(unet2d()).train()
    add_lora(unet, blocks=blocks)
    recorded: dict[str, bool] = {}

    def note(name: str):
        def hook(module: torch.nn.Module, given: tuple, made: object) -> None:
            tensors = made if isinstance(made, tuple) else (made,)
            recorded[name] = any(torch.is_tensor(x) and x.requires_grad for x in tensors)

        return hook

    before = ["conv_in", "time_embedding", "down_blocks.0.resnets.0"]
    after = ["down_blocks.0.attentions.0.transformer_blocks.0"]
    if blocks == "mid_up":
        before += [*after, "down_blocks.0", "down_blocks.1"]
        after = ["mid_block"]
    for name in before + after:
        unet.get_submodule(name).register_forward_hook(note(name))
    unet(randn(1, 4, 3, 8, 8), 500, randn(1, 5, 12))
    assert recorded == {**dict.fromkeys(before, False), **dict.fromkeys(after, True)}


def test_same_seed_same_lora_and_the_global_generator_is_left_alone(unet2d) -> None:
    state = torch.get_rng_state()
    first, second, third = (inflate(unet2d()) for _ in range(3))
    add_lora(first, rank=2)
    add_lora(second, rank=2)
    add_lora(third, rank=2, generator=torch.Generator().manual_seed(5))
    weights = [dict(trainable_parameters(unet)) for unet in (first, second, third)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_merging_keeps_the_output(unet2d, randn, stirred) -> None:
    unet = inflate(unet2d())
    add_lora(unet, rank=2)
    before = run(stirred(unet), randn)
    merge_lora(unet)
    merge_lora(unet)
    torch.testing.assert_close(run(unet, randn), before, atol=1e-5, rtol=1e-4)
    unmerge_lora(unet)
    torch.testing.assert_close(run(unet, randn), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("alpha", [None, 5])
@pytest.mark.parametrize("blocks", ["all", "mid_up"])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_saved_weights_come_back(unet2d, randn, stirred, tmp_path, alpha, blocks, layers) -> None:
    unet = inflate(unet2d())
    add_lora(unet, rank=2, alpha=alpha, blocks=blocks, layers=layers)
    expected = run(stirred(unet), randn)
    save_weights(unet, tmp_path / "run")
    loaded = inflate(unet2d())
    load_weights(loaded, tmp_path / "run")
    torch.testing.assert_close(run(loaded, randn), expected, atol=1e-5, rtol=1e-4)
    merge_lora(stirred(unet))
    for present in (loaded, unet):  # into LoRA that is there already, merged or not
        load_weights(present, tmp_path / "run")
        torch.testing.assert_close(run(present, randn), expected, atol=1e-5, rtol=1e-4)


def test_merged_weights_are_saved_too(unet2d, randn, stirred, tmp_path) -> None:
    unet = inflate(unet2d())
    add_lora(unet, rank=2)
    expected = run(stirred(unet), randn)
    merge_lora(unet)
    save_weights(unet, tmp_path)
    loaded = inflate(unet2d())
    load_weights(loaded, tmp_path)
    torch.testing.assert_close(run(loaded, randn), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", ["attention", "all"])
@pytest.mark.parametrize("alpha", [None, 5])
def test_stock_pipeline_reads_our_lora(unet2d, randn, stirred, tmp_path, alpha, layers) -> None:
    unet = inflate(unet2d())
    plain = run(unet, randn, frames=1)
    add_lora(unet, rank=2, alpha=alpha, layers=layers)
    assert any("conv1" in name for name, _ in lora_layers(unet)) == (layers == "all")
    stirred(unet)
    for name, parameter in unet.named_parameters():
        if "attn_temp.to_out" in name:
            torch.nn.init.zeros_(parameter)
    ours = run(unet, randn, frames=1)
    assert (ours - plain).abs().max() > 1e-2
    save_weights(unet, tmp_path)
    pipeline = stock_pipeline(unet2d())
    pipeline.load_lora_weights(tmp_path)
    theirs = pipeline.unet(randn(1, 4, 8, 8), 500, randn(1, 5, 12)).sample
    torch.testing.assert_close(theirs, ours[:, :, 0], atol=1e-5, rtol=1e-4)


def test_we_read_lora_that_diffusers_trained(unet2d, randn, tmp_path: Path) -> None:
    trained = unet2d()
    config = LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "to_v"], init_lora_weights=False)
    trained.add_adapter(config)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(trained)),
    )
    theirs = trained(randn(1, 4, 8, 8), 500, randn(1, 5, 12)).sample
    unet = inflate(unet2d())
    load_lora(unet, tmp_path / LORA_FILE)
    torch.testing.assert_close(run(unet, randn, frames=1)[:, :, 0], theirs, atol=1e-5, rtol=1e-4)


def test_we_read_lora_of_older_diffusers(unet2d, randn, tmp_path: Path) -> None:
    """Its attention processors' names, as in the LoRA that its first scripts trained."""
    trained = unet2d()
    config = LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "to_out.0"])
    config.init_lora_weights = False
    trained.add_adapter(config)
    old = {}
    for name, tensor in get_peft_model_state_dict(trained).items():
        name = name.replace(".to_q.", ".processor.to_q_lora.")
        name = name.replace(".to_out.0.", ".processor.to_out_lora.")
        name = name.replace("lora_A", "down").replace("lora_B", "up")
        old[f"unet.{name}"] = tensor.contiguous()
    assert any(".processor.to_out_lora.up.weight" in name for name in old)
    save_file(old, tmp_path / LORA_FILE)
    theirs = trained(randn(1, 4, 8, 8), 500, randn(1, 5, 12)).sample
    unet = inflate(unet2d())
    load_lora(unet, tmp_path / LORA_FILE)
    torch.testing.assert_close(run(unet, randn, frames=1)[:, :, 0], theirs, atol=1e-5, rtol=1e-4)


def test_our_lora_changes_a_stock_pipelines_pictures(
    tiny_backbone_folder: Path, stirred, tmp_path: Path
) -> None:
    """A whole pipeline, from a prompt to pixels; and it is taken out again."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(tiny_backbone_folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(tiny_backbone_folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(tiny_backbone_folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(tiny_backbone_folder / "unet"),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": 2, "output_type": "np", "generator": generator}
        return pipeline("a turtle", **options).images[0]

    before = draw()
    unet = inflate(UNet2DConditionModel.from_pretrained(tiny_backbone_folder / "unet"))
    add_lora(unet, rank=2)
    save_weights(stirred(unet), tmp_path)
    pipeline.load_lora_weights(tmp_path)
    assert np.abs(draw() - before).max() > 0.01
    pipeline.unload_lora_weights()
    np.testing.assert_allclose(draw(), before, atol=1e-5)


def test_files_that_do_not_fit_are_refused(unet2d, tmp_path: Path) -> None:
    unet = inflate(unet2d())
    with pytest.raises(AnaMoDiffError, match="add_lora"):
        save_weights(unet, tmp_path)
    with pytest.raises(AnaMoDiffError, match="tune first"):
        load_weights(unet, tmp_path / "nowhere")
    add_lora(unet, rank=2)
    with pytest.raises(AnaMoDiffError, match="inflate a fresh one"):
        add_lora(unet, rank=2)
    save_weights(unet, tmp_path)
    wide = inflate(unet2d())
    add_lora(wide, rank=4)
    with pytest.raises(AnaMoDiffError, match="shape"):
        load_weights(wide, tmp_path)
    temporal = load_file(tmp_path / TEMPORAL_FILE)
    temporal.pop(next(iter(temporal)))
    save_file(temporal, tmp_path / TEMPORAL_FILE)
    with pytest.raises(AnaMoDiffError, match="1 missing"):
        load_weights(inflate(unet2d()), tmp_path)
    (tmp_path / LORA_FILE).write_bytes(b"not safetensors at all")
    with pytest.raises(AnaMoDiffError, match="safetensors file"):
        load_weights(inflate(unet2d()), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 0},
        {"layers": "most"},
        {"targets": ("to_x",)},
        {"blocks": ("middle",)},
        {"targets": ()},
    ],
)
def test_impossible_options_are_refused(unet2d, options: dict) -> None:
    with pytest.raises(AnaMoDiffError, match="expected"):
        add_lora(inflate(unet2d()), **options)
