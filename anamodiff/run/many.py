"""Many transfers from one list (`anamodiff transfer-many`): resumed, summed up, shared out.

The output folder holds a run folder for each row, `rows/NAME.json` with what became of it, and
`summary.csv` and `summary.json`.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.contrib.logging import logging_redirect_tqdm

from anamodiff.backbone.libraries import import_libraries
from anamodiff.errors import AnaMoDiffError, explain_os_error, one_line
from anamodiff.fields import construct
from anamodiff.lock import held, is_trace
from anamodiff.meter import meter
from anamodiff.options import FRAMES, STAGES, RunOptions, StartFrame
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, write_text
from anamodiff.run.outputs import check_no_input, is_video, masks_in
from anamodiff.run.rows import Row, read_list

if TYPE_CHECKING:
    from anamodiff.run.motion_transfer import MotionTransfer

logger = logging.getLogger(__name__)

RECORDS = "rows"
DONE, FAILED, OPEN = "done", "failed", "open"
SUMMARY_COLUMNS = ("row", "status", "seconds", "output", "reason")

#: Does so many rows into the folder, wherever it likes, by calls of `transfer_share`.
Sweep = Callable[[Path, int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a row: `done`, `failed` with the reason in one line, or still `open`.

    `seconds` are those of the last try; `output` is the name inside the output folder.
    """

    row: int
    status: str
    seconds: float | None
    output: str
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """All outcomes of a list, in its order, and the folder that holds the results."""

    folder: Path
    outcomes: list[Outcome]

    @property
    def undone(self) -> list[Outcome]:
        """Those that failed or are still open."""
        return [outcome for outcome in self.outcomes if outcome.status != DONE]

    @property
    def table(self) -> str:
        """All outcomes in aligned columns, and their count."""
        lines = [SUMMARY_COLUMNS, *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(SUMMARY_COLUMNS))]
        rows = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines)
        counts = ", ".join(
            f"{n} {status}"
            for status in (DONE, FAILED, OPEN)
            if (n := sum(outcome.status == status for outcome in self.outcomes))
        )
        return "\n".join([*(row.rstrip() for row in rows), counts])

    def write(self) -> None:
        """Write `summary.csv` and `summary.json`."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([SUMMARY_COLUMNS, *self._cells()])
        write_text(self.folder / "summary.csv", text.getvalue())
        rows = {"rows": [asdict(outcome) for outcome in self.outcomes]}
        write_text(self.folder / "summary.json", json.dumps(rows, indent=1) + "\n")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (str(o.row), o.status, "" if o.seconds is None else f"{o.seconds:.1f}", o.output,
             o.reason)
            for o in self.outcomes
        ]  # fmt: skip


@dataclass(frozen=True)
class ManyOptions:
    """What all rows share that do not set it themselves, and what holds for a whole process.

    The sections are mappings of some of their options. `threads` are the CPU's; 0 leaves torch
    its own choice. The others are those of `anamodiff.transfer`.
    """

    backbone: str | Path = "auto"
    lofnet: str | Path | None = None
    size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    memory: Mapping[str, Any] | None = None
    preset: str | None = None
    frames: int = FRAMES
    seed: int = 0
    start_frame: StartFrame = "first"
    adaptation: Mapping[str, Any] | None = None
    tuning: Mapping[str, Any] | None = None
    generation: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        RunOptions.check(
            frames=self.frames, seed=self.seed, start_frame=self.start_frame, preset=self.preset,
            size=self.size,
        )  # fmt: skip

    def load(self, job: int, jobs: int) -> MotionTransfer:
        """The models, in this process; each job of a machine with several GPUs takes another."""
        import_libraries()
        import torch

        from anamodiff.run.motion_transfer import MotionTransfer

        if self.threads:
            torch.set_num_threads(self.threads)
        device = self.device
        if device == "auto" and jobs > 1 and (count := torch.cuda.device_count()) > 1:
            device = f"cuda:{job % count}"
        return MotionTransfer.load(
            self.backbone, self.lofnet, device=device, precision=self.precision,
            memory=self.memory, preset=self.preset, size=self.size,
        )  # fmt: skip

    def request(self, row: Row) -> dict[str, Any]:
        """All that decides a row's result: its own settings, else those of all rows."""
        request: dict[str, Any] = {
            "source": str(row.source), "driving": str(row.driving), "prompt": row.prompt,
            "backbone": str(self.backbone), "lofnet": self.lofnet and str(self.lofnet),
            "size": self.size, "frames": self.frames, "seed": self.seed,
            "start_frame": self.start_frame, "preset": self.preset,
        }  # fmt: skip
        for section in STAGES:
            given = getattr(self, section) or {}
            request[section] = {key: value for key, value in given.items() if value is not None}
        for key, value in row.settings.items():
            section, _, last = key.rpartition(".")
            (request[section] if section else request)[last] = value
        return request


def transfer_many(
    file: str | Path,
    *,
    output: str | Path | None = None,
    progress: bool = True,
    sweep: Sweep | None = None,
    **settings: Any,
) -> Summary:
    """One transfer for each row of a list; one that fails does not stop the others.

    The same call goes on where it stopped: rows that are done with the same settings are skipped,
    half-done ones resumed, failed ones tried again.

    Args:
        file: the list, see `read_list`.
        output: folder of all results; by default the list's name under ``outputs/``.
        progress: show a bar over the rows.
        sweep: shares the rows out; without it this process does them one after the other.
        settings: fields of `ManyOptions`.

    Raises:
        AnaMoDiffError: the list is wrong, `output` holds something else, or the models cannot be
            loaded. A row's own mistakes are in the summary.
    """
    rows, shared = read_list(file), construct(ManyOptions, settings)
    folder = expanded(output) if output is not None else OUTPUTS / Path(file).stem
    _check_folder(folder)
    inputs = [one for row in rows for one in (row.source, row.driving)]
    mattes = [shared.adaptation, *({"matte": row.settings.get("adaptation.matte")} for row in rows)]
    inputs += [path for matte in mattes for path in masks_in(matte)]
    for row in rows:
        for place in (_video(folder, row), folder / row.name / "result.mp4"):
            if os.path.lexists(place):
                check_no_input(place, inputs)
    for row in rows:
        if gone := _gone(row):
            logger.warning("row %d will fail: no %s", row.number, " and no ".join(gone))
    with held(folder, "folder of results"):
        return _do_all(file, rows, shared, folder, progress, sweep, settings)


