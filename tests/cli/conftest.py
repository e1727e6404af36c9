"""Fixtures of the command line's tests: every command without the work that it does."""

import logging
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cli_samples import REQUIRED, Stages
from omegaconf import DictConfig

import anamodiff
from anamodiff.cli import main
from anamodiff.cli.compose import compose

#: What checks the files that a command is given, before the libraries are imported.
CHECKS = {
    "evaluation.inputs": "check_evaluation",
    "evaluation.pairs": "check_sets",
    "video.find": "find_clips",
}


@cache
def _composed(name: str, *overrides: str) -> DictConfig:
    """Composes each distinct command line once: Hydra takes a tenth of a second."""
    return compose(name, overrides)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """The command line with every module that does work replaced, so that it runs without torch."""
    fake = Stages(tmp_path / "run")
    fake.folder.mkdir()
    (fake.folder / "table.md").write_text("| method |\n")
    for module, outcomes in _outcomes(fake.folder).items():
        functions = {name: fake.stage(name, outcome) for name, outcome in outcomes.items()}
        _replace(monkeypatch, module, functions)
    loaded = SimpleNamespace(transfer=sys.modules["anamodiff.run.api"].transfer)
    classes = {
        "backbone.model": ("Backbone", SimpleNamespace(name="owner/name")),
        "run.motion_transfer": ("MotionTransfer", loaded),
    }
    for module, (name, loads) in classes.items():
        _replace(monkeypatch, module, {name: SimpleNamespace(load=fake.stage("load", loads))})
    for module, name in CHECKS.items():
        _replace(monkeypatch, module, {name: lambda *given, **named: None})
    monkeypatch.setattr(main, "_import_libraries", lambda quiet: None)
    monkeypatch.setattr(
        main, "compose", lambda name, overrides: deepcopy(_composed(name, *overrides))
    )
    return fake


def _replace(monkeypatch: pytest.MonkeyPatch, module: str, names: dict[str, Any]) -> None:
    stand_in = ModuleType(f"anamodiff.{module}")
    vars(stand_in).update(names)
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)


def _outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """What each function that a command calls gives, by module."""
    result = SimpleNamespace(
        run=folder,
        video=folder / "result.mp4",
        timings={"tuning": 0.0, "sampling": 0.0},
        save=lambda path: Path(path),
        frames=None,
    )
    sheet = SimpleNamespace(sheet=Path("outputs/s-flow.png"), lines=["folded over: 1.00%"])
    summary = SimpleNamespace(table="row", folder=folder, outcomes=[], undone=[])
    survey = SimpleNamespace(
        page=Path("outputs/survey/page"), key=Path("outputs/survey/key.json")
    )  # fmt: skip
    scores = SimpleNamespace(lines=["foreground IoU  0.8000"], output=None)
    figure = SimpleNamespace(folder=folder, picture=folder / "figure7.png")
    ranks = SimpleNamespace(lines=["motion  mean rank"])
    examples = SimpleNamespace(lines=["folder: examples"], following="transfer --source a.gif")
    return {
        "run.api": {"transfer": result, "demo": result, "generate": result, "tune": folder},
        "run.inspect": {"inspect": sheet},
        "run.many": {"transfer_many": summary, "transfer_share": None},
        "run.fetch": {"fetch": ["fomm: /cache/mgif-cpk.pth.tar"]},
        "run.doctor": {"doctor": ["device: cpu"]},
        "run.examples": {"write_examples": examples},
        "app.server": {"serve": None},
        "evaluation.scores": {"evaluate": scores},
        "evaluation.benchmark": {"benchmark": folder},
        "evaluation.ablation": {"ablation": figure},
        "evaluation.survey.page": {"write_survey": survey},
        "evaluation.survey.ranking": {"survey_results": ranks},
        "lofnet.training.train": {"train_lofnet": folder, "check_inputs": None},
    }


@pytest.fixture(autouse=True)
def _public_names() -> Iterator[None]:
    """Lets no public name that the package has taken from a stand-in outlive the test."""
    names = set(anamodiff.__all__) - {"__version__"}
    for name in names:
        vars(anamodiff).pop(name, None)
    yield
    for name in names:
        vars(anamodiff).pop(name, None)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Gives the logger of the package back as it was."""
    log = logging.getLogger("anamodiff")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:], log.level = handlers, level


@pytest.fixture(scope="session")
def transfer() -> DictConfig:
    """A composed config, to try values on without composing again; tests change copies only."""
    return compose("transfer", REQUIRED["transfer"])
