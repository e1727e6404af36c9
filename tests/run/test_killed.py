"""Runs that are killed or stopped, and resumed: the same frames and weights, bit by bit.

`python scripts/kill_runs.py transfer` and `train-lofnet` do it twenty times.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anamodiff.cli.main import interrupts

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signals of POSIX here")
@pytest.mark.parametrize("number", ["KILL", "INT"])
@pytest.mark.parametrize("command", ["transfer", "train-lofnet"])
def test_stopped_and_resumed(command: str, number: str) -> None:
    words = [command, "--kills", "1", "--signal", number, "--seed", "5"]
    script = ROOT / "scripts" / "kill_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 stopped and resumed: 1 the same, 0 wrong" in done.stdout


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGINT is heard, as it is not where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupt_that_a_library_swallows_is_raised_again() -> None:
    class Library:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with interrupts() as stopped:
        with pytest.raises(KeyboardInterrupt):
            library = Library()
            del library
            for _ in range(500):
                time.sleep(0.01)
        assert stopped == [signal.SIGINT, signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("heard")
def test_an_interrupt_that_comes_out_as_another_error_is_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from anamodiff.cli import main as cli

    def broken(*_: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to import") from None
        return 0

    monkeypatch.setattr(cli, "run", broken)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "anamodiff: stopped\n"


def test_a_run_killed_before_its_settings_were_written_begins_anew(tmp_path: Path) -> None:
    from anamodiff.run.folder import RunFolder

    (tmp_path / "run").mkdir()
    for name in (".lock", ".lock-holder", ".config.yaml.4711"):
        (tmp_path / "run" / name).touch()
    settings = {"prompt": "a", "backbone": "mini", "seed": 0, "tuning": {}}
    run = RunFolder.open(tmp_path / "run", "x", settings, resume=True)
    run.close()
    assert RunFolder(tmp_path / "run").settings == settings
    (tmp_path / "run" / "frames").mkdir()
    left = [tmp_path / "run" / ".result.4711.mp4", tmp_path / "run" / "frames" / ".0001.4711.png"]
    for path in (*left, tmp_path / "run" / ".mine"):
        path.touch()
    RunFolder.open(tmp_path / "run", "x", settings, resume=True).close()
    assert not any(path.exists() for path in left) and (tmp_path / "run" / ".mine").exists()
