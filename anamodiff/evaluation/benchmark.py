"""Methods against ground truth: every method on every pair, measured (`anamodiff benchmark`)."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from anamodiff import __version__
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.clip import Embedder
from anamodiff.evaluation.methods import (
    Method,
    Question,
    choose_methods,
    described,
    split_names,
)
from anamodiff.evaluation.pairs import BenchmarkPair, find_pairs
from anamodiff.evaluation.report import write_report
from anamodiff.evaluation.scores import Case, choose_embedder, measure
from anamodiff.pipeline import MotionTransfer
from anamodiff.runfolder import OUTPUTS, unused, write_text
from anamodiff.video import write_video

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """What a process loads once."""

    mover: MotionTransfer
    embedder: Embedder | None


@dataclass(frozen=True)
class Settings:
    """What all answers of a benchmark share."""

    backbone: str = "auto"
    lofnet: str | None = None
    frames: int = 10
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    clip_model: str = "auto"
    threads: int = 0  # of the CPU in each process; 0 leaves torch its own choice

    def load(self) -> Models:
        """The models, in this process."""
        if self.threads:
            torch.set_num_threads(self.threads)
        mover = MotionTransfer.load(
            self.backbone, self.lofnet, device=self.device, precision=self.precision
        )
        return Models(mover, choose_embedder(self.clip_model, mover.backbone.device)[0])


@dataclass(frozen=True)
class Job:
    """One method on one pair, and where its answer goes: `pairs/NAME/METHOD.json` and `.mp4`."""

    pair: BenchmarkPair
    name: str
    method: Method
    home: Path

    @property
    def row(self) -> Path:
        return self.home / f"{self.name}.json"


def benchmark(pairs: str | Path, *, output: str | Path | None = None, **settings: Any) -> Path:
    """Run methods over pairs and write tables, plots and a page of all videos; gives the folder.

    Each answer is kept when it is done: the same command goes on where it stopped, and other
    methods or pairs can be added. Answers made with other weights or settings are made again.

    Args:
        pairs: folder of pairs (see `folder_pairs`), or ``creatures`` for fifty drawn ones.
        output: the folder; a new one under ``outputs/`` by default.
        settings: of `answer_all`.

    Raises:
        AnaMoDiffError: no pairs, an unknown method, or no answer at all.
    """
    folder = Path(output) if output is not None else unused(OUTPUTS / "benchmark")
    jobs = answer_all(pairs, output=folder, **settings)
    rows = [json.loads(job.row.read_text()) for job in jobs if job.row.is_file()]
    if not rows:
        raise AnaMoDiffError(
            "expected at least one answer, got none: the lines above say why; correct that and "
            "run the same command again"
        )
    asked = {job.pair.name: job.pair for job in jobs}
    return write_report(folder, [*asked.values()], [*dict.fromkeys(j.name for j in jobs)], rows)


def answer_all(
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
    """Answer every pair by every method, as far as that is not done in `output`; gives all jobs.

    Args:
        pairs, output: as for `benchmark`.
        methods: names in `METHODS`, or ``NAME=FOLDER`` of clips made elsewhere; a comma between.
        method: more of them.
        limit: only so many pairs, spread evenly.
        workers: processes; each loads the models once and takes its share of the threads.
        settings: fields of `Settings`.
    """
    chosen = choose_methods(split_names(methods, method))
    folder = Path(output)
    found = _some(find_pairs(pairs, folder / "drawn"), limit)
    if workers > 1 and not settings.get("threads"):
        settings["threads"] = max(1, (os.cpu_count() or 1) // workers)
    shared = Settings(**settings)
    jobs = [
        Job(pair, name, how, folder / "pairs" / pair.name)
        for pair in found
        for name, how in chosen.items()
    ]
    _answer_open(jobs, shared, workers, progress)
    return jobs


def _some(pairs: list[BenchmarkPair], limit: int | None) -> list[BenchmarkPair]:
    """All pairs, or `limit` of them, spread evenly."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // limit] for i in range(limit)]


