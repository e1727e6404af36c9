"""What the page's buttons do: preview, run, cancel. All of it calls `run/`."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anamodiff.app.job import Job, Stopped
from anamodiff.app.options import AppOptions
from anamodiff.app.player import note, player, progress_bar
from anamodiff.app.uploads import clip_of_upload
from anamodiff.errors import (
    AnaMoDiffError,
    explain_os_error,
    is_out_of_memory,
    one_line,
)
from anamodiff.options import StartFrame
from anamodiff.run.downloads import comparison, write_downloads
from anamodiff.run.folder import new_folder
from anamodiff.run.inputs import check_request
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.preview import Preview, Previewer
from anamodiff.run.result import Result

logger = logging.getLogger(__name__)

LONGEST = 384  # pixels of what is drawn for the page
# The folders of an absolute path, of Windows', too; not what follows an address's `https:`.
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[\\/]+(?:[^\s'\",;:\\/]+[\\/]+)+")
OUT_OF_MEMORY = "expected memory for this, got too little: lower the number of frames"
Files = Sequence[str] | str | None


@dataclass(frozen=True)
class Wishes:
    """What stands in the page's fields.

    Attributes:
        start: `first`, `auto` or `number`, that of `start_number`.
        stages: settings by stage; None is what suits the model.
    """

    source: Files
    driving: Files
    prompt: str
    frames: int
    start: str
    start_number: int
    seed: int
    preset: str | None
    stages: Mapping[str, Mapping[str, Any]]

    @property
    def start_frame(self) -> StartFrame:
        """As `run/` takes it."""
        return self.start_number if self.start == "number" else self.start


@dataclass(frozen=True)
class Shown:
    """What a run shows: a line or a bar, films, and files in the end."""

    status: str
    films: str | None = None
    files: Mapping[str, Path] | None = None
    running: bool = True


class Handlers:
    """The page's handlers for all who use it; one at a time computes.

    Args:
        load: gives the models, when they are needed first.
        folder: gets runs and what is unpacked.
        options: bounds of uploads, and how long files are kept.
    """

    def __init__(
        self, load: Callable[[], MotionTransfer], folder: Path, options: AppOptions
    ) -> None:
        self._load, self.folder, self.options = load, folder, options
        self.jobs: dict[str, Job[Any]] = {}
        self._in_use: set[Path] = set()
        self._computing, self._loading = threading.Lock(), threading.Lock()

    @cached_property
    def _previewer(self) -> Previewer:
        return Previewer(self._load(), LONGEST)

    @property
    def previewer(self) -> Previewer:
        """Loads the models once, whoever comes first."""
        with self._loading:
            return self._previewer

    def clips(self, wishes: Wishes) -> tuple[Path, Path]:
        """Source and driving clip of the uploads, within bounds."""
        unpacked = self.folder / "uploads"
        unpacked.mkdir(parents=True, exist_ok=True)
        return (
            clip_of_upload(wishes.source, "source", 1, unpacked, self.options),
            clip_of_upload(wishes.driving, "driving clip", 2, unpacked, self.options),
        )

    def preview(self, wishes: Wishes) -> tuple[str, int]:
        """The films of a preview, and the number of source frames to start from.

        Raises:
            AnaMoDiffError: an input cannot be used.
        """
        self.sweep()
        if not wishes.source or not wishes.driving:
            missing = "source" if not wishes.source else "driving clip"
            return note(f"The preview comes as soon as there is a {missing}, too.", True), 1
        source, driving = self.clips(wishes)
        with self._computing, remarks() as lines:
            shown = self.previewer(
                source, driving, frames=wishes.frames, start_frame=wishes.start_frame,
                adaptation=wishes.stages.get("adaptation"),
            )  # fmt: skip
            if wishes.prompt.strip():
                lines += self.previewer.warnings(shown, wishes.prompt)
        return player(panels(shown), shown.fps, lines), len(shown.made.source)

    def run(self, wishes: Wishes, session: str) -> Iterator[Shown]:
        """A transfer: what to show while it runs, and in the end.

        Ends early where `cancel` is called, or the generator closed.

        Raises:
            AnaMoDiffError: an input cannot be used.
        """
        self.sweep()
        source, driving = self.clips(wishes)
        stages: dict[str, Any] = dict(wishes.stages)
        self._check_steps(stages)
        check_request(
            source, driving, prompt=wishes.prompt, output=None, resume=False, seed=wishes.seed,
            frames=wishes.frames, start_frame=wishes.start_frame, preset=wishes.preset,
            **stages,
        )  # fmt: skip
        runs = self.folder / "runs"
        folder = new_folder(runs / f"{source.stem[:40]}-{driving.stem[:40]}")
        self._in_use.add(folder)
        job = Job(lambda job: self._transfer(job, wishes, source, driving, folder))
        self.jobs[session] = job
        try:
            for now in job.follow():
                films = None
                if (look := now.look) is not None:
                    name = f"result, after step {look.done} of {look.total}"
                    films = player({name: look.frames}, look.fps)
                yield Shown(progress_bar(now), films)
            result, panels, files = job.result()
        except Stopped:
            shutil.rmtree(folder, ignore_errors=True)
            yield Shown(note("Cancelled."), running=False)
            return
        finally:
            job.stop()
            self.jobs.pop(session, None)
            self._in_use.discard(folder)
        took = sum(result.timings.values())
        done = note(f"Done in {took:.0f} s: {len(result.canvas)} frames.")
        yield Shown(done, player(panels, result.fps), files, running=False)

    def _check_steps(self, stages: Mapping[str, Any]) -> None:
        """Refuse a run that would keep the others waiting for hours."""
        most = self.options.max_steps
        for stage, name in (("tuning", "iterations"), ("generation", "steps")):
            asked = stages.get(stage, {}).get(name)
            if isinstance(asked, int) and asked > most:
                raise AnaMoDiffError(
                    f"{stage}.{name}: expected at most {most} here, got {asked}: ask for fewer, or "
                    "start the page with a larger max_steps"
                )

    def cancel(self, session: str) -> bool:
        """Stop a session's job at its next step, if it has one."""
        job = self.jobs.get(session)
        if job is not None:
            job.stop()
        return job is not None

    def close(self) -> None:
        """Stop all jobs."""
        for job in list(self.jobs.values()):
            job.stop()

    def sweep(self) -> None:
        """Delete runs and what was unpacked, once they are old."""
        before = time.time() - 60 * self.options.keep_minutes
        for path in (*self.folder.glob("runs/*"), *self.folder.glob("uploads/*")):
            with suppress(OSError):  # another thread sweeps, too
                if path not in self._in_use and path.stat().st_mtime < before:
                    shutil.rmtree(path, ignore_errors=True)

    def _transfer(
        self, job: Job[Any], wishes: Wishes, source: Path, driving: Path, folder: Path
    ) -> tuple[Result, Mapping[str, Any], Mapping[str, Path]]:
        """In the job's thread."""
        job.progress("waiting for the one before", 0, 0)
        while not self._computing.acquire(timeout=0.2):
            job.progress("waiting for the one before", 0, 0)
        try:
            job.progress("reading and warping the clips", 0, 0)
            mover = self.previewer.mover
            stages: dict[str, Any] = dict(wishes.stages)
            result = mover.transfer(
                source, driving, prompt=wishes.prompt, output=folder, frames=wishes.frames,
                seed=wishes.seed, start_frame=wishes.start_frame, preset=wishes.preset,
                progress=job.progress, watch=job.watch, **stages,
            )  # fmt: skip
            job.progress("writing the files", 0, 0)
            clips = comparison(result, mover.backbone, LONGEST)
            return result, clips, write_downloads(result, folder / "downloads")
        finally:
            self._computing.release()


