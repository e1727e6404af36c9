"""Command lines for tests, and what stands for the functions that commands call."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from anamodiff.cli.compose import compose, plain

PAIR = ["transfer", "--source", "s.gif", "--driving", "d.gif", "--prompt", "a turtle"]
#: What has to be given, by configuration.
REQUIRED = {
    "demo": [],
    "transfer": ["source=a", "driving=b", "prompt=c"],
    "transfer_many": ["list=a"],
    "tune": ["source=a", "driving=b", "prompt=c"],
    "generate": ["run=a"],
    "inspect": ["clip=a"],
    "evaluate": ["result=a"],
    "benchmark": ["pairs=a"],
    "ablation": [],
    "survey": ["results=a"],
    "survey_results": ["answers=[a]"],
    "train_lofnet": ["data=a"],
    "fetch": ["what=sd14"],
    "doctor": [],
    "examples": [],
    "completion": ["shell=bash"],
    "app": [],
}
#: Text that YAML, Hydra or OmegaConf would read as something else.
NASTY = [
    "a turtle",
    "a turtle, running",
    'it\'s a "turtle"',
    "'quoted'",
    '"quoted"',
    "x=1, y==2",
    "[a, {b: c}]",
    "{",
    "}",
    "(a",
    "costs $5",
    "${frames}",
    r"\${frames}",
    r"\\${frames}",
    "$" + "{oc.env:HOME}",
    "back\\slash\\",
    "\\",
    "'",
    "a\nb\tc",
    "null",
    "true",
    "10",
    "1e-4",
    "0x10",
    "~x",
    "+x",
    "@:#%&*?|",
    "une tortue à écailles 🐢",
    "/path with spaces/lr=1e-4/(copy) [2].gif",
    "C:\\clips\\a.gif",
]


@cache
def _composed(name: str, *overrides: str) -> dict[str, Any]:
    return plain(compose(name, [*REQUIRED[name], *overrides]))


def composed(name: str, *overrides: str) -> dict[str, Any]:
    """The values of a configuration to which what it needs is given, and `overrides`."""
    return deepcopy(_composed(name, *overrides))  # Hydra takes a tenth of a second


def with_override(config: DictConfig, word: str) -> DictConfig:
    """A copy of `config` with one override, read by Hydra's parser as in a composition."""
    parsed = OverridesParser.create().parse_override(word)
    copy = deepcopy(config)
    OmegaConf.update(copy, parsed.key_or_group, parsed.value())
    return copy


class Stages:
    """Stands for what the commands call: keeps each call's arguments, in order.

    `error` is raised by every call, if set; `folder` is the run folder of all results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, dict]] = []
        self.error: BaseException | None = None

    def stage(self, name: str, outcome: object) -> Callable[..., object]:
        """A function `name` that gives `outcome`; positional arguments are kept as `arguments`."""

        def call(*arguments: object, **keywords: object) -> object:
            positional = {"arguments": arguments} if arguments else {}
            self.calls.append((name, positional | keywords))
            if self.error is not None:
                raise self.error
            return outcome

        return call

    @property
    def last(self) -> dict:
        """Arguments of the last call."""
        return self.calls[-1][1]
