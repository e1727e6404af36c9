"""The models of a transfer: the embedded flow network for any backbone, and what is refused."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from sd_samples import publish
from torch.nn.functional import interpolate
from torch.testing import assert_close

from anamodiff.backbone import find as finding
from anamodiff.backbone import load as loading
from anamodiff.backbone.find import PAPER, choose_backbone
from anamodiff.backbone.latents import LatentSpace
from anamodiff.backbone.model import Backbone
from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.model import LOFNet
from anamodiff.options import AdaptationOptions
from anamodiff.resources import find
from anamodiff.run import models as module
from anamodiff.run.api import generate, transfer
from anamodiff.run.folder import RunFolder
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.result import Result
from anamodiff.video.clip import read_clip
from anamodiff.warp import resize_flow, warp

CUDA = torch.device("cuda")
BRIEF = {"tuning": {"iterations": 1, "rank": 1}, "generation": {"steps": 2}, "frames": 3}
PAPERS = AdaptationOptions(pose="points", scale="hull")


@pytest.fixture(scope="module")
def foreign(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone without a LOFNet: 80-pixel frames, latents 4 x 20 x 20."""
    folder = tmp_path_factory.mktemp("foreign") / "sd"
    shutil.copytree(tiny_backbone_folder, folder, ignore=shutil.ignore_patterns("lofnet"))
    set_size(folder, 20)
    return folder


def set_size(folder: Path, latents: int) -> None:
    """Let a backbone work at so many latents along a frame's side."""
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": latents}))


