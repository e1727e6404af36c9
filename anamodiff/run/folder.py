"""The run folder: everything one transfer leaves behind, and with what it was made."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from anamodiff import __version__
from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import dotted, settings_of
from anamodiff.options import TuningOptions
from anamodiff.resources import expanded
from anamodiff.run.machine import peak_memory_mb
from anamodiff.run.outputs import check_output_name, is_video

CONFIG, RECORD = "config.yaml", "run.json"
OUTPUTS = Path("outputs")
PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy", "opencv-python", "scikit-image")
# What may differ between a run and its resumption.
FREE = ("output", "resume", "progress", "generation", "preset")
FREE_OF_TUNING = {"checkpoint_levels", "clips_at_once"}  # as there is memory
# Runs from before they were settings have none; there, tuning's checkpoint decides. What they were
# then, on a CPU and unnamed.
NEWER = {"precision": "fp32"}


class RunFolder:
    """Paths of one run, its settings (`config.yaml`) and its record (`run.json`)."""

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)

    @classmethod
    def open(
        cls, output: str | Path | None, name: str, settings: dict[str, Any], *, resume: bool,
        unnamed: Mapping[str, Callable[[], Any]] | None = None,
    ) -> RunFolder:  # fmt: skip
        """A new run folder or, to resume, the old one.

        `output` names the folder, or a video file, whose run folder then goes under `outputs/`.
        Of the settings in `unnamed`, those that are None in `settings` are the old run's, and in a
        new one what the function gives.

        Raises:
            AnaMoDiffError: the folder holds something else, or no run to resume is found.
        """
        check_output_name(output)
        old: dict[str, Any] | None = None
        if output is not None and not is_video(output):
            run = cls(output)
            if not resume:
                run.check_free()
            elif run.path.is_dir():
                run._check_resumable(settings)
                old = run.settings
        elif resume:
            run = cls._find(name, settings)
            old = run.settings
        else:
            run = cls(unused(OUTPUTS / name))
        for key, choose in (unnamed or {}).items():
            if settings[key] is None:
                settings = {**settings, key: choose() if old is None else old.get(key, NEWER[key])}
        run.path.mkdir(parents=True, exist_ok=True)
        write_text(run.path / CONFIG, yaml.safe_dump(settings, sort_keys=False))
        return run

    @classmethod
    def load(cls, path: str | Path) -> RunFolder:
        """An existing run folder.

        Raises:
            AnaMoDiffError: it is none.
        """
        run = cls(path)
        if not (run.path / CONFIG).is_file():
            raise AnaMoDiffError(
                f"expected a run folder with {CONFIG}, got {run.path}: "
                "name the folder that tune or transfer printed"
            )
        return run

    @property
    def settings(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))

    @property
    def inputs(self) -> list[str]:
        """The clips that the run was made from."""
        settings = self.settings
        return [settings[name] for name in ("source", "driving") if settings.get(name)]

    @property
    def record(self) -> dict[str, Any]:
        path = self.path / RECORD
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @contextmanager
    def named_on_stop(self) -> Iterator[None]:
        """Leave the folder on a KeyboardInterrupt, as `run`: the message says how to go on."""
        try:
            yield
        except KeyboardInterrupt as stop:
            stop.run = self.path  # pyright: ignore[reportAttributeAccessIssue]
            raise

    def note(self, **facts: Any) -> None:
        """Add facts to `run.json`; dictionaries are merged, and empty ones left out."""
        record = {"anamodiff": __version__, "versions": versions(), **self.record}
        for key, value in facts.items():
            old = record.get(key)
            if value != {}:
                record[key] = {**old, **value} if isinstance(old, dict) else value
        record["peak_memory_mb"] = peak_memory_mb()
        write_text(self.path / RECORD, json.dumps(record, indent=2) + "\n")

    def check_free(self) -> None:
        """Refuse a folder that holds something, for a new run."""
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise AnaMoDiffError(
                f"expected a new or empty folder for --output, got {self.path}: name another, "
                "or add --resume to go on with the run there"
            )

    def _check_resumable(self, settings: dict[str, Any]) -> None:
        """Refuse a folder whose run has other settings."""
        others = _others(RunFolder.load(self.path).settings, settings)
        if others:
            raise AnaMoDiffError(
                f"expected the settings in {self.path / CONFIG} to resume, got others: {others}; "
                "repeat the first command, or name a new --output"
            )

    @classmethod
    def _find(cls, name: str, settings: dict[str, Any]) -> RunFolder:
        """The newest run under `outputs/` with these settings."""
        folders = sorted(OUTPUTS.glob(f"{name}*/{CONFIG}"), key=os.path.getmtime, reverse=True)
        for config in folders:
            run = cls(config.parent)
            if not _others(run.settings, settings):
                return run
        raise AnaMoDiffError(
            f"expected an interrupted run with these settings under {OUTPUTS}/, found none: "
            "name it with --output, or leave out --resume"
        )


def _others(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The settings that keep a run from going on, as `name old, now new`; empty if there are none.

    A setting that is gone since the run began, or is unnamed now, does not count.
    """
    was, now = _fixed(old), _fixed(new)
    return ", ".join(
        f"{name} was {was.get(name)!r} and is {now.get(name)!r}"
        for name in {**now, **was}
        if was.get(name) != now.get(name)
        and not (name in NEWER and (name not in was or now.get(name) is None))
    )


def _fixed(settings: dict[str, Any]) -> dict[str, Any]:
    """What must stay for a run to go on, by dotted name."""
    names = settings_of(TuningOptions).keys() - FREE_OF_TUNING
    tuning = {key: value for key, value in settings.get("tuning", {}).items() if key in names}
    fixed = {key: value for key, value in settings.items() if key not in FREE}
    return dotted(fixed | {"tuning": tuning})


def unused(path: Path, suffix: str = "") -> Path:
    """`path`, or the first of path-2, path-3, … that does not exist, each with the suffix."""
    candidate, number = path.with_name(path.name + suffix), 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}{suffix}"), number + 1
    return candidate


def write_text(path: Path, text: str) -> None:
    """Write atomically; names of files that are no text keep their bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    os.replace(temporary, path)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
