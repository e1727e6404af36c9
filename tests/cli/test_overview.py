"""Groups and examples of the help, advice after errors, what to open, and shell completion."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import PAIR, Stages
from PIL import Image

from anamodiff.cli import main as cli
from anamodiff.cli.overview import EXAMPLES, GROUPS, advice
from anamodiff.errors import AnaMoDiffError


def test_every_command_is_in_one_group_and_has_examples() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.COMMANDS) == sorted(EXAMPLES)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_commands_that_work(stages: Stages, name: str) -> None:
    parser = cli.build_parser()
    for line in EXAMPLES[name]:
        words = shlex.split(line.partition(">")[0])
        found, rest = parser.parse_known_args([name, *words])
        flags = {k: v for k, v in vars(found).items() if k not in ("command", "debug")}
        cli.values_of(name, flags, rest)


def test_the_help_lists_groups_and_the_command_s_help_examples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--help"], ["generate", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(words)
    out = capsys.readouterr().out
    places = [out.index(f"  {title}:\n") for title in GROUPS]
    assert places == sorted(places)
    assert "examples:\n  anamodiff generate --run runs/turtle\n" in out


def test_the_help_needs_no_torch() -> None:
    code = (
        "import sys; from anamodiff.cli.main import build_parser; build_parser().format_help();"
        "sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_cheap_mistakes_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "empty.gif").touch()
    pictures = [Image.new("RGB", (40, 40), colour) for colour in ("white", "red")]
    pictures[0].save(tmp_path / "two.gif", save_all=True, append_images=pictures[1:])
    mistakes = [
        "tune --source two.gif --driving two.gif --prompt turtle --start-frame 50",
        "transfer --source none.gif --driving none.gif --prompt turtle",
        "transfer --source empty.gif --driving none.gif --prompt turtle",
        "tune --source none.gif --driving none.gif --prompt turtle tuning.lrr=1",
        "tune --source none.gif --driving none.gif --prompt turtle",
        "demo --output .",
        "demo --seed x",
        "generate --run none",
        "inspect none.gif",
        "transfer-many none.csv",
        "evaluate none.gif",
        "benchmark none",
        "ablation figure7 none",
        "train-lofnet --data none",
        "fetch nonsense",
    ]
    code = (
        "import sys; from anamodiff.cli.main import main\n"
        f"for line in {mistakes}: print(main(line.split()), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["2 False"] * len(mistakes), done.stderr
    assert len(done.stderr.splitlines()) == len(mistakes)


@pytest.mark.parametrize(
    ("line", "helps"),
    [
        ("error: expected a source (file or folder), got nothing at s.gif; check", "examples"),
        ("error: expected --source and --prompt, got none; see --help", "examples"),
        ("error: device cuda asked for, but no CUDA device is here: use cpu", "doctor"),
        (f"error: {cli.OUT_OF_MEMORY}", "doctor"),
        ("unexpected error: KeyError: x", "doctor"),
        ("error: expected --prompt: a few words, got ''", None),
        ("error: expected a backbone on CUDA: run anamodiff fetch sd14", None),
    ],
)
def test_errors_advise_the_command_that_helps(line: str, helps: str | None) -> None:
    told = advice(line, ["transfer"])
    assert told.startswith(f"; anamodiff {helps} ") if helps else told == ""
    assert helps is None or advice(line, [helps]) == "", "not the command that has just failed"


def test_advice_is_printed(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    stages.error = AnaMoDiffError("expected a source (file or folder), got nothing at s.gif")
    assert cli.main(PAIR) == 2
    assert capsys.readouterr().err.endswith("; anamodiff examples writes clips to try\n")
    assert cli.main(["trasfer"]) == 2
    assert "invalid choice: 'trasfer', expected a command; did you mean transfer?" in (
        capsys.readouterr().err
    )


def opened(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("open: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("open: ")


def test_one_line_says_what_to_open(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("comparison.mp4", "report.html"):  # the best there is
        (stages.folder / name).touch()
        assert cli.main(PAIR) == 0
        assert opened(capsys) == str(stages.folder / name)
    assert cli.main(["tune", *PAIR[1:]]) == 0
    assert opened(capsys) == str(stages.folder / "report.html")
    for words, page in [
        (["inspect", "s.gif"], Path("outputs/s-flow.png")),
        (["benchmark", "creatures"], stages.folder / "index.html"),
        (["ablation", "figure7"], stages.folder / "figure7.png"),
        (["transfer-many", "list.csv"], stages.folder / "summary.csv"),
        (["survey", "results"], Path("outputs/survey/page/index.html")),
    ]:
        assert cli.main(words) == 0, words
        assert opened(capsys) == str(page)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    for word in (*cli.COMMANDS, "--preset", "--noise-min", "paper"):
        assert word in out


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert cli.main(["completion", "bash"]) == 0
    file = tmp_path / "anamodiff.bash"
    file.write_text(capsys.readouterr().out)

    def complete(*words: str) -> list[str]:
        quoted = shlex.join(["anamodiff", *words])
        code = (
            f"source {shlex.quote(str(file))}; COMP_WORDS=({quoted}); COMP_CWORD={len(words)};"
            '_shtab_anamodiff; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return found.stdout.split()

    assert complete("tra") == ["transfer", "transfer-many", "train-lofnet"]
    assert complete("transfer", "--preset", "") == ["paper", "fast"]
    assert complete("transfer", "--dri") == ["--driving"]


def test_completion_without_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert 'pip install "anamodiff[completion]"' in capsys.readouterr().err
    assert cli.main(["completion", "fish"]) == 2
    assert "SHELL: expected one of bash, zsh" in capsys.readouterr().err
