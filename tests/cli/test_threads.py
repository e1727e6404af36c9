"""Threads are fewer where other programs run, unless somebody set their number."""

import logging
import os
from pathlib import Path

import pytest

from anamodiff.cli import threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four cores, of which a file tells how many tasks run."""
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads, "PAUSE", 0)
    monkeypatch.setattr(threads, "_cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "RUNNING", tmp_path / "loadavg")
    return tmp_path / "loadavg"


@pytest.mark.parametrize(
    ("running", "chosen"), [(1, None), (2, "3"), (3, "2"), (5, "1"), (40, "1")]
)
def test_busy_cores_are_left_alone(
    machine: Path, caplog: pytest.LogCaptureFixture, running: int, chosen: str | None
) -> None:
    machine.write_text(
        f"9.00 9.00 9.00 {running}/300 1234\n", encoding="ascii"
    )  # what ran before does not matter
    with caplog.at_level(logging.INFO):
        threads.leave_busy_cores_alone()
    assert os.environ.get(threads.VARIABLE) == chosen
    assert ("computing with" in caplog.text) == (chosen is not None)
    os.environ.pop(threads.VARIABLE, None)


def test_cores_of_a_larger_machine_are_shared_out(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    machine.write_text("0 0 0 33/300 1\n", encoding="ascii")
    threads.leave_busy_cores_alone()
    assert os.environ.pop(threads.VARIABLE) == "2", "half of the machine is free"


@pytest.mark.parametrize("content", [None, "", "no numbers here at all"])
def test_where_nothing_is_known_nothing_is_set(machine: Path, content: str | None) -> None:
    if content is not None:
        machine.write_text(content, encoding="ascii")
    threads.leave_busy_cores_alone()
    assert threads.VARIABLE not in os.environ


def test_a_number_that_was_set_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write_text("0 0 0 9/300 1\n", encoding="ascii")
    monkeypatch.setenv(threads.VARIABLE, "4")
    threads.leave_busy_cores_alone()
    assert os.environ[threads.VARIABLE] == "4"
