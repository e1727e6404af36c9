"""The commands and the Python in README.md and docs/ work."""

import re
import shlex
import tomllib
from ast import PyCF_ONLY_AST
from pathlib import Path

import pytest
from cli_samples import Stages
from pages import DOCS, PAGES, README, ROOT, blocks, commands, text_of

from anamodiff.cli import main as cli

#: In shell blocks, ours may be started by another program: `OMP_NUM_THREADS=4 anamodiff ...`.
STARTED = re.compile(r"(?:^|\s)(anamodiff [a-z].*)")
OURS = {c for page in PAGES for c in commands(page) if c.startswith("anamodiff")}
OURS |= {found[1] for p in PAGES for c in commands(p, "sh") if (found := STARTED.search(c))}
OURS = sorted(OURS)


def test_readme_begins_with_the_two_commands() -> None:
    assert commands(README)[:4] == [
        "pip install .", "anamodiff demo", 'pip install ".[test]"', "pytest"
    ]  # fmt: skip


def test_readme_is_one_screen() -> None:
    assert len(text_of(README).splitlines()) <= 120


@pytest.mark.parametrize("command", OURS)
def test_commands_work(stages: Stages, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    try:
        code = cli.main(words)
    except SystemExit as stop:  # --help
        code = stop.code
    assert code == 0, capsys.readouterr().err


def test_every_page_with_commands_is_looked_at() -> None:
    # A block that is named otherwise would be left out.
    for page in PAGES:
        every = re.findall(r"^ *(?:\S+=\S+ )*(anamodiff [a-z].*)$", _fenced(page), re.M)
        known = [*blocks(page, "bash"), *blocks(page, "sh")]
        for line in every:
            assert any(line in block for block in known), f"{page.name}: {line}"


def _fenced(page: Path) -> str:
    return "\n".join(re.findall(r"^ *```\S*[^\n]*\n(.*?)^ *```$", text_of(page), re.M | re.S))


def test_other_commands_in_the_readme_are_run_by_ci() -> None:
    ci = text_of(ROOT / ".ci" / "run").splitlines()
    for command in commands(README):
        if not command.startswith("anamodiff ") or command == "anamodiff demo":
            assert any(re.search(rf"(^|\s){re.escape(command)}$", line) for line in ci), command


def test_scripts_that_pages_name_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\bscripts/\w+\.py\b", text_of(page)):
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


def test_extras_that_pages_name_are_there() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    known = set(project["optional-dependencies"])
    for page in PAGES:
        for names in re.findall(r'"(?:anamodiff|\.)\[([\w,]+)\]"', text_of(page)):
            assert set(names.split(",")) <= known, f"{page.name}: {names}"


@pytest.mark.parametrize("page", [README, DOCS / "python.md"], ids=lambda page: page.name)
def test_python_works(stages: Stages, page: Path) -> None:
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page.name, "exec"), {})
    assert {name for name, _ in stages.calls} <= {"load", "transfer"}
    assert any(name == "transfer" for name, _ in stages.calls)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec", flags=PyCF_ONLY_AST)
