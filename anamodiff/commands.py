"""What the command line can do: each command's help, flags (see `flags`) and action.

What is heavy (torch, Hydra) is imported inside the actions.
"""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff import config
from anamodiff.errors import AnaMoDiffError
from anamodiff.settings import dotted

if TYPE_CHECKING:
    from anamodiff.pipeline import Result


@dataclass(frozen=True)
class Command:
    """One command: its help line, its flags, and what it does with the composed values.

    `example` is a setting without a flag; `act` also gets the time at which the command began.
    """

    help: str
    flags: tuple[str, ...]
    example: str
    act: Callable[[dict[str, Any], float], None]


def is_first() -> bool:
    """Whether this is the only process, or the first of those of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def _produce(stage: str, values: dict[str, Any], started: float) -> None:
    """Runs `transfer`, `demo` or `generate`; says where the video is and how long it took."""
    pipeline = import_module("anamodiff.pipeline")
    ready = time.perf_counter()
    result: Result = getattr(pipeline, stage)(**values)
    took = {"start": ready - started, **result.timings}
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items())
    comparison = result.run / "comparison.mp4"
    print(f"video: {result.video}")
    if comparison.is_file():
        print(f"comparison: {comparison}")
    print(f"run folder: {result.run}")
    print(f"took {time.perf_counter() - started:.1f} s: {stages}")


def _tune(values: dict[str, Any], started: float) -> None:
    run_folder = import_module("anamodiff.pipeline").tune(**values)
    print(f"run folder: {run_folder}")
    print(f"took {time.perf_counter() - started:.1f} s")
    print(f"next: anamodiff generate --run {shlex.quote(str(run_folder))}")


def _inspect(values: dict[str, Any], started: float) -> None:
    found = import_module("anamodiff.inspection").inspect(**values)
    print(f"sheet: {found.sheet}")
    print("\n".join(found.lines))
    print(f"took {time.perf_counter() - started:.1f} s")


def _evaluate(values: dict[str, Any], started: float) -> None:
    found = import_module("anamodiff.evaluation").evaluate(**values)
    print("\n".join(found.lines))
    if found.output is not None:
        print(f"figures: {found.output}")
    print(f"took {time.perf_counter() - started:.1f} s")


def _benchmark(values: dict[str, Any], started: float) -> None:
    folder = import_module("anamodiff.evaluation.benchmark").benchmark(**values)
    print((folder / "table.md").read_text(), end="")
    print(f"page: {folder / 'index.html'}")
    print(f"figures: {folder / 'results.json'}")
    print(f"took {time.perf_counter() - started:.1f} s")


def _ablation(values: dict[str, Any], started: float) -> None:
    figure, launcher = values.pop("figure"), values.pop("launcher")
    shared = {key: value for key, value in values.items() if key not in ("method", "output")}

    def sweep(folder: Path, methods: Sequence[str]) -> None:
        settings = shared | {"output": str(folder)}
        overrides = [config.override(key, value) for key, value in settings.items()]
        config.multirun(
            "benchmark", overrides, "methods", methods, task=_answer, launcher=launcher,
            folder=folder / "hydra",
        )  # fmt: skip

    made = import_module("anamodiff.evaluation.ablation").ablation(
        figure["name"], methods=figure["methods"], sweep=sweep, **values
    )
    print((made.folder / "table.md").read_text(), end="")
    print(f"figure: {made.picture}")
    print(f"page: {made.folder / 'index.html'}")
    print(f"took {time.perf_counter() - started:.1f} s")


def _answer(composed: Any) -> None:
    """One job of an ablation, in whatever process Hydra's launcher starts."""
    with suppress(AnaMoDiffError):  # what cannot be answered is tried again, and said, at the end
        import_module("anamodiff.evaluation.benchmark").answer_all(**config.plain(composed))


def _transfer_many(values: dict[str, Any], started: float) -> None:
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
        count, home = min(jobs, rows), folder.absolute()
        shared = settings | {"list": file, "output": str(home), "jobs": count}
        overrides = [config.override(key, value) for key, value in dotted(shared).items()]
        # joblib's own default starts a process for each core, whatever there is to do.
        words = ["n_jobs=" + str(count)] if launcher == "joblib" else []
        overrides += map(config.launching, [*words, *shlex.split(launch or "")])
        config.multirun(
            "transfer_many", overrides, "job", range(count), task=_transfer_share,
            launcher=launcher, folder=home / "hydra",
        )  # fmt: skip

    summary = import_module("anamodiff.many").transfer_many(
        file, sweep=None if launcher == "basic" else sweep, **settings
    )
    print(summary.table)
    print(f"summary: {summary.folder / 'summary.csv'}")
    print(f"took {time.perf_counter() - started:.1f} s")
    if undone := len(summary.undone):
        raise AnaMoDiffError(
            f"{undone} of {len(summary.outcomes)} rows are not done: the table says why; correct "
            "that, and the same command tries them again"
        )


def _transfer_share(composed: Any) -> None:
    """One job of `transfer-many`, in whatever process Hydra's launcher starts."""
    values = config.plain(composed)
    for key in ("launcher", "launch"):
        values.pop(key)
    import_module("anamodiff.many").transfer_share(values.pop("list"), **values)


