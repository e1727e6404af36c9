"""The settings of all commands, by dotted key, and how the command line spells them.

Those of a transfer and of LOFNet are declared in `anamodiff.options` and `anamodiff.lofnet`; those
that only other commands take are declared here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

from anamodiff.app.options import AppOptions
from anamodiff.fields import SWITCH, TEXT, Kind, Options, Setting, setting, settings_of
from anamodiff.lofnet.options import DenseMotionOptions, DetectorOptions, NetworkOptions
from anamodiff.lofnet.training.options import StartOptions, TrainOptions
from anamodiff.options import STAGES, MemoryOptions, RunOptions

FILES = Kind(
    "names of files",
    lambda value: (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(map(TEXT.accepts, value))
    ),
)


@dataclass(frozen=True, kw_only=True)
class CommandOptions(Options):
    """Other commands."""

    clip: str = setting(
        help="clip of the character; without --driving it drives itself", flag="CLIP"
    )
    result: str = setting(
        help="video file, folder of frames, or run folder that transfer wrote", flag="RESULT"
    )
    truth: str | None = setting(
        None, "clip of the same character really performing that motion", flag="--truth",
        metavar="CLIP",
    )  # fmt: skip
    clip_model: str = setting(
        "auto",
        "CLIP model: a folder, a hub id, none, or auto, OpenAI's ViT-B/32 if it is cached or can "
        "be fetched",
        flag="--clip-model", metavar="NAME",
    )  # fmt: skip
    tracker: Literal["flow", "joints"] = setting(
        "flow",
        "what follows the points of Motion Fidelity where joints are not known, as they are of "
        "drawn pairs: optical flow, or the joint detector where it is sure of the characters",
        flag="--tracker",
    )
    pairs: str = setting(
        help="folder of NAME/source, driving and truth; or for drawn pairs creatures, "
        "creatures-apart, where source and driving clip begin in different poses, "
        "creatures-outdoors, filmed on textured grounds by a drifting camera, or "
        "letters-and-flags; several with commas between",
        flag="PAIRS",
    )
    methods: str = setting(
        "anamodiff,warp-only,still", "methods, with commas between them", flag="--methods",
        metavar="NAMES",
    )  # fmt: skip
    method: str | None = setting(
        None,
        "a further method: a folder of clips made elsewhere, named after the pairs, a rival's "
        "weights (a folder of scripts/train_baseline.py, or a published checkpoint), or a JSON "
        "file of settings by stage, as in a backbone's anamodiff.json",
        flag="--method", metavar="NAME=PATH",
    )  # fmt: skip
    limit: int | None = setting(
        None, "number of pairs, spread evenly over all (default: all)", low=1, flag="--limit"
    )
    workers: int = setting(1, "processes that work on pairs in parallel", low=1, flag="--workers")
    threads: int = setting(0, "CPU threads of each process; 0 leaves the choice to torch", low=0)
    launcher: str = setting(
        "basic", "Hydra's launcher of jobs: basic (one after the other), joblib, submitit_slurm, "
        "ray, ...",
    )  # fmt: skip
    launch: str | None = setting(
        None, 'settings of the launcher, such as "partition=gpu timeout_min=240"'
    )
    list: str = setting(
        help=".csv, .tsv or .yaml of transfers: source, driving, prompt, any other setting",
        flag="LIST",
    )
    jobs: int = setting(
        1, "jobs that share the rows, with launcher=joblib or another", low=1, flag="--jobs"
    )
    job: int = setting(0, "number of a job; launchers set it", low=0)
    results: str = setting(help="folder that benchmark wrote", flag="RESULTS")
    answers: Any = setting(
        help="files that the survey's page saved, one for each person", kind=FILES, flag="ANSWERS"
    )
    key: str | None = setting(
        None,
        "key.json that survey wrote (default: the one beside the answers or one folder above)",
        flag="--key", metavar="FILE",
    )  # fmt: skip
    unit: Literal["person", "ranking"] = setting(
        "person", "what the significance tests count as one observation"
    )
    data: str = setting(
        help="clips to train on: video files, gifs, folders of frames", flag="--data",
        metavar="FOLDER",
    )  # fmt: skip
    cache: str | None = setting(
        None,
        "folder for the clips' latents, in the size that the backbone's UNet was made for: 128 "
        "pixels with mini (default: latents/ in the output)",
    )
    run: str = setting(
        help="run folder that tune or transfer wrote (default: --output, if that is one)",
        flag="--run", metavar="FOLDER",
    )  # fmt: skip
    what: str = setting(
        help="sd14, clip, tokenizer, fomm, or the hub id of a backbone or CLIP model", flag="WHAT"
    )
    folder: str = setting(
        "examples", "folder for the clips; files that are there already stay", flag="FOLDER"
    )
    shell: Literal["bash", "zsh"] = setting(help="the shell: bash or zsh", flag="SHELL")


@dataclass(frozen=True, kw_only=True)
class FigureOptions(Options):
    """A figure or table of the paper."""

    section: ClassVar[str] = "figure"

    name: str = setting("figure7", "which one, such as figure7")
    methods: str = setting(help="methods, with commas between them")


@dataclass(frozen=True, kw_only=True)
class ShowOptions(Options):
    """A survey's contents."""

    section: ClassVar[str] = "show"

    pairs: int | None = setting(
        None, "pairs that each person sees, chosen at random (default: all)", low=1, flag="--pairs"
    )
    methods: str | None = setting(
        None, "methods, with commas between them (default: all)", flag="--methods",
        metavar="NAMES",
    )  # fmt: skip
    title: str = setting("Which clip moves best?", "heading of the first page")
    ask: Literal["both", "ranking", "rating"] = setting(
        "both",
        "what each person is asked for: the paper's rankings for motion and shape, ratings of "
        "motion and appearance from 1 to 5, or both",
    )


