"""Methods against ground truth: every method on every pair, measured (`anamodiff benchmark`)."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from anamodiff import __version__
from anamodiff.backbone.memory import peak_memory
from anamodiff.backbone.precision import StagePrecision
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.benchmark_options import BenchmarkOptions, Models
from anamodiff.evaluation.measure import Case, measure
from anamodiff.evaluation.methods import (
    Folder,
    Method,
    Task,
    choose_methods,
    described,
    split_names,
)
from anamodiff.evaluation.pairs import BenchmarkPair, check_apart, find_pairs, split_sets
from anamodiff.evaluation.report import write_report
from anamodiff.fields import construct
from anamodiff.lock import held
from anamodiff.meter import meter
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, new_folder, write_text
from anamodiff.run.machine import begin_peak_memory, peak_memory_mb
from anamodiff.video.clip import read_clip, write_video

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One method on one pair; the result goes to `METHOD.mp4` and `METHOD.json` in `folder`."""

    pair: BenchmarkPair
    name: str
    method: Method
    folder: Path

    @property
    def row(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def video(self) -> Path:
        return self.folder / f"{self.name}.mp4"


def benchmark(pairs: str | Path, *, output: str | Path | None = None, **settings: Any) -> Path:
    """Run methods on pairs and write tables, plots and a page of all videos; returns the folder.

    Each result is written as soon as it is done: the same call goes on where it stopped, and other
    methods or pairs can be added. Results of other weights or settings are made again.

    Args:
        pairs: folder of pairs (see `folder_pairs`), or a set of drawn ones (`DRAWN_SETS`); several
            with commas between, each of which gets tables of its own.
        output: the folder; a new one under ``outputs/`` by default.
        settings: of `run_all`.

    Raises:
        AnaMoDiffError: no pairs, an unknown method or setting, or no result at all.
    """
    check_apart(output, map(Path, split_sets(pairs)))
    folder = expanded(output) if output is not None else new_folder(OUTPUTS / "benchmark")
    with held(folder, "folder of results"):
        return _benchmark(pairs, folder, **settings)


def _benchmark(pairs: str | Path, folder: Path, **settings: Any) -> Path:
    jobs = run_all(pairs, output=folder, **settings)
    rows = [json.loads(job.row.read_text(encoding="utf-8")) for job in jobs if job.row.is_file()]
    if not rows:
        raise AnaMoDiffError(
            "expected at least one result, got none: the lines above say why; correct that and "
            "run the same command again"
        )
    chosen = {job.pair.name: job.pair for job in jobs}
    return write_report(folder, [*chosen.values()], [*dict.fromkeys(j.name for j in jobs)], rows)


def run_all(
    pairs: str | Path,
    *,
    output: str | Path,
    methods: str | Sequence[str] = ("anamodiff", "warp-only", "still"),
    method: str | None = None,
    limit: int | None = None,
    workers: int = 1,
    progress: bool = True,
    **settings: Any,
) -> list[Job]:
    """Run every method on every pair, unless its result is in `output`; returns all jobs.

    Args:
        pairs, output: as for `benchmark`.
        methods: names in `METHODS`, or ``NAME=PATH`` as in `choose_methods`; a comma between.
        method: more of them.
        limit: only so many pairs, spread evenly.
        workers: processes; each loads the models once and takes its share of the threads.
        settings: fields of `BenchmarkOptions`.
    """
    chosen = choose_methods(split_names(methods, method))
    given = {key: str(v) if isinstance(v, Path) else v for key, v in settings.items()}
    if workers > 1 and not given.get("threads"):
        given["threads"] = max(1, (os.cpu_count() or 1) // workers)
    options = construct(BenchmarkOptions, given)
    folder = expanded(output)
    made = [how.path for how in chosen.values() if isinstance(how, Folder)]
    check_apart(folder, [*map(Path, split_sets(pairs)), *made])
    jobs = [
        Job(pair, name, how, folder / "pairs" / pair.name)
        for pair in find_pairs(pairs, folder / "drawn", limit)
        for name, how in chosen.items()
    ]
    _run_open(jobs, options, workers, progress)
    return jobs


def _run_open(jobs: list[Job], options: BenchmarkOptions, workers: int, progress: bool) -> None:
    """Run the jobs that are not done; one that fails is logged and left out."""
    models = options.load()
    made_with = _made_with(models, options)
    open_jobs = [job for job in jobs if not _is_done(job, made_with)]
    workers = min(workers, max(1, len(open_jobs)))
    done = len(jobs) - len(open_jobs)
    with meter("benchmark", len(jobs), unit="result", done=done, shown=progress) as bar:
        if workers == 1:
            failures: Iterator[str | None] = (
                _try_job(models, job, options, made_with) for job in open_jobs
            )
        else:
            backbone = models.mover.backbone
            precision = backbone.precision_name if backbone.takes_precision else None
            del models, backbone
            failures = _in_processes(open_jobs, options, workers, made_with, precision)
        for failure in failures:
            bar.update()
            if failure:
                logger.warning(failure)


def _in_processes(
    jobs: list[Job], options: BenchmarkOptions, workers: int, made_with: dict[str, Any],
    precision: str | None,
) -> Iterator[str | None]:  # fmt: skip
    # Forked processes would share torch's threads and CUDA's state.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (options, precision))
    with pool:
        try:
            futures = [pool.submit(_in_process, job, options, made_with) for job in jobs]
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_WORKER_MODELS: Models | None = None  # a worker process' own


def _start(options: BenchmarkOptions, precision: str | None) -> None:
    global _WORKER_MODELS
    _WORKER_MODELS = options.load(precision)


def _in_process(job: Job, options: BenchmarkOptions, made_with: dict[str, Any]) -> str | None:
    assert _WORKER_MODELS is not None
    return _try_job(_WORKER_MODELS, job, options, made_with)


def _try_job(
    models: Models, job: Job, options: BenchmarkOptions, made_with: dict[str, Any]
) -> str | None:
    """None when the job is done, else a line that says why it failed."""
    try:
        run_job(models, job, options, made_with)
    except AnaMoDiffError as error:
        return f"{job.pair.name}, {job.name}: {error}"
    return None


def run_job(
    models: Models, job: Job, options: BenchmarkOptions, made_with: Mapping[str, Any]
) -> dict[str, Any]:
    """Run the method on the pair, measure its result, and write the videos and the row."""
    mover = models.mover
    source, driving, truth = job.pair.read(options.frames, mover.backbone.image_size)
    task, peaks, known = Task(job.pair, source, driving, options.seed), {}, begin_peak_memory()
    began, worked = time.perf_counter(), time.process_time()
    with peak_memory(peaks, "run", mover.backbone.device):
        frames = job.method.run(mover, task)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    resident = peak_memory_mb() if known else None
    for name, clip in {"source": source, "driving": driving, "truth": truth}.items():
        if not (job.folder / f"{name}.mp4").is_file():
            write_video(job.folder / f"{name}.mp4", clip.frames, driving.fps)
    write_video(job.video, frames, driving.fps)
    plain, size = source, mover.backbone.image_size
    if job.pair.plain_source is not None:
        plain = read_clip(job.pair.plain_source, frames=options.frames, size=size)
    joints = job.pair.joints and job.pair.joints.at(driving.indices, truth.indices)
    case = Case(frames, plain.frames, truth.frames, job.pair.prompt, driving.frames, joints)
    clips = {"frames": replace(source, frames=frames), "source": plain, "truth": truth}
    if joints is None:  # else the driving clip is not looked at
        clips["driving"] = driving
    case = replace(case, cut=models.grounds.case(case, clips))
    found = measure(case, models.instruments)
    values = found.values | dict.fromkeys(found.skipped, math.nan)
    row = {
        "pair": job.pair.name,
        "method": job.name,
        "measures": {k: round(v, 5) if math.isfinite(v) else None for k, v in values.items()},
        "measured_with": found.tools,
        "not_measured": found.skipped,
        "remarks": found.remarks,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(worked, 2),
        "tuning_seconds": round(task.timings.get("tuning", 0.0), 2),
        "memory_mb": peaks.get("run", resident),
        "traits": job.pair.traits,
        "made_with": {**made_with, "method": described(job.method)},
    }
    write_text(job.row, json.dumps(row, indent=1))
    return row


def _made_with(models: Models, options: BenchmarkOptions) -> dict[str, Any]:
    mover = models.mover
    backbone = mover.backbone
    uniform = backbone.precision == StagePrecision.uniform(backbone.dtype)
    return {
        "anamodiff": __version__,
        "backbone": mover.backbone.hashes,
        "lofnet": list(mover.lofnet_hashes.values()),
        # Its size is no part of a benchmark, and results from before it was recommended still hold.
        "recommended": {k: v for k, v in backbone.recommended.items() if k != "size"},
        # As in results from before stages had formats of their own, where they are alike.
        "precision": str(backbone.dtype if uniform else backbone.precision),
        "device": mover.backbone.device.type,
        **models.instruments.described,
        "size": backbone.image_size,
        "frames": options.frames,
        "seed": options.seed,
    }


def _is_done(job: Job, made_with: Mapping[str, Any]) -> bool:
    """Whether the job's result is there, made with the same weights and settings."""
    try:
        row = json.loads(job.row.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = json.loads(json.dumps({**made_with, "method": described(job.method)}))
    return row.get("made_with") == wanted and job.video.is_file()
