"""The hub: its cache before the hub itself, and one line for what is neither here nor there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sd_samples import publish

import anamodiff
from anamodiff.backbone import hub
from anamodiff.backbone.files import tokenizer_files
from anamodiff.backbone.find import PAPER, find_backbone
from anamodiff.backbone.load import load_file
from anamodiff.backbone.model import Backbone
from anamodiff.errors import AnaMoDiffError

NAMES = ("vae", "unet", "text_encoder")


@pytest.fixture(scope="module")
def repository(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as the hub has it: weights in both widths, and what nobody needs here."""
    folder = tmp_path_factory.mktemp("repository")
    for variant in (None, "fp16"):
        publish(tiny_backbone_folder, folder, variant=variant)
    publish(tiny_backbone_folder, folder, ending="bin")
    (folder / "safety_checker").mkdir()
    for name in ("safety_checker/model.safetensors", "sd-v1-4.ckpt", "README.md"):
        (folder / name).write_bytes(b"not wanted")
    return folder


@pytest.mark.parametrize(("half", "kind"), [(False, ""), (True, ".fp16")])
def test_only_what_suits_the_precision_is_fetched(
    repository: Path, fake_hub, half: bool, kind: str
) -> None:
    fake_hub.repositories[PAPER] = repository
    found = find_backbone(PAPER, half=half)
    assert found == fake_hub.snapshot(PAPER)
    weights = {name for name in fake_hub.asked if name.endswith("safetensors")}
    assert weights == {
        *(f"{part}/diffusion_pytorch_model{kind}.safetensors" for part in ("vae", "unet")),
        f"text_encoder/model{kind}.safetensors",
        "lofnet/lofnet.safetensors",
    }
    assert not {"README.md", "sd-v1-4.ckpt"} & set(fake_hub.asked)


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_the_cache_is_enough_in_either_width(repository: Path, fake_hub, variant: str) -> None:
    """Whatever the precision, and without asking the hub."""
    names = ["*.json", "*.txt", *(f"*model{variant}.safetensors",) * bool(variant)]
    names += [] if variant else ["*model.safetensors"]
    fake_hub.put(PAPER, repository, names)
    fake_hub.repositories[PAPER], fake_hub.online = repository, False
    for precision in ("fp32", "bf16"):
        found = Backbone.load(PAPER, device="cpu", precision=precision)
        assert all((".fp16." in name) == bool(variant) for name in found.hashes)
        assert found.embed(["a turtle"]).isfinite().all()
    assert not fake_hub.asked


def test_what_a_stopped_fetch_left_is_completed(repository: Path, fake_hub) -> None:
    fake_hub.put(PAPER, repository, ["*.json", "*.txt", "vae/*.safetensors"])
    fake_hub.online = False
    with pytest.raises(AnaMoDiffError) as error:
        find_backbone(PAPER)
    line = str(error.value)
    assert line.startswith(
        f"backbone {PAPER} is without unet/diffusion_pytorch_model.safetensors in "
        f"{hub.cache_folder(PAPER)} and could not be fetched (ConnectionError): go online and run "
        "anamodiff fetch sd14, or "
    )
    assert "\n" not in line
    fake_hub.repositories[PAPER], fake_hub.online = repository, True
    assert Backbone.load(PAPER, device="cpu").folder == fake_hub.snapshot(PAPER)


def test_what_is_not_cached_names_folder_and_command(fake_hub) -> None:
    for name, command in ((PAPER, "fetch sd14,"), ("nobody/none", "fetch nobody/none,")):
        with pytest.raises(AnaMoDiffError, match=command) as error:
            find_backbone(name)
        assert f"is not in {hub.cache_folder(name)} and could" in str(error.value)
        assert "\n" not in str(error.value) and "--backbone mini" in str(error.value)


def test_other_models_are_refused_before_their_weights_come(
    repository: Path, fake_hub, tmp_path: Path
) -> None:
    folder = shutil.copytree(repository, tmp_path / "inpainting")
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"in_channels": 9}))
    fake_hub.repositories["some/inpainting"] = folder
    with pytest.raises(AnaMoDiffError, match="this is an inpainting model"):
        find_backbone("some/inpainting")
    (folder / "text_encoder_2").mkdir()
    (folder / "text_encoder_2" / "config.json").write_text("{}")
    with pytest.raises(AnaMoDiffError, match="SDXL"):
        find_backbone("some/inpainting")
    assert not [name for name in fake_hub.asked if name.endswith("safetensors")]
    (folder / "unet" / "config.json").unlink()
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(AnaMoDiffError, match="hub's repository lacks unet/config.json"):
        find_backbone("some/inpainting")


def test_the_newest_whole_snapshot_is_taken(repository: Path, fake_hub) -> None:
    whole = fake_hub.put(PAPER, repository).rename(fake_hub.snapshot(PAPER).with_name("1" * 40))
    fake_hub.put(PAPER, repository, ["*.json"])
    fake_hub.online = False
    assert find_backbone(PAPER) == whole


def test_a_file_without_tokenizer_takes_the_caches(repository: Path, fake_hub) -> None:
    """One file alone in a folder: configurations from the package, CLIP's words from the cache."""
    from anamodiff.backbone import load as loading

    alone = fake_hub.cache.parent / "models" / "sd.safetensors"
    alone.parent.mkdir()
    alone.touch()
    with pytest.raises(AnaMoDiffError, match="run anamodiff fetch tokenizer") as error:
        loading._tokenizer_folder(alone)
    assert "\n" not in str(error.value) and str(fake_hub.cache) in str(error.value)
    clip = fake_hub.put("openai/clip-vit-large-patch14", repository / "tokenizer")
    assert loading._tokenizer_folder(alone) == clip
    cached = fake_hub.put(PAPER, repository, ["tokenizer/*"])
    assert loading._tokenizer_folder(alone) == cached / "tokenizer"
    shutil.copytree(repository / "tokenizer", alone.parent, dirs_exist_ok=True)
    assert loading._tokenizer_folder(alone) == alone.parent
    with pytest.raises(AnaMoDiffError, match="sd.safetensors is broken"):
        load_file(alone, torch.float32)


def test_names_of_words() -> None:
    assert tokenizer_files(["a/vocab.json", "a/merges.txt", "a/x.bin", "vocab.json"], "a") == [
        "a/vocab.json", "a/merges.txt"
    ]  # fmt: skip
    with pytest.raises(LookupError, match="merges.txt"):
        tokenizer_files(["a/vocab.json"], "a")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_real_cache_without_a_net(
    tiny_backbone_folder: Path, tmp_path: Path, variant: str | None
) -> None:
    """The hub's own client in a process of its own, told to stay offline."""
    home = tmp_path / "cache"
    snapshot = home / "hub" / "models--CompVis--stable-diffusion-v1-4" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    publish(tiny_backbone_folder, snapshot, variant=variant)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    code = (
        "from anamodiff.backbone.model import Backbone\n"
        f"print(Backbone.load({PAPER!r}, device='cpu').embed(['a turtle']).shape)\n"
        "Backbone.load('nobody/none', device='cpu')"
    )
    environment = os.environ | {
        "HF_HOME": str(home), "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(anamodiff.__file__).parents[1]),
    }  # fmt: skip
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "torch.Size([1, 8, 16])\n", done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"is not in {home / 'hub' / 'models--nobody--none'} and could not be" in last
    assert "(OfflineModeIsEnabled): go online and run anamodiff fetch nobody/none, or" in last