# `from` is a word of Python's and cannot be a field's name.
FROM = Setting(
    "from", TEXT.or_null(), None,
    "for fomm, whose authors publish it outside the hub: a file on the hub that you trust",
    "--from", "OWNER/NAME/FILE",
)  # fmt: skip
# A group with a word of its own on the command line.
FIGURE = Setting(
    "figure", TEXT, "figure7", "figure5 to figure10, table1 or rivals, the table of all rivals",
    "FIGURE", "",
)  # fmt: skip

OPTIONS: tuple[type[Options], ...] = (
    RunOptions, *STAGES.values(), MemoryOptions, CommandOptions, AppOptions, FigureOptions,
    ShowOptions, NetworkOptions, DetectorOptions, DenseMotionOptions, StartOptions, TrainOptions,
)  # fmt: skip

# Keys that take several words, and other spellings of flags.
SEVERAL = ("answers",)
ALIASES = {"output": ("--out",)}


@cache
def all_settings() -> dict[str, Setting]:
    """Every setting, by its dotted key.

    Those of a transfer's stages may be null: then preset, backbone or paper decide.
    """
    found = {"from": FROM, "figure": FIGURE}
    for options in OPTIONS:
        for one in settings_of(options).values():
            if options.section in STAGES:
                one = replace(one, kind=one.kind.or_null())
            found.setdefault(one.key, one)  # `seed` is a transfer's, and training's
    return found


def kind_of(key: str) -> Kind | None:
    """What a dotted key may hold; None where there is no such key."""
    one = all_settings().get(key)
    return one and one.kind


def shown(key: str) -> str:
    """How the command line spells a key: its flag where it has one, the key itself elsewhere."""
    one = all_settings().get(key)
    return key if one is None else one.name


def is_positional(key: str) -> bool:
    """Whether a key's value stands on the command line without a flag."""
    return shown(key).isupper()


def help_of(key: str, text: str | None = None) -> tuple[str, str]:
    """What stands for the value in the help, and what the help says, with the default.

    Args:
        text: in the place of the setting's own help.
    """
    one = all_settings()[key]
    text = text or one.help
    if key.partition(".")[0] in STAGES:
        text += f" (default: the backbone's; paper: {one.default})"
    elif "(default" not in text and one.kind is not SWITCH and one.default not in (MISSING, None):
        text += f" (default: {one.default})"
    return one.metavar, text
