"""Configurations: every one composes, every mistake is one line."""

import argparse
import os
from pathlib import Path

import pytest
import yaml
from cli_samples import REQUIRED, composed, with_override
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from anamodiff.cli import compose as config
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import PROMPT
from anamodiff.resources import find


def test_every_config_has_its_command_and_composes() -> None:
    files = {path.stem for path in find("configs").glob("*.yaml")}
    # Training the embedded backbone is a script's, not a command's.
    assert files - {"train_mini"} == set(REQUIRED)
    for name in REQUIRED:
        # These compute nothing that a device could.
        none = "survey" in name or name in ("examples", "completion")
        assert composed(name).get("device") == (None if none else "auto")


def test_every_choice_of_every_group_composes() -> None:
    homes = {"tuning": "tune", "generation": "generate", "adaptation": "inspect"}
    homes |= {"memory": "generate"}
    homes |= dict.fromkeys(("network", "training"), "train_lofnet")
    for path in find("configs").glob("*/*.yaml"):
        group = path.parent.name
        if group in homes:
            chosen = composed(homes[group], f"{group}={path.stem}")[group]
            written = yaml.safe_load(path.read_text())
            if "defaults" in written:  # it holds the differences alone
                written |= composed(homes[group])[group]
            assert set(chosen) == set(written) - {"defaults"}


def test_demo_and_transfer_agree() -> None:
    own = {word.partition("=")[0] for word in REQUIRED["transfer"]}
    whole = composed("transfer")
    shared = {key: whole[key] for key in whole if key not in own}
    # On a machine with a GPU, auto would fetch gigabytes for it.
    assert composed("demo") == shared | {"backbone": "mini"}


def test_composing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    composed("demo")
    assert Path(os.getcwd()) == tmp_path
    assert not list(tmp_path.iterdir())
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("tuning.lrr=1", r"unknown setting 'tuning.lrr'; did you mean tuning.lr"),
        ("lr=1", r"unknown setting 'lr'; did you mean tuning.lr\?"),
        ("generation.step=1", r"did you mean generation.steps\?"),
        ("+zebra=1", r"unknown setting 'zebra'"),
        ("frames.x=1", r"did you mean frames\?"),
        ("tuning=letters", r"tuning: expected default, got 'letters'"),
        ("tuning=5", r"tuning: expected settings such as tuning.NAME=VALUE, got '5'"),
        ("output=${nowhere}", r"nowhere"),
    ],
)
def test_unknown_names_are_one_line_with_close_matches(override: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        config.compose("transfer", [*REQUIRED["transfer"], override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("lofnet=weights", "lofnet: expected settings such as lofnet.NAME=VALUE, got 'weights'"),
        ("lofnet=null", "lofnet: expected settings such as lofnet.NAME=VALUE, got 'null'"),
        ("lofnet.detector=tps", "lofnet.detector: expected one of own, fomm, got 'tps'"),
        ("lofnet.detector_lr=-1", "lofnet.detector_lr: expected a number of at least 0 or null"),
        ("training.detector_lr=0", "unknown setting .*; did you mean lofnet.detector_lr?"),
    ],
)
def test_lofnet_is_a_section_of_its_training(word: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        composed("train_lofnet", config.literal(word))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("frames=1", "--frames: expected a whole number from 2 to 600, got 1"),
        ("frames=2.5", "--frames: expected a whole number from 2 to 600, got 2.5"),
        ("seed=true", "--seed: expected a whole number of at least 0, got True"),
        ("frames=null", "--frames: expected a whole number from 2 to 600, got None"),
        ("frames=many", "--frames: expected a whole number from 2 to 600, got 'many'"),
        (
            "tuning.noise_min=1000",
            "--noise-min: expected a whole number from 0 to 999, got",
        ),
        ("tuning.noise_min=-1", "--noise-min: expected a whole number from 0 to 999, got"),
        (
            "adaptation.scale=area",
            "adaptation.scale: expected one of learnt, hull, none, axes, parts or null, got 'area'",
        ),
        ("adaptation.smooth=-1", "adaptation.smooth: expected a number from 0 to 10 or null"),
        ("tuning.lr=0", "tuning.lr: expected a number above 0 or null, got 0"),
        ("tuning.lr=inf", "tuning.lr: expected a number above 0 or null, got inf"),
        ("tuning.lr=fast", "tuning.lr: expected a number above 0 or null, got 'fast'"),
        ("tuning.iterations=-1", "--iterations: expected a whole number of at least 0"),
        ("generation.guidance=-1", "--guidance: expected a number of at least 0, got -1"),
        ("prompt=''", f"--prompt: expected {PROMPT.words}, got ''"),
        ("prompt='  '", f"--prompt: expected {PROMPT.words}, got '  '"),
        ("start_frame=last", '--start-frame: expected "first", "auto" or a frame number from 0'),
        (
            "start_frame=-1",
            '--start-frame: expected "first", "auto" or a frame number from 0, got -1',
        ),
        ("resume=maybe", "--resume: expected true or false, got 'maybe'"),
        ("memory.vram=10", "--vram: expected one of 8, 12, 16, 24, auto, got 10"),
        ("memory.vram=much", "--vram: expected one of 8, 12, 16, 24, auto, got 'much'"),
        ("tuning.clips_at_once=3", "tuning.clips_at_once: expected a whole number from 1 to 2"),
        ("generation.noise_warp=x", "generation.noise_warp: expected one of nearest, preserve"),
    ],
)
def test_wrong_values_are_one_line(transfer: DictConfig, override: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError) as caught:
        config.check(with_override(transfer, override))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_wrong_values_stop_a_composition() -> None:
    with pytest.raises(AnaMoDiffError, match="--frames: expected a whole number"):
        config.compose("demo", ["frames=1"])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(AnaMoDiffError, match="expected --source and --prompt, got none"):
        config.compose("transfer", ["driving=b"])


def test_no_group_has_the_name_of_a_plain_setting() -> None:
    # Hydra would take `--lofnet FOLDER` for the choice of a file in configs/lofnet/.
    groups = {path.name for path in find("configs").iterdir() if path.is_dir()}
    for name in REQUIRED:
        values = composed(name)
        assert all(isinstance(values[key], dict) for key in groups & set(values))


def test_multirun_declares_flags_as_python_3_14_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.14 reads a flag's help at once, and Hydra 1.3 has one that is no text."""
    container = argparse._ActionsContainer
    add = container.add_argument

    def read_help(self: argparse.ArgumentParser, action: argparse.Action) -> None:
        if action.help and "%" in action.help:
            assert action.help % {"prog": "", "default": ""} is not None

    def add_argument(self: argparse.ArgumentParser, *words: str, **how: object) -> argparse.Action:
        action = add(self, *words, **how)
        self._check_help(action)
        return action

    monkeypatch.setattr(container, "_check_help", read_help, raising=False)
    monkeypatch.setattr(container, "add_argument", add_argument)
    done: list[int] = []
    config.multirun(
        "benchmark", ["pairs=creatures"], "limit", [1, 2],
        task=lambda composed: done.append(composed.limit), folder=tmp_path,
    )  # fmt: skip
    assert done == [1, 2]
    assert argparse.ArgumentParser._check_help is read_help
