"""The commands and the Python in README.md work."""

import re
import shlex
from pathlib import Path

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]


def _blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.M | re.S)


def _commands() -> list[str]:
    """Each command of README.md's bash blocks; `&&` joins several, `#` begins a comment."""
    lines = "".join(_blocks("bash")).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.partition(" #")[0].split("&&")]
    return [part.strip() for part in parts if part.strip() and not part.startswith("#")]


def test_readme_begins_with_the_two_commands() -> None:
    assert _commands()[:4] == ["pip install .", "anamodiff demo", 'pip install ".[test]"', "pytest"]


@pytest.mark.parametrize("command", sorted({c for c in _commands() if c.startswith("anamodiff")}))
def test_commands_in_the_readme_work(
    stages: Stages, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)[1:]
    try:
        code = cli.main(words)
    except SystemExit as stop:  # --help
        code = stop.code
    assert code == 0, capsys.readouterr().err


def test_other_commands_in_the_readme_are_run_by_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for command in _commands():
        if not command.startswith("anamodiff ") or command == "anamodiff demo":
            assert any(re.search(rf"(^|\s){re.escape(command)}$", line) for line in ci), command


def test_python_in_the_readme_works(stages: Stages) -> None:
    blocks = _blocks("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert {name for name, _ in stages.calls} == {"load", "transfer"}