def panels(shown: Preview) -> dict[str, Any]:
    """The clips of a preview under their names."""
    moved = "skeleton" if shown.made.poses is not None else "key points"
    return {
        f"source, {moved}": shown.source,
        f"driving, {moved}": shown.driving,
        f"retargeted {moved}": shown.target,
        "source, matte": shown.source_matte,
        "driving, matte": shown.driving_matte,
        "warped preview": shown.warped,
    }


def explained(error: BaseException) -> str:
    """One line for the page; what is not the user's mistake is logged, too.

    Files go by their names: the server's folders are nobody's business.
    """
    return _FOLDERS.sub("", _line_of(error))


def _line_of(error: BaseException) -> str:
    if isinstance(error, AnaMoDiffError):
        return " ".join(str(error).split())
    logger.error("%s: %s", type(error).__name__, one_line(str(error)), exc_info=error)
    if isinstance(error, OSError):
        return explain_os_error(error)
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"unexpected error: {type(error).__name__}: {one_line(str(error))}"


@contextmanager
def remarks() -> Iterator[list[str]]:
    """The package's warnings that this thread logs meanwhile."""
    lines: list[str] = []
    thread = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno >= logging.WARNING:
                lines.append(record.getMessage())

    handler = Keep()
    log = logging.getLogger("anamodiff")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
