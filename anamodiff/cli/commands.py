"""The commands: what the help says of each, its flags, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anamodiff.cli import actions


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        help: a line without a full stop.
        flags: keys of `anamodiff.cli.settings` that have flags.
        example: a setting without a flag; empty where there is none.
        act: takes the composed values, and the time at which the command began.
        texts: help, by key, on flags that mean something else here than in a transfer.
    """

    help: str
    flags: tuple[str, ...]
    example: str
    act: Callable[[dict[str, Any], float], None]
    texts: Mapping[str, str] = field(default_factory=dict)


_MODELS = ("backbone", "lofnet", "size")
_MACHINE = ("seed", "device", "precision")
_TUNING = ("frames", "start_frame", "adaptation.matte", "tuning.iterations", "tuning.noise_min")
_GENERATION = (
    "generation.steps",
    "generation.guidance",
    "generation.ground",
    "generation.max_size",
)
_PAIR = ("source", "driving", "prompt", "output")
_HOW = ("preset", "memory.vram")

COMMANDS = {
    "demo": Command(
        "move a drawn turtle the way a drawn rhino jumps",
        ("output", *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        partial(actions.produce, "demo"),
    ),
    "transfer": Command(
        "move the character of a clip or picture the way another clip moves",
        (*_PAIR, *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        partial(actions.produce, "transfer"),
    ),
    "transfer-many": Command(
        "a transfer for each row of a list; goes on where it stopped",
        ("list", "output", "jobs", *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, *_HOW),
        "launcher=joblib",
        actions.transfer_many,
        {"output": "folder of all runs (default: one in outputs/, named after the list)"},
    ),
    "tune": Command(
        "the first half of a transfer, up to the tuned weights in the run folder",
        (*_PAIR, *_MODELS, *_TUNING, *_MACHINE, *_HOW, "resume"),
        "tuning.lr=1e-4",
        actions.tune,
        {"output": "run folder (default: a new one in outputs/)"},
    ),
    "generate": Command(
        "the second half of a transfer, from a tuned run folder",
        ("run", "output", *_GENERATION, *_MACHINE, *_HOW),
        "generation.noise_warp=paper",
        partial(actions.produce, "generate"),
        {
            "output": "FILE.mp4, .gif, .webm, .mov, .m4v or .mkv (default: in the run folder)",
            "seed": "another seed gives another result (default: the run's)",
            "preset": "settings of generation (default: the run's)",
        },
    ),
    "app": Command(
        "a page in the browser: preview, steer and run transfers, and take the results",
        ("host", "port", "browser", *_MODELS, "device", "precision", "memory.vram"),
        "max_mb=20",
        actions.app,
    ),
    "inspect": Command(
        "draw what the flow network makes of a clip: points, flow, masks, warped picture",
        ("clip", "driving", "prompt", "output", *_MODELS, "frames", "start_frame",
         "adaptation.matte", "device", "precision"),
        "adaptation.scale=none",
        actions.inspect,
        {
            "driving": "clip of the motion (default: the clip itself)",
            "prompt": "the prompt that is planned: says which of its words the model does not know",
            "output": "FILE.png, .jpg or .webp (default: a new one in outputs/)",
            "frames": "frames of the clip, evenly spread",
        },
    ),
    "evaluate": Command(
        "measure a result: motion, colours, consistency, likeness, and the paper's CLIP measures",
        ("result", "source", "truth", "driving", "prompt", "clip_model", "tracker", "output",
         "frames", "size", "device"),
        "",
        actions.evaluate,
        {
            "source": "clip or picture of the character (default: the run's)",
            "driving": "clip of the motion that the result is to have (default: the run's)",
            "prompt": 'what the source shows, such as "a turtle" (default: the run\'s)',
            "output": "FILE.json for the figures (default: none is written)",
            "frames": "frames that are measured, evenly spread",
            "size": "side of the square canvas of all measures, in pixels (default: the run's)",
        },
    ),
    "benchmark": Command(
        "measure methods against ground truth, with tables, plots and a page of all videos",
        ("pairs", "methods", "method", "output", "limit", "workers", "clip_model", "tracker",
         *_MODELS, "frames", *_MACHINE),
        "threads=1",
        actions.benchmark,
        {"output": "folder of results, old or new (default: a new one in outputs/)"},
    ),
    "ablation": Command(
        "make a figure or table of the paper, on pairs with ground truth",
        ("figure", "pairs", "method", "output", "limit", *_MODELS, "frames", *_MACHINE),
        "launcher=joblib",
        actions.ablation,
        {"output": "folder of results, old or new (default: a new one in outputs/)"},
    ),
    "survey": Command(
        "write a page on which people judge a benchmark's results without knowing the methods",
        ("results", "output", "show.pairs", "show.methods", "seed"),
        'show.title="Our survey"',
        actions.survey,
        {
            "output": "new or empty folder (default: a new one in outputs/)",
            "seed": "decides the choice and the order of what is shown",
        },
    ),
    "survey-results": Command(
        "mean rank and rating of each method from people's answers, with tests and intervals",
        ("answers", "key", "output"),
        "unit=ranking",
        actions.survey_results,
        {"output": "FILE.json for the figures (default: none is written)"},
    ),
    "train-lofnet": Command(
        "train the latent optical flow network on a folder of clips",
        ("data", "output", "backbone", "training.steps", *_MACHINE, "resume"),
        "training.lr=1e-4",
        actions.train_lofnet,
        {
            "output": "folder of the network (default: outputs/lofnet)",
            "resume": "go on with the training in --output",
        },
    ),
    "examples": Command(
        "write clips to play with: drawn characters, driving clips, one picture, and a list",
        ("folder",),
        "",
        actions.examples,
    ),
    "completion": Command(
        "print a script that lets a shell complete commands, flags and files",
        ("shell",),
        "",
        actions.completion,
    ),
    "fetch": Command(
        "fetch a model into the hub's cache: sd14, clip, tokenizer, fomm, or a hub id",
        ("what", "from", "device", "precision"),
        "",
        actions.fetch,
        {"precision": "with fp16 and bf16, fetch weights in 16 bits if the hub has them"},
    ),
    "doctor": Command(
        "say what is here, what would be fetched, and what a run will take",
        ("frames", "device", "precision"),
        "",
        actions.doctor,
        {"frames": "frames of the transfer that is estimated"},
    ),
}  # fmt: skip
