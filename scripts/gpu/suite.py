"""The quick suite's device tests, on the device."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from gpu.bench import Bench
from gpu.record import Record

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/devices", "tests/backbone/test_memory.py")


class Noted:
    """A plugin of pytest that notes each test as it ends: one that is killed leaves the others."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: list[str] = []
        self.started = time.perf_counter()

    def pytest_collection_finish(self, session: Any) -> None:
        self.record.note(
            collected=len(session.items), collecting_seconds=time.perf_counter() - self.started
        )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.record.note(running=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.passed:
            return
        self.counts[report.outcome] += 1
        if report.failed:
            self.failures.append(report.nodeid)
        self._note()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.counts["failed"] += 1
            self.failures.append(report.nodeid)
            self._note()

    def _note(self) -> None:
        words = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        self.record.note(summary=words, failures=self.failures)


def measure(bench: Bench) -> None:
    """Run the tests in pytest, in this process, whose libraries are imported already."""
    started = time.perf_counter()
    # Not the project's own options: where it is run, pytest may lack the plugin that they need.
    words = ["-o", "addopts=", "--import-mode=importlib", "-m", "not slow", "-q", "-rfEs",
             "--tb=short", "--durations=5", "-p", "no:cacheprovider", "--rootdir", str(ROOT),
             *TESTS]  # fmt: skip
    if bench.small:
        words += ["-k", "objective or noticed"]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    home = Path.cwd()
    os.chdir(ROOT)
    try:
        code = int(pytest.main(words, plugins=[Noted(bench.record)]))
    finally:
        os.chdir(home)
    bench.record.note(passed=code == 0, running=None, seconds=time.perf_counter() - started)
    if code:
        raise RuntimeError(f"pytest ended with {code}: {bench.record.figures.get('summary')}")
