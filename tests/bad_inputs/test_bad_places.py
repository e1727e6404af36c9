"""Outputs that cannot be written, are taken, or run out of space; and memory that runs out."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bad_samples import digests, is_helpful, mounted, refusal

from anamodiff.cli import main as cli
from anamodiff.errors import explain_os_error
from anamodiff.lock import held
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.tuning import optimiser

pytestmark = pytest.mark.slow  # a minute: real disks, locks and transfers


@pytest.fixture
def transfer(tiny_backbone_folder: Path, drawn_clips: tuple[Path, Path]) -> list[str]:
    """A small transfer's words, without its output."""
    source, driving = map(str, drawn_clips)
    return [
        "transfer", "--source", source, "--driving", driving, "--prompt", "a turtle", "--frames",
        "3", "--iterations", "4", "--steps", "1", "--device", "cpu", "--precision", "fp32",
        "--backbone", str(tiny_backbone_folder), "tuning.checkpoint_every=1", "progress=false",
        "--noise-min", "0",
    ]  # fmt: skip


Commands = dict[str, list[str]]


@pytest.fixture
def commands(bad: Path, transfer: list[str], tiny_backbone_folder: Path) -> Commands:
    """Commands with an output, by name, without it."""
    whole, clips = ["--backbone", str(tiny_backbone_folder), "--device", "cpu"], bad / "clips"
    return {
        "transfer": transfer,
        "tune": ["tune", *(w for w in transfer[1:] if w not in ("--steps", "1"))],
        "generate": ["generate", "--run", str(bad / "whole_run"), "--device", "cpu"],
        "inspect": ["inspect", str(clips / "whole.gif"), *whole],
        "evaluate": ["evaluate", str(clips / "whole.mp4"), "--clip-model", "none"],
        "benchmark": ["benchmark", str(bad / "tables" / "incomplete"), *whole],
        "train-lofnet": ["train-lofnet", "--data", str(clips), *whole],
        "survey": ["survey", str(bad / "tables" / "page")],
    }


#: Commands, and the names of files that they write.
FILES = {"transfer": "x.mp4", "generate": "x.gif", "inspect": "x.png", "evaluate": "x.json"}


