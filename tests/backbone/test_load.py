"""Loading: folders in either width and format, one file, and what is refused by name."""

import json
import logging
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from sd_samples import compvis, publish, scheduler

from anamodiff.backbone import files
from anamodiff.backbone.load import SD1
from anamodiff.backbone.model import Backbone
from anamodiff.errors import AnaMoDiffError


@pytest.fixture(scope="module")
def plain(tiny_backbone_folder: Path) -> Backbone:
    return Backbone.load(tiny_backbone_folder, device="cpu")


@pytest.fixture(scope="module")
def checkpoint(tiny_backbone_folder: Path) -> dict[str, torch.Tensor]:
    return compvis(tiny_backbone_folder)


@pytest.fixture
def beside(tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    """A folder with the small model's configurations and tokenizer, for one file among them."""
    target = tmp_path / "beside"
    shutil.copytree(tiny_backbone_folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copyfile(SD1 / "model_index.json", target / "model_index.json")
    return target


def same(one: Backbone, other: Backbone, tolerance: float = 0.0) -> None:
    """All three models have equal weights, and so give equal numbers."""
    for name in ("vae", "unet", "text_encoder"):
        first, second = (getattr(backbone, name).state_dict() for backbone in (one, other))
        assert first.keys() == second.keys()
        for key, tensor in first.items():
            torch.testing.assert_close(
                second[key].float(), tensor.float(), atol=tolerance, rtol=tolerance
            )


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_published_folder_loads_whole(
    tiny_backbone_folder: Path, plain: Backbone, tmp_path: Path, variant: str, ending: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = publish(tiny_backbone_folder, tmp_path, variant=variant, ending=ending)
    with caplog.at_level(logging.INFO, "anamodiff"):
        found = Backbone.load(folder, device="cpu")
    assert ("only in 16 bits" in caplog.text) == (variant == "fp16")
    same(plain, found, tolerance=1e-3 if variant else 0.0)
    assert found.dtype == torch.float32
    assert len(found.hashes) == 3
    assert all(name.endswith(f".fp16.{ending}" if variant else ending) for name in found.hashes)


@pytest.mark.parametrize(
    ("precision", "taken"), [("fp32", None), ("fp16", "fp16"), ("bf16", "fp16")]
)
def test_weights_that_suit_the_precision_are_taken(
    tiny_backbone_folder: Path, tmp_path: Path, precision: str, taken: str | None
) -> None:
    for variant in (None, "fp16"):
        publish(tiny_backbone_folder, tmp_path, variant=variant)
    found = Backbone.load(tmp_path, device="cpu", precision=precision)
    assert all((".fp16." in name) == (taken == "fp16") for name in found.hashes)
    assert found.dtype == {"fp32": torch.float32, "fp16": torch.float16}.get(
        precision, torch.bfloat16
    )


def test_each_part_takes_what_there_is() -> None:
    names = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin"]
    names += ["vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.non_ema.safetensors"]
    names += ["text_encoder/model.safetensors.index.json"]
    names += [f"text_encoder/model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    unet, vae, text = (
        files.weight_files(part, names, half=False) for part in ("unet", "vae", "text_encoder")
    )
    assert (unet.files, unet.variant) == (("diffusion_pytorch_model.fp16.safetensors",), "fp16")
    assert (vae.files, vae.safetensors) == (("diffusion_pytorch_model.bin",), False)
    assert len(text.files) == 3 and text.safetensors
    with pytest.raises(LookupError, match="unet/diffusion_pytorch_model.safetensors"):
        files.weight_files("unet", names[2:], half=True)


def test_weights_in_shards_load(
    tiny_backbone_folder: Path, plain: Backbone, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DConditionModel.from_pretrained(tiny_backbone_folder / "unet").save_pretrained(
        folder / "unet", max_shard_size="100KB"
    )
    found = Backbone.load(folder, device="cpu")
    same(plain, found)
    assert len(found.hashes) > 4


def test_weights_that_are_not_there_are_not_made_up(
    tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    del state["conv_out.bias"]
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(AnaMoDiffError, match="unet, got it without conv_out.bias and 0 more"):
        Backbone.load(folder, device="cpu")


def test_code_in_torchs_files_is_not_run(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    folder = publish(tiny_backbone_folder, tmp_path / "sd", ending="bin")
    trap = tmp_path / "ran"
    for name in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(pickle.dumps(Trap(trap), protocol=2))
        with pytest.raises(AnaMoDiffError, match="cannot be loaded") as error:
            Backbone.load(folder, device="cpu")
        assert "\n" not in str(error.value) and not trap.exists()
        (folder / name).write_bytes(kept)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize(
    ("part", "change", "line"),
    [
        ("unet", {"in_channels": 9}, "this is an inpainting model .*takes 9 channels"),
        ("unet", {"in_channels": 5}, "this is a depth model"),
        ("unet", {"out_channels": 8}, "gives 8 channels"),
        ("unet", {"addition_embed_type": "text_time"}, r"this is Stable Diffusion XL \(SDXL\)"),
        ("unet", {"cross_attention_dim": 1024}, "Stable Diffusion 2.x with another's .*width 1024"),
        ("unet", {"sample_size": [16, 8]}, "without one square size"),
    ],
)
def test_other_models_are_refused_by_name(
    tiny_backbone_folder: Path, tmp_path: Path, part: str, change: dict, line: str
) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    file = folder / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(AnaMoDiffError, match=line) as error:
        Backbone.load(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folder", "line"), [("text_encoder_2", "SDXL"), ("transformer", "Stable Diffusion 3, FLUX")]
)
def test_other_models_are_refused_by_their_files(
    tiny_backbone_folder: Path, tmp_path: Path, folder: str, line: str
) -> None:
    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    (copy / folder).mkdir()
    (copy / folder / "config.json").write_text("{}")
    if folder == "transformer":
        shutil.rmtree(copy / "unet")
    with pytest.raises(AnaMoDiffError, match=line):
        Backbone.load(copy, device="cpu")


def test_velocity_models_load(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    scheduler(folder, prediction_type="v_prediction")
    assert Backbone.load(folder, device="cpu").schedule.prediction_type == "v_prediction"


@pytest.mark.parametrize("kind", ["safetensors", "ckpt", "old ckpt", "lightning ckpt"])
def test_one_file_equals_the_folder(
    beside: Path, plain: Backbone, checkpoint: dict, kind: str, lightning: type
) -> None:
    file = beside / f"model.{kind.split()[-1]}"
    if kind == "safetensors":
        save_file({name: t.contiguous().clone() for name, t in checkpoint.items()}, file)
    else:
        state = {"state_dict": checkpoint, "global_step": 7}
        state |= {"callbacks": {lightning: {"best": 1}}} if "lightning" in kind else {}
        torch.save(state, file, _use_new_zipfile_serialization=kind != "old ckpt")
    found = Backbone.load(file, device="cpu")
    same(plain, found)
    torch.testing.assert_close(found.embed(["a turtle"]), plain.embed(["a turtle"]))
    assert found.folder == file and list(found.hashes) == [file.name]
    assert found.hash != plain.hash
    assert found.beside == beside and found.recommended == {}


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class as PyTorch Lightning leaves it in checkpoints, gone where they are read."""
    module = ModuleType("pytorch_lightning.callbacks")
    kind = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kind
    for name in ("pytorch_lightning", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return kind


def test_averaged_weights_are_preferred(beside: Path, plain: Backbone, checkpoint: dict) -> None:
    start = "model.diffusion_model."
    state = dict(checkpoint)
    for name, tensor in checkpoint.items():
        if name.startswith(start):
            state[f"model_ema.{name.removeprefix('model.').replace('.', '')}"] = tensor
            state[name] = tensor + 1
    save_file({n: t.contiguous().clone() for n, t in state.items()}, beside / "ema.safetensors")
    same(plain, Backbone.load(beside / "ema.safetensors", device="cpu"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"conditioner.embedders.0.x": (1,)}, "SDXL"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 9, 3, 3)}, "an inpainting model"),
        ({"cond_stage_model.model.positional_embedding": (1,)}, "Stable Diffusion 2.x in one file"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "Stable Diffusion 3, FLUX"),
        ({"first_stage_model.decoder.conv_in.weight": None}, "without autoencoder"),
        ({"lora_unet_mid.lora_up.weight": (1,)}, "this is LoRA"),
    ],
)
def test_other_files_are_refused_by_name(
    beside: Path, checkpoint: dict, change: dict, line: str
) -> None:
    state = checkpoint | {n: torch.zeros(shape) for n, shape in change.items() if shape}
    for name, shape in change.items():
        if shape is None:
            del state[name]
    save_file({n: t.contiguous().clone() for n, t in state.items()}, beside / "x.safetensors")
    with pytest.raises(AnaMoDiffError, match=line) as error:
        Backbone.load(beside / "x.safetensors", device="cpu")
    assert "\n" not in str(error.value)


def test_a_file_with_missing_weights_is_refused(beside: Path, checkpoint: dict) -> None:
    state = {n: t for n, t in checkpoint.items() if "middle_block.0.in_layers.2" not in n}
    torch.save(state, beside / "x.ckpt")
    with pytest.raises(AnaMoDiffError, match="expected all weights|cannot be loaded") as error:
        Backbone.load(beside / "x.ckpt", device="cpu")
    assert "\n" not in str(error.value)


def test_code_in_a_file_is_not_run(beside: Path, tmp_path: Path, checkpoint: dict) -> None:
    trap = tmp_path / "ran"
    torch.save({"state_dict": checkpoint, "callbacks": Trap(trap)}, beside / "x.ckpt")
    (beside / "y.ckpt").write_bytes(pickle.dumps(Trap(trap), protocol=2))
    for name in ("x.ckpt", "y.ckpt"):
        with pytest.raises(AnaMoDiffError, match="never run") as error:
            Backbone.load(beside / name, device="cpu")
        assert "\n" not in str(error.value) and not trap.exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="found no such file"):
        Backbone.load(tmp_path / "sd.ckpt", device="cpu")
    (tmp_path / "sd.safetensors").write_bytes(b"nothing")
    with pytest.raises(AnaMoDiffError, match="sd.safetensors is broken"):
        Backbone.load(tmp_path / "sd.safetensors", device="cpu")


def test_shipped_configurations_are_those_of_stable_diffusion() -> None:
    """Read by the libraries, they give the published numbers of parameters."""
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    with init_empty_weights():
        models = {
            "unet": UNet2DConditionModel.from_config(
                UNet2DConditionModel.load_config(SD1, subfolder="unet")
            ),
            "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(SD1, subfolder="vae")),
            "text": CLIPTextModel(CLIPTextConfig.from_pretrained(SD1, subfolder="text_encoder")),
        }
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in models.items()}
    assert counts == {"unet": 859_520_964, "vae": 83_653_863, "text": 123_060_480}
    files.check_folder(SD1)
