"""The run folder: everything one transfer leaves behind, and with what it was made."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from anamodiff import __version__
from anamodiff.errors import AnaMoDiffError, one_line
from anamodiff.fields import dotted, settings_of
from anamodiff.lock import hold, is_trace, release
from anamodiff.options import TuningOptions
from anamodiff.resources import expanded, replacing
from anamodiff.run.machine import peak_memory_mb
from anamodiff.run.outputs import check_output_name, is_video, masks_in

CONFIG, RECORD, CLIPS = "config.yaml", "run.json", "scene.safetensors"
OUTPUTS = Path("outputs")
PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy", "opencv-python", "scikit-image")
UNNAMED = "clip"  # what settings call a clip that was read from no file
# Names under which files are written before they take their place.
_HALF_WRITTEN = re.compile(r"\..+\.\d+(\.\w+)?")
# What may differ between a run and its resumption.
FREE = ("output", "resume", "progress", "generation", "preset")
FREE_OF_TUNING = {"checkpoint_levels", "clips_at_once"}  # as there is memory
# Runs from before they were settings have none; there, tuning's checkpoint decides. What they were
# then, on a CPU and unnamed.
NEWER = {
    "precision": "fp32", "adaptation.matte": "none", "adaptation.motion_scale": 1.0, "size": None,
}  # fmt: skip


class RunFolder:
    """Paths of one run, its settings (`config.yaml`) and its record (`run.json`)."""

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)

    @classmethod
    def open(
        cls, output: str | Path | None, name: str, settings: dict[str, Any], *, resume: bool,
        unnamed: Mapping[str, Callable[[], Any]] | None = None,
        former: Mapping[str, Any] | None = None,
    ) -> RunFolder:  # fmt: skip
        """A new run folder or, to resume, the old one.

        `output` names the folder, or a video file, whose run folder then goes under `outputs/`.
        Of the settings in `unnamed`, those that are None in `settings` are the old run's, and in a
        new one what the function gives; `former` are those of old runs that name none. The folder
        is locked, for `close` to unlock.

        Raises:
            AnaMoDiffError: the folder holds something else, another process is at work in it, or no
                run to resume is found.
        """
        check_output_name(output)
        if output is not None and not is_video(output):
            run = cls(output)
            if not resume:
                run.check_free()
        elif resume:
            run = cls._find(name, settings, former or {})
        else:
            run = cls(new_folder(OUTPUTS / name))
        run.lock()
        try:
            run._begin(settings, unnamed or {}, former or {}, resume)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(
        self, settings: dict[str, Any], unnamed: Mapping[str, Callable[[], Any]],
        former: Mapping[str, Any], resume: bool,
    ) -> None:  # fmt: skip
        """Check the locked folder, and write the settings."""
        old: dict[str, Any] | None = None
        if resume and not self._is_empty():
            old = self._check_resumable(settings, former)
            self._clean()
        else:
            self.check_free()
        for key, choose in unnamed.items():
            if settings[key] is None:
                settings = {**settings, key: choose() if old is None else old.get(key, NEWER[key])}
        write_text(self.path / CONFIG, yaml.safe_dump(settings, sort_keys=False))

    def lock(self) -> None:
        """Keep other processes out until `close`.

        Raises:
            AnaMoDiffError: one is at work in the folder.
        """
        hold(self.path, "run folder")

    def close(self) -> None:
        """Let other processes in again."""
        release(self.path)

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

    def check_tuned(self) -> None:
        """Refuse a run folder without the clips that tuning leaves in it.

        Raises:
            AnaMoDiffError: it is not tuned yet.
        """
        if not (path := self.path / CLIPS).is_file():
            raise AnaMoDiffError(f"expected a tuned run, got no {path}: run anamodiff tune first")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in `config.yaml`; AnaMoDiffError where that is no run's."""
        path = self.path / CONFIG
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not {"prompt", "backbone", "seed", "tuning"} <= set(found):
                raise ValueError("other keys")
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise AnaMoDiffError(
                f"expected a run's settings in {path}, got something else ({one_line(str(error))}):"
                " restore the file, or run the transfer again in another folder"
            ) from error
        return found

    @property
    def inputs(self) -> list[str]:
        """The clips that the run was made from, and its masks."""
        settings = self.settings
        clips = [settings[name] for name in ("source", "driving") if settings.get(name)]
        return [*clips, *masks_in(settings.get("adaptation"))]

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says, nothing where it is missing or broken: it is only a record."""
        try:
            return dict(json.loads((self.path / RECORD).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return {}

    @contextmanager
    def named_on_stop(self) -> Iterator[None]:
        """Leave the folder on what ends the run, as `run`: the message says how to go on."""
        try:
            yield
        except BaseException as stop:  # Ctrl-C comes out of some libraries as another error
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
        if not self._is_empty():
            raise AnaMoDiffError(
                f"expected a new or empty folder for --output, got {self.path}: name another, "
                "or add --resume to go on with the run there"
            )

    def _is_empty(self) -> bool:
        """Whether there is no folder, or one without anything but traces of a killed process."""
        if not self.path.is_dir():
            return not self.path.exists()
        return all(is_trace(path) for path in self.path.iterdir())

    def _clean(self) -> None:
        """Remove what a killed process had half-written; under the lock, nobody is writing."""
        for path in (*self.path.glob(".*"), *self.path.glob("frames/.*")):
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _check_resumable(
        self, settings: dict[str, Any], former: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The settings of the run in the folder; refuses one with others."""
        old = RunFolder.load(self.path)._settings_with(former)
        if others := _others(old, settings):
            raise AnaMoDiffError(
                f"expected the settings in {self.path / CONFIG} to resume, got others: {others}; "
                "repeat the first command, or name a new --output"
            )
        return old

    def _settings_with(self, former: Mapping[str, Any]) -> dict[str, Any]:
        """`settings`, with `former` ones where they name none."""
        named = {key: value for key, value in self.settings.items() if value is not None}
        return {**self.settings, **former, **named}

    @classmethod
    def _find(cls, name: str, settings: dict[str, Any], former: Mapping[str, Any]) -> RunFolder:
        """The newest run under `outputs/` with these settings."""
        folders = sorted(OUTPUTS.glob(f"{name}*/{CONFIG}"), key=os.path.getmtime, reverse=True)
        for config in folders:
            run = cls(config.parent)
            if not _others(run._settings_with(former), settings):
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
    found = dotted(fixed | {"tuning": tuning})
    for name in ("source", "driving", "adaptation.matte"):
        # Older runs have names from the folder they began in.
        if found.get(name) not in (None, UNNAMED, "auto", "none"):
            found[name] = os.path.abspath(expanded(found[name]))
    return found


def unused(path: Path, suffix: str = "") -> Path:
    """`path`, or the first of path-2, path-3, … that does not exist, each with the suffix."""
    candidate, number = path.with_name(path.name + suffix), 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}{suffix}"), number + 1
    return candidate


def new_folder(path: Path) -> Path:
    """Make `path`, or the first of path-2, path-3, … that does not exist."""
    while True:
        folder = unused(path)
        with suppress(FileExistsError):  # another process was quicker
            folder.mkdir(parents=True)
            return folder


def write_text(path: Path, text: str) -> None:
    """Write atomically; names of files that are no text keep their bytes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def check_writable(output: str | Path | None) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Raises:
        AnaMoDiffError: it is a folder, or its folder is none or may not be written to.
    """
    if output is None:
        return
    path = expanded(output)
    if path.is_dir():
        raise AnaMoDiffError(f"expected a file for --output, got the folder {path}: name a file")
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent  # what is missing is made
    if not place.is_dir() or not os.access(place, os.W_OK):
        got = "a folder that may not be written to" if place.is_dir() else "a file"
        raise AnaMoDiffError(
            f"expected a folder to write {path.name} to, got {got}: {place}; name another --output"
        )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