@pytest.mark.parametrize("name", FILES)
def test_file_in_a_read_only_place(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    with mounted(tmp_path / "ro", "1m", "ro") as place:
        line = refusal(capfd, [*commands[name], "--output", str(place / FILES[name])])
    assert "may not be written to" in line and is_helpful(line), line


@pytest.mark.parametrize("name", ["transfer", "tune"])
def test_folder_in_a_read_only_place(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    with mounted(tmp_path / "ro", "1m", "ro") as place:
        line = refusal(capfd, [*commands[name], "--output", str(place / "run")])
    assert "read-only" in line and is_helpful(line), line


@pytest.mark.parametrize("name", FILES)
def test_file_below_a_file_and_in_the_place_of_a_folder(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("mine")
    line = refusal(capfd, [*commands[name], "--output", str(tmp_path / "file" / FILES[name])])
    assert "got a file: " in line and is_helpful(line), line
    (tmp_path / FILES[name]).mkdir()
    line = refusal(capfd, [*commands[name], "--output", str(tmp_path / FILES[name])])
    assert is_helpful(line), line
    assert digests(tmp_path).keys() == {str(tmp_path / "file")}


@pytest.mark.parametrize("name", ["transfer", "tune"])
def test_folder_that_is_taken(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = digests(tmp_path)
    for taken in ("own", "file"):
        line = refusal(capfd, [*commands[name], "--output", str(tmp_path / taken)])
        assert "expected a new or empty folder" in line and is_helpful(line), line
    line = refusal(capfd, [*commands[name], "--resume", "--output", str(tmp_path / "own")])
    assert "expected a run folder with config.yaml" in line, line
    assert {k: v for k, v in digests(tmp_path).items() if not k.endswith(".lock")} == before


@pytest.mark.parametrize(("name", "file"), [("inspect", "x.txt"), ("evaluate", "x.csv")])
def test_file_of_another_kind(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, file: str
) -> None:
    assert is_helpful(refusal(capfd, [*commands[name], "--output", str(tmp_path / file)]))


def test_file_that_the_user_may_not_read(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("permissions do not bind root")
    (tmp_path / "a.mp4").write_bytes(b"mine")
    (tmp_path / "a.mp4").chmod(0)
    line = refusal(capfd, ["inspect", str(tmp_path / "a.mp4"), *commands["inspect"][2:]])
    assert "permission denied" in line and is_helpful(line), line


@pytest.mark.parametrize("size", ["100k", "600k"])
def test_no_space_left(
    transfer: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path, size: str
) -> None:
    """On a small disk a line says so; with room the same folder goes on."""
    with mounted(tmp_path / "small", size) as place:
        words = [*transfer, "--output", str(place / "run")]
        capfd.readouterr()
        assert cli.main(words) == 2
        *_, line = capfd.readouterr().err.splitlines()
        assert re.search("space|write", line) and is_helpful(line), line
        half = [p.name for p in (place / "run").rglob("*") if p.suffix == ".tmp"]
        assert not half, "half-written files stay"
        grown = ["mount", "-o", "remount,size=50m", str(place)]
        assert subprocess.run(grown, check=False).returncode == 0
        assert cli.main([*words, "--resume"]) == 0
        assert (place / "run" / "result.mp4").stat().st_size > 0


def test_no_space_left_for_a_picture_keeps_the_old_one(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with mounted(tmp_path / "small", "40k") as place:
        (place / "x.png").write_bytes(b"the old one")
        assert cli.main([*commands["inspect"], "--output", str(place / "x.png")]) == 2
        *_, line = capfd.readouterr().err.splitlines()
        assert "space" in line and is_helpful(line), line
        assert [p.name for p in place.iterdir()] == ["x.png"]
        assert (place / "x.png").read_bytes() == b"the old one"


def test_no_space_left_for_a_checkpoint(
    transfer: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The checkpoint before it stays, and the run goes on from it."""
    run, saved = tmp_path / "run", []

    def full(state: Any, path: Path) -> None:
        saved.append(len(state["losses"]))
        if len(saved) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(state, path)

    save = torch.save
    monkeypatch.setattr(optimiser.torch, "save", full)
    assert cli.main([*transfer, "--output", str(run)]) == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert "the checkpoint before it is kept" in line and is_helpful(line), line
    assert (run / "tuning.pt").is_file() and not list(run.glob("*.tmp"))
    assert cli.main([*transfer, "--output", str(run), "--resume"]) == 0
    assert saved == [1, 2, 3, 3, 4]


def _runs_out(monkeypatch: pytest.MonkeyPatch, fits: Callable[[Any], bool]) -> list[Any]:
    """Let tuning with options that do not fit run out of memory after an iteration."""
    seen: list[Any] = []
    method = MotionTransfer.load.__func__.__globals__["AnaMoDiff"]
    fit = method.fit

    def limited(self: Any, warped: Any, prompt: str, options: Any, **more: Any) -> Any:
        seen.append((options.checkpoint_levels, options.clips_at_once))
        if not fits(options):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")
        return fit(self, warped, prompt, options, **more)

    monkeypatch.setattr(method, "fit", limited)
    return seen


def test_tuning_takes_the_next_memory_preset(
    transfer: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert cli.main([*transfer, "--output", str(tmp_path / "plenty")]) == 0
    seen = _runs_out(monkeypatch, lambda options: options.checkpoint_levels == "all")
    capfd.readouterr()
    assert cli.main([*transfer, "--output", str(tmp_path / "little")]) == 0
    said = [line for line in capfd.readouterr().err.splitlines() if "out of memory" in line]
    assert [re.search(r"--vram (\d+)", line)[1] for line in said] == ["24", "16", "8"]
    assert seen == [("none", 2), ("none", 1), ("top", 1), ("all", 1)]
    losses = [
        torch.tensor(json.loads((tmp_path / n / "run.json").read_text())["losses"])
        for n in ("plenty", "little")
    ]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


def test_memory_that_never_suffices_is_one_line_and_resumable(
    transfer: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = [*transfer, "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        _runs_out(patch, lambda options: False)
        assert cli.main(words) == 2
    err = capfd.readouterr().err
    *_, line = err.splitlines()
    assert line.startswith("anamodiff: error: expected memory for tuning") and is_helpful(line)
    assert "Traceback" not in err
    assert cli.main([*words, "--resume"]) == 0


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA\nout of memory")])
def test_memory_that_runs_out_elsewhere_is_one_line(
    transfer: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:  # fmt: skip
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MotionTransfer, "load", fails)
    line = refusal(capfd, transfer)
    assert "expected memory for this command" in line and is_helpful(line), line


def test_a_second_writer_is_refused_and_a_killed_one_s_lock_taken_over(
    transfer: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code = (
        f"from anamodiff.lock import hold; from pathlib import Path; hold(Path({str(run)!r}), 'x')"
    )
    code += "; print('held', flush=True); import time; time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        line = refusal(capfd, [*transfer, "--output", str(run)])
        assert f"held by process {holder.pid} on " in line and is_helpful(line), line
    finally:
        holder.kill()
        holder.wait()
    assert (run / ".lock-holder").is_file(), "the killed process left its traces"
    assert cli.main([*transfer, "--output", str(run)]) == 0
    assert not (run / ".lock-holder").exists()


def test_other_folders_of_results_have_one_writer(
    commands: Commands, capfd: pytest.CaptureFixture[str], bad: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("source,driving,prompt\na.gif,b.gif,a cat\n")
    commands["transfer-many"] = ["transfer-many", str(tmp_path / "list.csv")]
    commands["benchmark"] = ["benchmark", "creatures"]
    for name in ("transfer-many", "benchmark", "generate"):
        folder = bad / "whole_run" if name == "generate" else tmp_path / name
        with held(folder, "x"):
            pass
        own = [] if name == "generate" else ["--output", str(folder)]
        code = "import sys; from anamodiff.cli.main import main; sys.exit(main(sys.argv[1:]))"
        with held(folder, "x"):
            done = subprocess.run(
                [sys.executable, "-c", code, *commands[name], *own], capture_output=True, text=True
            )
        assert done.returncode == 2, done.stderr
        assert f"held by process {os.getpid()} on " in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_explained(number: int) -> None:
    line = explain_os_error(OSError(number, os.strerror(number), "a/b"))
    assert line.startswith("expected ") and "from a/b; " in line
    assert is_helpful(line)


#: One row for each way in which a command fails: words, exit code.
FAILURES = [
    (["transfer", "--source", "none.gif", "--driving", "none.gif", "--prompt", "x"], 2),
    (["demo", "--frames", "1"], 2),
    (["fetch", "nonsense"], 2),
    (["transfer-many", "none.csv"], 2),
]


@pytest.mark.parametrize(("words", "code"), FAILURES)
def test_a_traceback_with_debug_only(
    capfd: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    line = refusal(capfd, words, code)
    assert cli.main([*words, "--debug"]) == code
    err = capfd.readouterr().err
    assert "Traceback (most recent call last)" in err and err.endswith(f"{line}\n")


def test_our_own_mistakes_end_with_one(
    transfer: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(MotionTransfer, "load", broken)
    line = refusal(capfd, transfer, code=1)
    assert "ZeroDivisionError: division by zero; run again with --debug to see where" in line


def test_long_prompts_and_names_of_all_kinds_work(
    transfer: list[str], drawn_clips: tuple[Path, Path], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A prompt of 10,000 characters is cut, and one short line says so."""
    folder = tmp_path / "Schöne Clips 🐢 (2)" / "a=1, 'b' $HOME %d"
    folder.mkdir(parents=True)
    for path in drawn_clips:
        (folder / f"{path.stem} één.gif").write_bytes(path.read_bytes())
    words = [w.replace(str(p), str(folder / f"{p.stem} één.gif")) for w in transfer
             for p in [drawn_clips[w == str(drawn_clips[1])]]]  # fmt: skip
    words[words.index("a turtle")] = "une tortue à écailles 🐢 " * 400
    output = folder / "résultat 1"
    capfd.readouterr()
    assert cli.main([*words, "--output", str(output)]) == 0
    out, err = capfd.readouterr()
    assert str(output / "result.mp4") in out and "prompt cut from" in err
    assert max(map(len, err.splitlines())) < 400