def _survey(values: dict[str, Any], started: float) -> None:
    written = import_module("anamodiff.evaluation.survey").write_survey(
        **values.pop("show"), **values
    )
    print(f"page: {written.page / 'index.html'}")
    print(f"key: {written.key} (says whose each clip is: keep it, do not hand it out)")
    print(f"hand out the whole folder {written.page}: each person opens index.html in a browser,")
    print("ranks the results for motion and for shape, and sends back the file that it saves")
    print(f"took {time.perf_counter() - started:.1f} s")
    print(f"next: anamodiff survey-results ANSWERS --key {shlex.quote(str(written.key))}")


def _survey_results(values: dict[str, Any], started: float) -> None:
    found = import_module("anamodiff.evaluation.ranking").survey_results(**values)
    print("\n".join(found.lines))
    if values["output"] is not None:
        print(f"figures: {values['output']}")
    print(f"took {time.perf_counter() - started:.1f} s")


def _train_lofnet(values: dict[str, Any], started: float) -> None:
    load = {key: values.pop(key) for key in ("device", "precision")}
    backbone = import_module("anamodiff.backbone").Backbone.load(values.pop("backbone"), **load)
    train = import_module("anamodiff.lofnet").train_lofnet
    network, training, start = (values.pop(key) for key in ("network", "training", "lofnet"))
    folder = train(
        values.pop("data"), backbone=backbone, config=network, **values, **training,
        detector_config=start.pop("config"), **start,
    )  # fmt: skip
    if "WORLD_SIZE" in os.environ:
        import_module("accelerate").PartialState().destroy_process_group()
    if not is_first():
        return
    print(f"LOFNet: {folder}")
    print(f"took {time.perf_counter() - started:.1f} s")
    print(f"next: anamodiff transfer --lofnet {shlex.quote(str(folder))} ...")


def _fetch(values: dict[str, Any], started: float) -> None:
    lines = import_module("anamodiff.fetching").fetch(source=values.pop("from"), **values)
    print("\n".join(lines))


def _doctor(values: dict[str, Any], started: float) -> None:
    print("\n".join(import_module("anamodiff.doctor").doctor(**values)))


_MODELS = ("backbone", "lofnet")
_MACHINE = ("seed", "device", "precision")
_TUNING = ("frames", "start_frame", "tuning.iterations", "tuning.noise_min")
_GENERATION = ("generation.steps", "generation.guidance")
_PAIR = ("source", "driving", "prompt", "output")
_HOW = ("preset", "memory.vram")

COMMANDS = {
    "demo": Command(
        "move a drawn turtle the way a drawn rhino jumps",
        ("output", *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        partial(_produce, "demo"),
    ),
    "transfer": Command(
        "move the character of a clip or picture the way another clip moves",
        (*_PAIR, *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        partial(_produce, "transfer"),
    ),
    "transfer-many": Command(
        "a transfer for each row of a list; goes on where it stopped",
        ("list", "output", "jobs", *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW),
        "launcher=joblib",
        _transfer_many,
    ),
    "tune": Command(
        "the first half of a transfer, up to the tuned weights in the run folder",
        (*_PAIR, *_MODELS, *_TUNING, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        _tune,
    ),
    "generate": Command(
        "the second half of a transfer, from a tuned run folder",
        ("run", "output", *_GENERATION, *_MACHINE, *_HOW),
        "generation.noise_warp=paper",
        partial(_produce, "generate"),
    ),
    "inspect": Command(
        "draw what the flow network makes of a clip: points, flow, masks, warped picture",
        ("clip", "driving", "output", *_MODELS, "frames", "start_frame", "device", "precision"),
        "adaptation.scale=none",
        _inspect,
    ),
    "evaluate": Command(
        "measure a result: motion, colours, consistency, likeness, and the paper's CLIP measures",
        ("result", "source", "truth", "prompt", "clip_model", "output", "frames", "device"),
        "size=256",
        _evaluate,
    ),
    "benchmark": Command(
        "measure methods against ground truth, with tables, plots and a page of all videos",
        (
            "pairs",
            "methods",
            "method",
            "output",
            "limit",
            "workers",
            "clip_model",
            *_MODELS,
            "frames",
            *_MACHINE,
        ),
        "threads=1",
        _benchmark,
    ),
    "ablation": Command(
        "make Figure 7 or 8 or Table 1 of the paper, on pairs with a known answer",
        ("figure", "pairs", "method", "output", "limit", *_MODELS, "frames", *_MACHINE),
        "launcher=joblib",
        _ablation,
    ),
    "survey": Command(
        "write a page on which people rank a benchmark's results without knowing whose they are",
        ("results", "output", "show.pairs", "show.methods", "seed"),
        'show.title="Our survey"',
        _survey,
    ),
    "survey-results": Command(
        "mean rank of each method from people's answers, with significance tests",
        ("answers", "key", "output"),
        "unit=ranking",
        _survey_results,
    ),
    "train-lofnet": Command(
        "train the latent optical flow network on a folder of clips",
        ("data", "output", "backbone", "training.steps", *_MACHINE, "resume"),
        "training.lr=1e-4",
        _train_lofnet,
    ),
    "fetch": Command(
        "fetch a model into the hub's cache: sd14, clip, tokenizer, fomm, or a hub id",
        ("what", "from", "device", "precision"),
        "precision=fp16",
        _fetch,
    ),
    "doctor": Command(
        "say what is here, what would be fetched, and what a run will take",
        ("frames", "device", "precision"),
        "precision=bf16",
        _doctor,
    ),
}