def _do_all(
    file: str | Path, rows: list[Row], shared: ManyOptions, folder: Path, progress: bool,
    sweep: Sweep | None, settings: dict[str, Any],
) -> Summary:  # fmt: skip
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    try:
        if sweep is None:
            transfer_share(file, output=folder, progress=progress, **settings)
        else:
            sweep(folder, len(rows))
    finally:
        summary = Summary(folder, [_outcome(folder, row, shared.request(row)) for row in rows])
        summary.write()
    return summary


def transfer_share(
    file: str | Path,
    *,
    output: str | Path,
    job: int = 0,
    jobs: int = 1,
    progress: bool = True,
    **settings: Any,
) -> None:
    """The rows `job`, `job + jobs`, ... of a list, as far as they are not done in `output`.

    Args:
        job: number of this process, from 0.
        jobs: how many there are.
        file, output, progress, settings: as for `transfer_many`.
    """
    folder, shared = expanded(output), construct(ManyOptions, settings)
    mover = cache(lambda: shared.load(job, jobs))  # once, and only if a row needs it
    name = "rows" if jobs == 1 else f"rows of job {job}"
    share = read_list(file)[job::jobs]
    with (
        logging_redirect_tqdm([logging.getLogger("anamodiff")]),
        meter(name, len(share), unit="row", shown=progress, position=job) as bar,
    ):
        for row in share:
            request = shared.request(row)
            if _outcome(folder, row, request).status == DONE:
                bar.update()
                continue
            # Bars within the bar would run into those of other jobs.
            outcome = _try(folder, row, request, mover, progress and jobs == 1)
            if outcome.status == FAILED:
                logger.warning("row %d (%s) failed: %s", row.number, row.output, outcome.reason)
            record = asdict(outcome) | {"request": request}
            write_text(_record(folder, row), json.dumps(record, indent=1) + "\n")
            bar.update()


def _check_folder(folder: Path) -> None:
    """Frames outside of a run are never overwritten."""
    others = folder.is_dir() and not all(is_trace(path) for path in folder.iterdir())
    if folder.is_file() or (others and not (folder / RECORDS).is_dir()):
        raise AnaMoDiffError(
            "expected a new or empty folder for --output, or one that transfer-many wrote, got "
            f"{folder}: name another"
        )


def _record(folder: Path, row: Row) -> Path:
    return folder / RECORDS / f"{row.name}.json"


def _video(folder: Path, row: Row) -> Path:
    """Where the row's video lies when it is done."""
    if is_video(row.output):
        return folder / row.output
    transparent = folder / row.name / "result.webm"
    return transparent if transparent.is_file() else folder / row.name / "result.mp4"


def _outcome(folder: Path, row: Row, request: Mapping[str, Any]) -> Outcome:
    """What the folder knows of a row; `open` where that was made with other settings."""
    file = _record(folder, row)
    try:
        record = dict(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # there is none, or a broken one
        record = {}
    same = record.pop("request", None) == json.loads(json.dumps(request))
    if not same or (record["status"] == DONE and not _video(folder, row).is_file()):
        return Outcome(row.number, OPEN, None, row.output)
    return Outcome(**record | {"row": row.number, "output": row.output})


def _try(
    folder: Path, row: Row, request: Mapping[str, Any], mover: Callable[[], MotionTransfer],
    progress: bool,
) -> Outcome:  # fmt: skip
    """Do one row. What is wrong with its clips or settings becomes its reason."""
    gone = _gone(row)
    models = None if gone else mover()  # not a row's failure: without models all would fail
    began = time.perf_counter()
    reason = f"expected a clip, found no {' and no '.join(gone)}"
    if models is not None:
        reason = _attempt(models, folder, row, request, progress)
    seconds = round(time.perf_counter() - began, 1)
    return Outcome(row.number, FAILED if reason else DONE, seconds, row.output, reason)


def _gone(row: Row) -> list[str]:
    """Clips of a row that are not there."""
    return [str(path) for path in (row.source, row.driving) if not os.path.exists(path)]


def _attempt(
    models: MotionTransfer, folder: Path, row: Row, request: Mapping[str, Any], progress: bool
) -> str:
    """Why the transfer failed, in one line; nothing where it did not."""
    own = {key: request[key] for key in ("prompt", "frames", "seed", "start_frame")}
    run = folder / row.name
    try:
        result = models.transfer(
            row.source, row.driving, **own, output=run, resume=run.is_dir() and any(run.iterdir()),
            **{section: request[section] for section in STAGES}, progress=progress,
        )  # fmt: skip
        if is_video(row.output):
            result.save(folder / row.output)
    except Exception as error:  # whatever it is, one bad row must not stop the others
        logger.debug("row %d", row.number, exc_info=True)
        if isinstance(error, OSError):
            return explain_os_error(error)
        line = one_line(str(error))
        mistake = isinstance(error, AnaMoDiffError) and line
        return line if mistake else f"{type(error).__name__}: {line}"
    return ""