@pytest.fixture
def lofnet(foreign: Path, tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    """A user's LOFNet that says it is for the foreign backbone's latents."""
    network = LOFNet.load(tiny_backbone_folder / "lofnet")
    network.latents = Backbone.load(foreign, device="cpu").latent_space
    return network.save(tmp_path / "user's lofnet")


def autoencoder(folder: Path, target: Path, **config: object) -> Path:
    """A copy of a backbone whose autoencoder has new random weights."""
    shutil.copytree(folder, target)
    own = json.loads((folder / "vae" / "config.json").read_text())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        AutoencoderKL.from_config({**own, **config}).save_pretrained(target / "vae")
    return target


def clips(drawn_clips: tuple[Path, Path], size: int) -> list[torch.Tensor]:
    return [read_clip(path, frames=4, size=size).frames for path in drawn_clips]


def test_the_embedded_network_serves_any_backbone(
    foreign: Path, drawn_clips: tuple[Path, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Here at 256 pixels, with latents 4 x 64 x 64 as Stable Diffusion's."""
    foreign = shutil.copytree(foreign, tmp_path / "sd")
    set_size(foreign, 64)
    with caplog.at_level(logging.INFO, "anamodiff"):
        mover = MotionTransfer.load(foreign, device="cpu")
    assert "flow network: the embedded one, on its own autoencoder's latents (sd has" in caplog.text
    source, driving = clips(drawn_clips, 256)
    made = mover.method.warp(source, driving, adaptation=PAPERS)
    assert made.flow.shape == (4, 64, 64, 2) and made.warped.shape == (4, 4, 64, 64)
    # The flow is the embedded backbone's own, of the same frames at its size.
    mini = MotionTransfer.load("mini", device="cpu")
    small = [
        interpolate(frames, (128, 128), mode="bilinear", antialias=True)
        for frames in (source, driving)
    ]
    native = mini.method.warp(*small, adaptation=PAPERS)
    assert native.flow.shape == (4, 32, 32, 2)
    assert_close(made.flow, resize_flow(native.flow, 64, 64), atol=1e-4, rtol=0)
    # So is the embedded backbone's at 256 pixels, for which its network was not trained either.
    large = mini.method.warp(source, driving, adaptation=PAPERS)
    assert large.warped.shape == (4, 4, 64, 64)
    assert_close(large.flow, made.flow, atol=1e-4, rtol=0)
    # What it warps are the backbone's latents.
    assert_close(made.latents, mover.backbone.encode(source))
    assert_close(made.warped, warp(made.latents[:1], made.flow))
    assert made.mask is not None and native.mask is not None
    assert_close(made.mask.sum(dim=1), torch.ones(4, 64, 64))
    assert_close(made.mask[:, :, 0, 0], native.mask[:, :, 0, 0], atol=1e-4, rtol=0)


def test_of_the_embedded_backbone_only_the_autoencoder_is_read(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    real = loading._load_part

    def load(folder: Path, part: str, *rest: object) -> object:
        read.append((folder.name, part))
        return real(folder, part, *rest)

    monkeypatch.setattr(loading, "_load_part", load)
    MotionTransfer.load(foreign, device="cpu")
    assert sorted(read) == [
        ("mini", "vae"), ("sd", "text_encoder"), ("sd", "unet"), ("sd", "vae"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(
    foreign: Path, drawn_clips: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Result:
    """A transfer with the foreign backbone."""
    output = tmp_path_factory.mktemp("transfer") / "run"
    return transfer(
        *drawn_clips, prompt="a turtle", backbone=foreign, device="cpu", output=output,
        progress=False, **BRIEF,
    )  # fmt: skip


def test_a_run_with_the_embedded_network_goes_on_with_it(made: Result) -> None:
    settings, record = RunFolder(made.run).settings, RunFolder(made.run).record
    assert (settings["lofnet"], settings["precision"]) == ("mini", "fp32")
    names = set(record["hashes"]["lofnet"])
    assert names == {
        "lofnet.safetensors", "point_retargeter.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    again = generate(made.run, device="cpu", generation=BRIEF["generation"], progress=False)
    assert torch.equal(again.frames, made.frames)


def test_generating_takes_the_precision_of_tuning(
    made: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(shutil.copytree(made.run, tmp_path / "run"))
    (run.path / "config.yaml").write_text(yaml.safe_dump(run.settings | {"precision": "bf16"}))
    taken = []
    monkeypatch.setattr(
        MotionTransfer, "load", lambda *_, precision, **__: taken.append(precision) or 1 / 0
    )
    for asked in ("auto", "fp32"):
        with pytest.raises(ZeroDivisionError):
            generate(run.path, device="cpu", precision=asked)
    assert taken == ["bf16", "fp32"]


def test_a_run_goes_on_in_the_size_that_was_asked_for(
    tiny_backbone_folder: Path, made: Result, tmp_path: Path
) -> None:
    clips = (RunFolder(made.run).settings[name] for name in ("source", "driving"))
    larger = transfer(
        *clips, prompt="a cat", backbone=tiny_backbone_folder, size=96, output=tmp_path / "run",
        device="cpu", progress=False, **BRIEF,
    )  # fmt: skip
    assert RunFolder(larger.run).settings["size"] == 96
    assert larger.canvas.shape[-2:] == (96, 96)
    again = generate(larger.run, device="cpu", generation=BRIEF["generation"], progress=False)
    assert torch.equal(again.canvas, larger.canvas)


@pytest.mark.parametrize("backbone", ["foreign", "hub"])
def test_the_embedded_network_on_foreign_latents_is_refused_before_weights_are_here(
    backbone: str, foreign: Path, fake_hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backbone, "load", lambda *_, **__: pytest.fail("it was loaded"))
    fake_hub.repositories[PAPER] = foreign
    name = {"foreign": str(foreign), "hub": PAPER}[backbone]
    embedded = find("checkpoints/mini") / "lofnet"
    with pytest.raises(AnaMoDiffError) as caught:
        MotionTransfer.load(name, embedded, device="cpu")
    line = str(caught.value)
    shown = {"foreign": "sd", "hub": PAPER}[backbone]
    assert line.startswith(
        f"expected a LOFNet for the latents of {shown}, got one for those of mini in {embedded}: "
        "name --lofnet mini"
    )
    assert line.endswith(f"anamodiff train-lofnet --data CLIPS --backbone {name}")
    assert not [name for name in fake_hub.asked if name.endswith("safetensors")]


def test_latents_are_told_by_what_they_are_not_by_their_configuration(
    foreign: Path, lofnet: Path, tmp_path: Path
) -> None:
    mover = MotionTransfer.load(foreign, lofnet, device="cpu")
    assert mover.method.proxy is None and mover.lofnet_name == str(lofnet)
    half = publish(foreign, tmp_path / "half", variant="fp16")
    for folder, precision in ((half, "fp32"), (foreign, "bf16"), (half, "fp16")):
        MotionTransfer.load(folder, lofnet, device="cpu", precision=precision)
    other = autoencoder(foreign, tmp_path / "other")
    with pytest.raises(AnaMoDiffError, match="latents of other, got one for those of sd"):
        MotionTransfer.load(other, lofnet, device="cpu")
    shutil.copytree(lofnet, other / "lofnet")
    with pytest.raises(AnaMoDiffError, match="latents of other, got one for those of sd"):
        MotionTransfer.load(other, device="cpu")
    assert MotionTransfer.load(other, "mini", device="cpu").method.proxy is not None


@pytest.mark.parametrize(
    "change", [{"scaling_factor": 0.5}, {"block_out_channels": [8, 8]}, {"latent_channels": 8}]
)
def test_other_configurations_are_refused(
    change: dict, foreign: Path, lofnet: Path, tmp_path: Path
) -> None:
    config = json.loads((foreign / "vae" / "config.json").read_text()) | change
    (tmp_path / "sd" / "vae").mkdir(parents=True)
    (tmp_path / "sd" / "vae" / "config.json").write_text(json.dumps(config))
    flow = module.FlowNetwork(LOFNet.load(lofnet), lofnet)
    with pytest.raises(AnaMoDiffError, match="expected a LOFNet for the latents of sd"):
        module.check_config(flow, tmp_path / "sd")
    module.check_config(flow, foreign)


def test_a_network_that_does_not_say_is_taken(
    foreign: Path, tiny_backbone_folder: Path, lofnet: Path
) -> None:
    silent = tiny_backbone_folder / "lofnet"
    assert LOFNet.load(silent).latents is None
    assert MotionTransfer.load(foreign, silent, device="cpu").method.proxy is None
    file = lofnet / "lofnet.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"latents": {"backbone": "sd"}}))
    with pytest.raises(AnaMoDiffError, match="take lofnet.json as train-lofnet wrote it"):
        LOFNet.load(lofnet)


def test_the_shipped_network_says_that_it_is_for_mini() -> None:
    shipped = LOFNet.load(find("checkpoints/mini") / "lofnet").latents
    assert shipped is not None and shipped.backbone == "mini"
    # Its autoencoder was trained on since, with its latents held near those of before.
    assert shipped.fits(Backbone.load("mini", device="cpu").latent_space)
    assert LatentSpace.from_dict(shipped.to_dict()) == shipped


@pytest.mark.parametrize("state", ["cached", "to be fetched", "neither", "half of it"])
def test_auto_on_a_cuda_machine(
    state: str, foreign: Path, fake_hub, caplog: pytest.LogCaptureFixture
) -> None:
    fake_hub.online = state != "neither"
    if state == "cached":
        fake_hub.put(PAPER, foreign)
    elif state == "to be fetched":
        fake_hub.repositories[PAPER] = foreign
    elif state == "half of it":  # and the rest is nowhere
        fake_hub.put(PAPER, foreign, ["*.json"])
    with caplog.at_level(logging.INFO, "anamodiff"):
        chosen = choose_backbone(CUDA, torch.float32)
    expected = {
        "cached": (PAPER, "(CUDA device, and it is in the hub's cache)"),
        "to be fetched": (PAPER, "(CUDA device, and it was fetched)"),
    }
    none = ("mini", f"({PAPER} is neither cached nor to be fetched here: ConnectionError)")
    name, reason = expected.get(state, none)
    assert chosen == name
    assert [record.message for record in caplog.records] == [f"backbone: {name} {reason}"]


def test_auto_is_the_embedded_one_where_its_network_is_named(
    fake_hub, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.put(PAPER, foreign)
    monkeypatch.setattr(module, "choose_backbone", lambda *_, **__: pytest.fail("not its own"))
    mover = MotionTransfer.load("auto", find("checkpoints/mini") / "lofnet", device="cpu")
    assert mover.backbone.name == "mini" and mover.method.proxy is None


def test_what_fetch_advises_works(
    fake_hub, foreign: Path, drawn_clips: tuple[Path, Path], tmp_path: Path, capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`fetch sd14`, then the command that it prints, then the same by `auto`."""
    fake_hub.repositories[PAPER] = foreign
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    assert cli.main(["fetch", "sd14", "--device", "cpu"]) == 0
    advice = capsys.readouterr().out.splitlines()[-1]
    words = advice.removeprefix("next: anamodiff ").removesuffix(" ...").split()
    fake_hub.online = False
    own = ["--source", str(drawn_clips[0]), "--driving", str(drawn_clips[1]), "--device", "cpu"]
    own += ["--prompt", "a turtle", "--frames", "3", "--iterations", "1", "--steps", "2"]
    assert cli.main([*words, *own, "--output", str(tmp_path / "run")]) == 0
    monkeypatch.setattr(
        module, "choose_backbone", lambda _, *given, **more: choose_backbone(CUDA, *given, **more)
    )
    assert cli.main(["transfer", *own, "--output", str(tmp_path / "auto")]) == 0
    one, two = (RunFolder(tmp_path / name).settings for name in ("run", "auto"))
    assert one["backbone"] == two["backbone"] == str(fake_hub.snapshot(PAPER))
    assert one["lofnet"] == two["lofnet"] == "mini"


def test_what_is_wrong_is_said_before_anything_is_fetched(
    fake_hub, foreign: Path, drawn_clips: tuple[Path, Path], tmp_path: Path
) -> None:
    fake_hub.repositories[PAPER] = foreign
    used = tmp_path / "used"
    used.mkdir()
    (used / "holiday.txt").write_text("dear")
    good = {"prompt": "a turtle", "backbone": PAPER, "device": "cpu"}
    for given, line in (
        ({"prompt": " "}, "prompt"),
        ({"lofnet": tmp_path / "none"}, "expected a LOFNet folder"),
        ({"output": used}, "new or empty folder"),
        ({"generation": {"steps": 0}}, "generation.steps"),
        ({"tuning": {"lrr": 1}}, "tuning.lr"),
        ({"memory": {"vram": 9}}, "memory.vram"),
        ({"frames": 1}, "frames"),
        ({"source": tmp_path / "none.gif"}, "none.gif"),
    ):
        source = given.pop("source", drawn_clips[0])
        with pytest.raises(AnaMoDiffError, match=line):
            transfer(source, drawn_clips[1], **good | given)
    assert not fake_hub.asked
    assert finding.name_of(fake_hub.snapshot(PAPER)) == PAPER
