"""Weights that are cut, of another shape, not numbers, web pages or programs are refused."""

import re
from pathlib import Path

import pytest
from bad_samples import is_helpful, refusal

PAIR = ("--source", "clips/whole.gif", "--driving", "clips/whole.mp4", "--prompt", "a turtle")
BACKBONES = {
    "cut": "cannot be loaded",
    "page": "cannot be loaded",
    "nan": "NaN or infinity in ",
    "shape": "cannot be loaded",
    "keys": "expected all weights",
    "config": "is no JSON",
    "index": "is no JSON",
    "code": "cannot be loaded",
    "no_vae": "without vae/",
    "missing": "missing",
    "page.safetensors": "is broken or holds more than tensors",
    "cut.safetensors": "is broken or holds more than tensors",
    "unet_only.safetensors": "expected a whole Stable Diffusion",
    "missing.safetensors": "found no such file",
    "code.ckpt": "is broken or holds more than tensors",
    "code_in_zip.ckpt": "is broken or holds more than tensors",
    "bomb.ckpt": "is broken or holds more than tensors",
}
LOFNETS = {
    "cut": "expected whole LOFNet files",
    "page": "expected whole LOFNet files",
    "nan": "NaN or infinity in ",
    "shape": "expected whole LOFNet files",
    "keys": "expected whole LOFNet files",
    "config": "expected whole LOFNet files",
    "deep": "expected whole LOFNet files",
    "code": "expected whole LOFNet files",
    "no_json": "lacks lofnet.json",
    "missing": "lacks lofnet.json and lofnet.safetensors",
}
RUNS = {
    "missing": "expected a run folder with config.yaml",
    "config": "expected a run's settings",
    "other_config": "expected a run's settings",
    "code_config": "expected a run's settings",
    "no_clips": "run anamodiff tune first",
    "cut_clips": "expected a tuned run's clips",
    "other_clips": "expected a tuned run's clips",
    "no_weights": "expected tuned weights",
    "cut_lora": "expected a safetensors file",
    "page_lora": "expected a safetensors file",
    "nan_lora": "NaN or infinity",
    "shape_lora": "of shape",
    "code_lora": "expected a safetensors file",
}
FOMM = {
    "backbones/code.ckpt": "is broken or holds more than tensors",
    "backbones/code_in_zip.ckpt": "is broken or holds more than tensors",
    "backbones/bomb.ckpt": "is broken or holds more than tensors",
    "backbones/page.safetensors": "is broken or holds more than tensors",
    "missing": "found no file",
    "clips/pipe.mp4": "found no file",
    "clips": "found no file",
}


def check(line: str, says: str) -> None:
    assert re.search(says, line) and is_helpful(line), line


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone(
    bad: Path, fake_hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    tmp_path: Path, name: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(bad)
    backbone = str(bad / "backbones" / name)
    words = ["transfer", *PAIR, "--backbone", backbone, "--device", "cpu"]
    line = refusal(capfd, [*words, "--output", str(tmp_path / "run")])
    check(line, BACKBONES[name])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", LOFNETS)
def test_lofnet(
    bad: Path, tiny_backbone_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(bad)
    whole, lofnet = str(tiny_backbone_folder), str(bad / "lofnets" / name)
    words = ["transfer", *PAIR, "--backbone", whole, "--lofnet", lofnet, "--device", "cpu"]
    check(refusal(capfd, [*words, "--output", str(tmp_path / "run")]), LOFNETS[name])
    words = ["train-lofnet", "--data", "clips", f"lofnet.start={lofnet}", "--backbone", whole]
    check(refusal(capfd, [*words, "--output", str(tmp_path / "out")]), LOFNETS[name])


@pytest.mark.parametrize("name", RUNS)
def test_run_folder(bad: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    words = ["generate", "--run", str(bad / "runs" / name), "--device", "cpu", "--steps", "1"]
    check(refusal(capfd, [*words, "progress=false"], warnings=_warned(name)), RUNS[name])


def _warned(name: str) -> int:
    """Whether the models are loaded, and tell of settings without effect, before the refusal."""
    return int(name in ("no_weights", "cut_lora", "page_lora", "nan_lora", "shape_lora",
                        "code_lora", "cut_clips", "other_clips"))  # fmt: skip


@pytest.mark.parametrize("name", FOMM)
def test_fomm_checkpoint(bad: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    words = ["train-lofnet", "--data", str(bad / "clips"), "lofnet.detector=fomm"]
    line = refusal(capfd, [*words, f"lofnet.checkpoint={bad / name}", "--backbone", "mini"])
    check(line, FOMM[name])


@pytest.mark.parametrize("name", ["tables/page.json", "tables/deep.json", "lists/code.yaml"])
def test_fomm_configuration(bad: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    words = ["train-lofnet", "--data", str(bad / "clips"), "lofnet.detector=fomm"]
    words += [f"lofnet.checkpoint={bad / 'backbones/code.ckpt'}", f"lofnet.config={bad / name}"]
    check(refusal(capfd, [*words, "--backbone", "mini"]), "configuration|model_params")


@pytest.mark.parametrize("name", ["code.ckpt", "bomb.ckpt", "page.safetensors"])
def test_training_state(
    bad: Path, tiny_backbone_folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path,
    drawn_clips: tuple[Path, Path], name: str,
) -> None:  # fmt: skip
    (tmp_path / "out").mkdir()
    content = (bad / "backbones" / name).read_bytes()
    (tmp_path / "out" / "training.pt").write_bytes(content)
    words = ["train-lofnet", "--data", str(drawn_clips[0].parent), "--steps", "1", "--resume"]
    words += ["--output", str(tmp_path / "out"), "--backbone", str(tiny_backbone_folder)]
    words += ["training.equivariance=2", "network.frame_size=32", "progress=false"]
    check(refusal(capfd, [*words, "--device", "cpu"]), "expected a whole checkpoint")
    assert (tmp_path / "out" / "training.pt").read_bytes() == content


@pytest.mark.parametrize("name", ["code.ckpt", "bomb.ckpt", "page.safetensors"])
def test_tuning_checkpoint(
    bad: Path, tuned_run: Path, tiny_backbone_folder: Path, drawn_clips: tuple[Path, Path],
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_bytes((tuned_run / "config.yaml").read_bytes())
    (run / "tuning.pt").write_bytes((bad / "backbones" / name).read_bytes())
    source, driving = map(str, drawn_clips)
    words = ["tune", "--source", source, "--driving", driving, "--prompt", "a turtle"]
    words += ["--backbone", str(tiny_backbone_folder), "--device", "cpu", "--frames", "3"]
    words += ["--iterations", "1", "--resume", "--output", str(run), "progress=false"]
    line = refusal(capfd, words, warnings=1)  # how the motion is carried
    check(line, "expected a whole checkpoint")
