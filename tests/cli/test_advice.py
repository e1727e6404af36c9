"""The commands that fetch, doctor and errors advise are commands that the parser takes."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_samples import REQUIRED, Stages

from anamodiff.backbone import load
from anamodiff.backbone.find import find_backbone
from anamodiff.backbone.model import choose_device
from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.fomm import start_detector
from anamodiff.lofnet.model import LOFNet
from anamodiff.resources import find
from anamodiff.run.fetch import _use, cached_models, fetch
from anamodiff.run.folder import RunFolder
from anamodiff.run.models import FlowNetwork, _foreign


def errors(tmp_path: Path, folder: Path) -> Iterator[str]:
    """Lines that advise a command."""
    vars(sys.modules["anamodiff.backbone.model"])["choose_device"] = (
        choose_device  # in the stand-in
    )
    run = tmp_path / "a run"
    (run / "frames").mkdir(parents=True)
    incomplete = tmp_path / "incomplete"
    shutil.copytree(folder, incomplete, ignore=shutil.ignore_patterns("vae"))
    file = tmp_path / "sd" / "model.safetensors"
    file.parent.mkdir()
    calls = [
        lambda: find_backbone("CompVis/stable-diffusion-v1-4"),
        lambda: find_backbone("some/sd"),
        lambda: find_backbone(incomplete),
        lambda: load._tokenizer_folder(file),
        lambda: fetch("fomm"),
        lambda: fetch("clip", device="cpu"),
        lambda: start_detector("fomm", None, None),
        lambda: RunFolder(run).check_tuned(),
    ]
    for call in calls:
        with pytest.raises(AnaMoDiffError) as caught:
            call()
        yield str(caught.value)
    embedded = find("checkpoints/mini") / "lofnet"
    flow = FlowNetwork(LOFNet.load(embedded), embedded)
    yield str(_foreign(flow, tmp_path / "my sd"))


def advised(lines: list[str]) -> Iterator[list[str]]:
    """The words of each command, up to where its sentence goes on."""
    for line in lines:
        for text in re.findall(r"anamodiff ([a-z][^,;:()]*)", line):
            words = shlex.split(text.replace(" ...", ""))
            ends = [i for i, word in enumerate(words) if word in ("and", "says", "first")]
            yield words[: min(ends, default=len(words))]


def test_every_command_is_one(
    tmp_path: Path, tiny_backbone_folder: Path, fake_hub, stages: Stages,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fake_hub.online = False
    lines = [one.line for one in cached_models(half=True)]
    for name in ("some/sd", "openai/clip-vit-base-patch32"):
        lines += _use(name, name, tiny_backbone_folder if name == "some/sd" else tmp_path)
    commands = [*advised([*lines, *errors(tmp_path, tiny_backbone_folder)])]
    names = {words[0] for words in commands}
    assert names == {"fetch", "transfer", "evaluate", "train-lofnet", "tune"}
    for words in commands:
        needed = REQUIRED[words[0].replace("-", "_")]
        missing = [word for word in needed if f"--{word.partition('=')[0]}" not in words]
        if words[0] == "fetch":  # it says what
            missing = []
        assert cli.main([*words, *missing]) == 0, (words, capsys.readouterr().err)
