"""What each command does with its composed values.

The parts of the package that do it, and with them torch, are imported inside the actions.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff.backbone.libraries import import_libraries
from anamodiff.cli.compose import launching, multirun, override, plain
from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import dotted, settings_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from anamodiff.run.result import Result


#: Clips that `evaluate` may be given beside the result.
CLIPS = ("source", "truth", "driving")


def is_first() -> bool:
    """Whether this is the only process, or the first of those of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def produce(stage: str, values: dict[str, Any], started: float) -> None:
    """`transfer`, `demo` and `generate`: says where the video is and how long each stage took."""
    api = import_module("anamodiff.run.api")
    result: Result = getattr(api, stage)(**values)
    whole = time.perf_counter() - started
    before = ("warp", "tuning") if stage == "generate" else ()  # the run's, by an earlier command
    took = {name: seconds for name, seconds in result.timings.items() if name not in before}
    if (rest := whole - sum(took.values())) > 0:
        took["loading and the rest"] = rest
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items())
    comparison = result.run / "comparison.mp4"
    print(f"video: {result.video}")
    if comparison.is_file():
        print(f"comparison: {comparison}")
    print(f"run folder: {result.run}")
    print(f"took {whole:.1f} s: {stages}")
    pages = (result.run / "report.html", comparison, result.video)
    print(f"open: {next((page for page in pages if page.is_file()), result.video)}")


def tune(values: dict[str, Any], started: float) -> None:
    from anamodiff.run.api import tune

    run = tune(**values)
    following = f"generate --run {shlex.quote(str(run))}"
    page = run / "report.html"
    _report([f"run folder: {run}"], started, following, page if page.is_file() else None)


def inspect(values: dict[str, Any], started: float) -> None:
    from anamodiff.run.inspect import inspect

    found = inspect(**values)
    _report([f"sheet: {found.sheet}", *found.lines], started, opens=found.sheet)


def evaluate(values: dict[str, Any], started: float) -> None:
    from anamodiff.evaluation.inputs import check_evaluation

    check_evaluation(**{key: values[key] for key in ("result", *CLIPS, "output")})
    import_libraries()
    from anamodiff.evaluation.scores import evaluate

    found = evaluate(**values)
    file = [] if found.output is None else [f"figures: {found.output}"]
    _report([*found.lines, *file], started)


def benchmark(values: dict[str, Any], started: float) -> None:
    from anamodiff.evaluation.pairs import check_sets

    check_sets(values["pairs"], values["output"])
    import_libraries()
    from anamodiff.evaluation.benchmark import benchmark

    folder = benchmark(**values)
    page, figures = folder / "index.html", folder / "results.json"
    _report([_table(folder), f"page: {page}", f"figures: {figures}"], started, opens=page)


def ablation(values: dict[str, Any], started: float) -> None:
    from anamodiff.evaluation.pairs import check_sets

    check_sets(values["pairs"], values["output"])
    import_libraries()
    from anamodiff.evaluation.ablation import ablation

    figure, launcher = values.pop("figure"), values.pop("launcher")
    shared = {key: value for key, value in values.items() if key not in ("method", "output")}

    def sweep(folder: Path, methods: Sequence[str]) -> None:
        settings = shared | {"output": str(folder)}
        overrides = [override(key, value) for key, value in settings.items()]
        multirun(
            "benchmark", overrides, "methods", methods, task=_run_methods, launcher=launcher,
            folder=folder / "hydra",
        )  # fmt: skip

    made = ablation(figure["name"], methods=figure["methods"], sweep=sweep, **values)
    page = made.folder / "index.html"
    lines = [_table(made.folder), f"figure: {made.picture}", f"page: {page}"]
    _report(lines, started, opens=made.picture)


def _run_methods(composed: DictConfig) -> None:
    """One job of an ablation, in whatever process Hydra's launcher starts."""
    from anamodiff.evaluation.benchmark import run_all

    with suppress(AnaMoDiffError):  # the ablation tries again at the end, and reports what fails
        run_all(**plain(composed))


