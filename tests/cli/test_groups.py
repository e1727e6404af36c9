"""The files of configs/ hold the settings that fields declare, and their defaults."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from cli_samples import REQUIRED, composed
from omegaconf import OmegaConf

from anamodiff.cli.settings import FigureOptions, all_settings
from anamodiff.fields import dotted, settings_of
from anamodiff.lofnet.training.options import StartOptions, TrainOptions
from anamodiff.options import STAGES, MemoryOptions
from anamodiff.resources import find

CONFIGS = find("configs")
#: What defaults of a command differ from the field's, and why.
DIFFERENT = {
    ("ablation", "pairs"): ("creatures", "drawn pairs need no files"),
    ("demo", "backbone"): ("mini", "auto would fetch gigabytes on a machine with a GPU"),
    ("generate", "seed"): (None, "null takes the tuned run's"),
    ("train_lofnet", "output"): ("outputs/lofnet", "one folder, so that --resume finds it"),
}
#: Groups of which each file chooses its own values: the sizes of networks, the paper's figures.
CHOICES = ("network", "figure")


def files() -> list[Path]:
    """All configurations but the one of scripts/train_mini.py, which is no command's."""
    return sorted(path for path in CONFIGS.rglob("*.yaml") if path.stem != "train_mini")


def name_of(path: Path) -> str:
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


def written(path: Path) -> dict[str, Any]:
    """What a file sets, by dotted key. OmegaConf reads 5e-4 as a number, plain YAML as text."""
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    values.pop("defaults", None)
    group = path.parent.name if path.parent != CONFIGS else ""
    if path.read_text(encoding="utf-8").startswith("# @package _global_"):
        group = ""  # its keys are whole
    return dotted({group: values} if group else values)


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_every_key_is_a_setting_and_every_value_is_of_its_kind(path: Path) -> None:
    for key, value in written(path).items():
        assert key in all_settings()
        if value != "???" and not str(value).startswith("${"):
            all_settings()[key].check(value)


def with_defaults() -> list[Path]:
    """The configurations whose values are defaults."""
    chosen = (*CHOICES, *STAGES, "memory")
    return [path for path in files() if path.parent.name not in chosen and path.stem != "paper"]


@pytest.mark.parametrize("path", with_defaults(), ids=name_of)
def test_defaults_are_the_fields(path: Path) -> None:
    own = {(path.stem, key): value for key, value in written(path).items() if value != "???"}
    expected = {pair: DIFFERENT.get(pair, (all_settings()[pair[1]].default,))[0] for pair in own}
    assert own == expected


def test_differences_from_the_fields_are_there() -> None:
    for (name, key), (value, _) in DIFFERENT.items():
        assert written(CONFIGS / f"{name}.yaml")[key] == value != all_settings()[key].default


def test_every_setting_stands_in_some_configuration() -> None:
    used = {key for path in files() for key in written(path)} | {"figure"}
    # A file of configs/network names what its network needs, and no more.
    assert {key for key in all_settings() if not key.startswith("network.")} <= used


@pytest.mark.parametrize("options", [*STAGES.values(), MemoryOptions])
def test_groups_of_a_transfer_have_the_fields_of_their_options(options: type) -> None:
    # What the configurations set would override what a backbone recommends for itself.
    fields = dict.fromkeys(settings_of(options))
    assert list(composed("transfer")[options.section].items()) == list(fields.items())


def test_training_has_the_fields_of_its_options() -> None:
    from anamodiff.lofnet.model import mini_config
    from anamodiff.lofnet.training.train import train_lofnet

    values = composed("train_lofnet")
    settings = settings_of(TrainOptions) | settings_of(StartOptions)
    keys = {one.key for one in settings.values()}
    sections = {key: values[key] for key in ("training", "lofnet")}
    assert set(dotted(sections)) == keys - {"seed"}
    # Its function takes the rest by name.
    start = values["lofnet"]
    start["detector_config"] = start.pop("config")
    start.pop("detector_lr")  # a field of TrainOptions
    parameters = signature(train_lofnet).parameters
    assert start == {name: parameters[name].default for name in start}
    assert values["network"] == mini_config()


def test_figures_have_the_fields_of_their_options() -> None:
    for path in (CONFIGS / "figure").glob("*.yaml"):
        figure = {k: v for k, v in written(path).items() if k.startswith("figure.")}
        assert set(figure) == {one.key for one in settings_of(FigureOptions).values()}
        assert figure["figure.name"] == path.stem


def test_the_papers_training() -> None:
    ours, paper = (
        composed("train_lofnet", f"training={name}")["training"] for name in ("default", "paper")
    )
    assert ours.keys() == paper.keys()
    # 10,000 steps, because 10,000 epochs of MGIF cannot be trained in the paper's 25 minutes.
    assert (paper["steps"], paper["epochs"]) == (10_000, None)
    assert (paper["lr"], paper["schedule"]) == (5e-4, "constant")
    assert (paper["equivariance"], paper["separation"], paper["balance"]) == (0, 0, 0)


def test_all_commands_of_a_transfer_have_its_groups() -> None:
    whole = composed("transfer")
    for name in ("demo", "transfer_many"):
        assert {group: composed(name)[group] for group in (*STAGES, "memory")} == {
            group: whole[group] for group in (*STAGES, "memory")
        }
    assert composed("generate")["memory"] == whole["memory"]
    assert set(REQUIRED) == {path.stem for path in CONFIGS.glob("*.yaml")} - {"train_mini"}