def _answer_open(jobs: list[Job], shared: Settings, workers: int, progress: bool) -> None:
    """Do what is not done yet; what fails is said and left out."""
    models = shared.load()
    made_with = _made_with(models, shared)
    open_jobs = [job for job in jobs if not _is_done(job, made_with)]
    workers = min(workers, max(1, len(open_jobs)))
    with tqdm(total=len(jobs), initial=len(jobs) - len(open_jobs), desc="benchmark",
              unit="answer", disable=not progress, ncols=80) as meter:  # fmt: skip
        if workers == 1:
            answers: Iterator[str | None] = (
                _tried(models, job, shared, made_with) for job in open_jobs
            )
        else:
            del models
            answers = _in_processes(open_jobs, shared, workers, made_with)
        for complaint in answers:
            meter.update()
            if complaint:
                logger.warning(complaint)


def _in_processes(
    jobs: list[Job], shared: Settings, workers: int, made_with: dict[str, Any]
) -> Iterator[str | None]:
    # Forked processes would share torch's threads and CUDA's state.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (shared,))
    with pool:
        try:
            futures = [pool.submit(_in_process, job, shared, made_with) for job in jobs]
            yield from (future.result() for future in as_completed(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_MODELS: Models | None = None  # a worker process' own


def _start(shared: Settings) -> None:
    global _MODELS
    _MODELS = shared.load()


def _in_process(job: Job, shared: Settings, made_with: dict[str, Any]) -> str | None:
    assert _MODELS is not None
    return _tried(_MODELS, job, shared, made_with)


def _tried(models: Models, job: Job, shared: Settings, made_with: dict[str, Any]) -> str | None:
    """None when the job is done, else a line that says why it is not."""
    try:
        answer(models, job, shared, made_with)
    except AnaMoDiffError as error:
        return f"{job.pair.name}, {job.name}: {error}"
    return None


def answer(
    models: Models, job: Job, shared: Settings, made_with: Mapping[str, Any]
) -> dict[str, Any]:
    """Let the method answer, measure it, and write the videos and the row."""
    mover = models.mover
    size = mover.backbone.image_size
    source, driving, truth = job.pair.read(shared.frames, size)
    began = time.perf_counter()
    frames = job.method.answer(mover, Question(job.pair, source, driving, shared.seed))
    seconds = time.perf_counter() - began
    videos = {"source": source.frames, "driving": driving.frames, "truth": truth.frames}
    for kind, clip in videos.items():
        if not (job.home / f"{kind}.mp4").is_file():
            write_video(job.home / f"{kind}.mp4", clip, driving.fps)
    write_video(job.home / f"{job.name}.mp4", frames, driving.fps)
    case = Case(frames, source.frames, truth.frames, job.pair.prompt)
    measures = measure(case, models.embedder)
    row = {
        "pair": job.pair.name,
        "method": job.name,
        "measures": {k: round(v, 5) if math.isfinite(v) else None for k, v in measures.items()},
        "seconds": round(seconds, 2),
        "traits": job.pair.traits,
        "made_with": {**made_with, "method": described(job.method)},
    }
    write_text(job.row, json.dumps(row, indent=1))
    return row


def _made_with(models: Models, shared: Settings) -> dict[str, Any]:
    mover, embedder = models.mover, models.embedder
    return {
        "anamodiff": __version__,
        "backbone": mover.backbone.hashes,
        "lofnet": list(mover.lofnet_hashes.values()),
        "recommended": mover.backbone.settings,
        "precision": str(mover.backbone.dtype),
        "device": mover.backbone.device.type,
        "clip_model": embedder and embedder.name,
        "frames": shared.frames,
        "seed": shared.seed,
    }


def _is_done(job: Job, made_with: Mapping[str, Any]) -> bool:
    """Whether the job's answer is there, made with the same weights and settings."""
    try:
        row = json.loads(job.row.read_text())
    except (OSError, ValueError):
        return False
    wanted = json.loads(json.dumps({**made_with, "method": described(job.method)}))
    return row.get("made_with") == wanted and (job.home / f"{job.name}.mp4").is_file()