def transfer_many(values: dict[str, Any], started: float) -> None:
    from anamodiff.run.many import transfer_many

    launcher, jobs, launch = (values[key] for key in ("launcher", "jobs", "launch"))
    own = ("list", "launcher", "jobs", "launch", "job")
    settings = {key: value for key, value in values.items() if key not in own}
    file = os.path.abspath(values["list"])
    if launcher == "basic" and (jobs > 1 or launch):
        raise AnaMoDiffError(
            "expected a launcher that runs jobs side by side, got none: add launcher=joblib (or "
            "submitit_slurm, ray, ...), or leave out --jobs"
        )

    def sweep(folder: Path, rows: int) -> None:
        import_libraries()  # the jobs' processes may be copies of this one
        count, output = min(jobs, rows), folder.absolute()
        shared = settings | {"list": file, "output": str(output), "jobs": count}
        overrides = [override(key, value) for key, value in dotted(shared).items()]
        # joblib's own default starts a process for each core, whatever there is to do.
        words = [f"n_jobs={count}"] if launcher == "joblib" else []
        overrides += map(launching, [*words, *shlex.split(launch or "")])
        multirun(
            "transfer_many", overrides, "job", range(count), task=_transfer_share,
            launcher=launcher, folder=output / "hydra",
        )  # fmt: skip

    summary = transfer_many(file, sweep=None if launcher == "basic" else sweep, **settings)
    table = summary.folder / "summary.csv"
    _report([summary.table, f"summary: {table}"], started, opens=table)
    if undone := len(summary.undone):
        raise AnaMoDiffError(
            f"{undone} of {len(summary.outcomes)} rows are not done: the table says why; correct "
            "that, and the same command tries them again"
        )


def _transfer_share(composed: DictConfig) -> None:
    """One job of `transfer-many`, in whatever process Hydra's launcher starts."""
    from anamodiff.run.many import transfer_share

    values = plain(composed)
    for key in ("launcher", "launch"):
        values.pop(key)
    transfer_share(values.pop("list"), **values)


def survey(values: dict[str, Any], started: float) -> None:
    from anamodiff.evaluation.survey.page import write_survey

    written = write_survey(**values.pop("show"), **values)
    lines = [
        f"page: {written.page / 'index.html'}",
        f"key: {written.key} (says which method made each clip: keep it, do not hand it out)",
        f"hand out the whole folder {written.page}: each person opens index.html in a browser,",
        "judges the results, and sends back the file that it saves",
    ]
    following = f"survey-results ANSWERS --key {shlex.quote(str(written.key))}"
    _report(lines, started, following, written.page / "index.html")


def survey_results(values: dict[str, Any], started: float) -> None:
    from anamodiff.evaluation.survey.ranking import survey_results

    found = survey_results(**values)
    file = [] if values["output"] is None else [f"figures: {values['output']}"]
    _report([*found.lines, *file], started)


def train_lofnet(values: dict[str, Any], started: float) -> None:
    from anamodiff.video.find import find_clips

    find_clips(values["data"])
    import_libraries()
    from anamodiff.backbone.model import Backbone
    from anamodiff.backbone.size import UNET
    from anamodiff.lofnet.training.train import check_inputs, train_lofnet

    load = {key: values.pop(key) for key in ("device", "precision")}
    network, training, start = (values.pop(key) for key in ("network", "training", "lofnet"))
    data, name = values.pop("data"), values.pop("backbone")
    start["detector_config"] = start.pop("config")
    files = {key: value for key, value in start.items() if key != "detector_lr"}
    check_inputs(data, values["output"], resume=values["resume"], **files)
    backbone = Backbone.load(name, size=UNET, **load)  # as networks for its latents are shaped
    folder = train_lofnet(data, backbone=backbone, config=network, **values, **training, **start)
    if "WORLD_SIZE" in os.environ:
        from accelerate import PartialState

        PartialState().destroy_process_group()
    if is_first():
        name = backbone.name if name == "auto" else name
        following = (
            f"transfer --backbone {shlex.quote(name)} --lofnet {shlex.quote(str(folder))} ..."
        )
        _report([f"LOFNet: {folder}"], started, following)


def app(values: dict[str, Any], started: float) -> None:
    from anamodiff.app.options import AppOptions
    from anamodiff.app.server import serve

    own = {key: values.pop(key) for key in settings_of(AppOptions)}
    serve(AppOptions(**own), **values)


def examples(values: dict[str, Any], started: float) -> None:
    from anamodiff.run.examples import write_examples

    written = write_examples(values["folder"])
    _report(written.lines, started, written.following)


def completion(values: dict[str, Any], started: float) -> None:
    from anamodiff.cli.completion import script

    print(script(values["shell"]))


def fetch(values: dict[str, Any], started: float) -> None:
    from anamodiff.run.fetch import fetch

    print("\n".join(fetch(source=values.pop("from"), **values)))


def doctor(values: dict[str, Any], started: float) -> None:
    import_libraries()
    from anamodiff.run.doctor import doctor

    print("\n".join(doctor(**values)))


def _report(
    lines: Sequence[str], started: float, following: str | None = None, opens: Path | None = None
) -> None:
    """Print what came of a command, how long it took, what to open and what command may follow."""
    print("\n".join([*lines, f"took {time.perf_counter() - started:.1f} s"]))
    if opens is not None:
        print(f"open: {opens}")
    if following is not None:
        print(f"next: anamodiff {following}")


def _table(folder: Path) -> str:
    """The table of methods that a benchmark wrote."""
    return (folder / "table.md").read_text(encoding="utf-8").rstrip("\n")
