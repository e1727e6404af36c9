"""Mistakes, stops and what goes wrong: one line each, and an exit code."""

import re
from pathlib import Path

import pytest
from cli_samples import PAIR, Stages

from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["transfr"], r"invalid choice: 'transfr'"),
        (["transfer"], r"expected --source and --driving and --prompt, got none"),
        ([*PAIR, "--promt", "x"], r"has no flag --promt; did you mean --prompt\?"),
        (
            ["benchmark", "creatures", "--method", "a=b", "--method", "c=d"],
            "expected --method once, got a=b and c=d: --methods takes several",
        ),
        ([*PAIR, "--promt=x"], r"has no flag --promt; did you mean --prompt\?"),
        ([*PAIR, "--itera", "5"], r"has no flag --itera; did you mean --iterations\?"),
        (
            [*PAIR, "x.gif"],
            r"expected a flag and its value, such as --source FILE, or SETTING=VALUE.*got 'x.gif'",
        ),
        ([*PAIR, "--frames"], r"--frames: expected one argument"),
        (
            [*PAIR, "--frames", "1"],
            r"--frames: expected a whole number from 2 to 600, got 1; the default is 10$",
        ),
        (
            [*PAIR, "--frames", "x"],
            r"--frames: expected a whole number .*, got 'x'; the default is 10$",
        ),
        (
            [*PAIR, "--frames", "2.5"],
            r"--frames: expected a whole number .*, got 2.5; the default is 10$",
        ),
        ([*PAIR, "--noise-min", "1000"], r"--noise-min: expected a whole number from 0 to 999"),
        ([*PAIR, "--guidance", "-1"], r"--guidance: expected a number of at least 0"),
        ([*PAIR, "--prompt", ""], r"--prompt: expected a few words, such as .*, got ''"),
        ([*PAIR, "--start-frame", "last"], r"--start-frame: expected \"first\", \"auto\""),
        ([*PAIR, "tuning.lrr=1"], r"unknown setting 'tuning.lrr'; did you mean tuning.lr\?"),
        (
            [*PAIR, "tuning.lr=fast"],
            r"tuning.lr: expected a number above 0 or null, got 'fast'; the default is 0.0005$",
        ),
        (
            [*PAIR, "tuning.lr=1,2"],
            r"tuning.lr: expected a number above 0 or null, got '1,2'; the default is 0.0005$",
        ),
        ([*PAIR, "+a=1"], r"expected a flag and its value"),
    ],
)
def test_mistakes_are_one_line(
    stages: Stages, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert re.search(line, err)
    assert err.startswith("anamodiff: error: ") and err.count("\n") == 1
    assert out == "" and not stages.calls


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (AnaMoDiffError("expected a clip,\ngot none"), 2, "error: expected a clip, got none"),
        (
            FileNotFoundError(2, "No such file or directory", "s.gif"),
            2,
            "error: expected a file or folder that is there, got 'no such file or directory' "
            "from s.gif; correct the name",
        ),
        (OSError("the hub\nis away"), 2, "error: the hub is away"),
        (
            RuntimeError("boom\nbang"),
            1,
            "unexpected error: RuntimeError: boom bang",
        ),
    ],
)
def test_errors_show_a_traceback_only_with_debug(
    stages: Stages,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    stages.error = error
    assert cli.main(["demo"]) == code
    doctor = "; anamodiff doctor says what is here and what a run takes" if code == 1 else ""
    hint = f"; run again with --debug to see where{doctor}" if code == 1 else ""
    assert capsys.readouterr().err == f"anamodiff: {line}{hint}\n"
    for words in (["--debug", "demo"], ["demo", "--debug"], ["demo", "--seed", "1", "--debug"]):
        assert cli.main(words) == code
        err = capsys.readouterr().err
        assert err.startswith("Traceback (most recent call last)")
        assert err.endswith(f"anamodiff: {line}{doctor}\n")


def test_an_interrupted_run_says_how_to_go_on(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.error = KeyboardInterrupt()
    lines = {
        ("demo",): "stopped; the same command with --resume goes on from there\n",
        ("demo", "--output", "my run"): "stopped; the same command with --resume --output 'my run'",
        ("generate", "--run", "a"): "stopped\n",
    }
    for words, line in lines.items():
        assert cli.main(words) == 130
        err = capsys.readouterr().err
        assert err.startswith(f"anamodiff: {line}") and err.count("\n") == 1
    stages.error.run = Path("outputs/7")
    assert cli.main(["demo", "--output", "a.mp4"]) == 130
    assert "--resume --output outputs/7 goes on" in capsys.readouterr().err
