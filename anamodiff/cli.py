"""The command line: `anamodiff demo | transfer | tune | generate | inspect | train-lofnet`.

Flags become Hydra overrides of `configs/<command>.yaml`, and the composed values the keyword
arguments of the stage. What is heavy (torch, Hydra) is imported once the arguments are read.
"""

import argparse
import difflib
import logging
import os
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from anamodiff import __version__, config
from anamodiff.errors import AnaMoDiffError
from anamodiff.settings import POSITIONAL, shown, typed

if TYPE_CHECKING:
    from anamodiff.pipeline import Result

WRONG_INPUT, UNEXPECTED, STOPPED = 2, 1, 130  # exit codes

# What each flag means, by the key that it sets; flags are spelled by `settings.shown`.
FLAGS: dict[str, tuple[str, str]] = {
    "clip": ("CLIP", "clip that is looked into; without --driving it drives itself"),
    "source": ("FILE", "clip or picture of the character that is to move"),
    "driving": ("FILE", "clip of the motion that it is to perform"),
    "prompt": ("TEXT", 'a few words for what the source shows, such as "a turtle"'),
    "data": ("FOLDER", "clips to train on: video files, gifs, folders of frames"),
    "run": ("FOLDER", "run folder that tune or transfer wrote (default: --output, if that is one)"),
    "output": (
        "PATH",
        "run folder, or FILE.mp4, .gif or .webm for the video; inspect: FILE.png "
        "(default: outputs/...)",
    ),
    "backbone": ("NAME", "auto, mini, a diffusers folder or a hub id (default: auto)"),
    "lofnet": ("FOLDER", "LOFNet weights (default: those beside the backbone)"),
    "frames": ("N", "frames of the result (default: 10)"),
    "seed": ("N", "same seed and machine, same frames (default: 0; generate: the run's)"),
    "start_frame": (
        "N",
        "source frame to start from: first, auto (nearest pose) or a number (default: first)",
    ),
    "tuning.iterations": ("N", "tuning iterations (default: the backbone's)"),
    "tuning.noise_min": (
        "T",
        "lowest noise step at which motion is learned (default: the backbone's)",
    ),
    "generation.steps": ("N", "DDIM steps (default: the backbone's)"),
    "generation.guidance": ("X", "classifier-free guidance scale (default: the backbone's)"),
    "training.steps": ("N", "training steps (default: 20000)"),
    "device": ("NAME", "auto, cpu, cuda, cuda:1, mps (default: auto)"),
    "precision": ("NAME", "auto, fp32, fp16, bf16 (default: auto)"),
    "resume": (
        "",
        "go on with a run that was stopped (the newest with these settings, or --output)",
    ),
}


@dataclass(frozen=True)
class Command:
    """One command: its help line, its flags, and what it does with the composed values.

    `example` is a setting without a flag; `act` also gets the time at which the command began.
    """

    help: str
    flags: tuple[str, ...]
    example: str
    act: Callable[[dict[str, Any], float], None]


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line, printed by `main` like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise AnaMoDiffError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the exit code.

    0 when done, 2 for a mistake in the input, 1 for the unexpected, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        return run(words, debug)
    except KeyboardInterrupt:
        print("anamodiff: stopped", file=sys.stderr)
        return STOPPED
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, line = _explained(error, debug)
        print(f"anamodiff{_which_process()}: {line}", file=sys.stderr)
        return code


def _is_first() -> bool:
    """Whether this is the only process, or the first of those of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def _which_process() -> str:
    """Tells the lines of the other processes from the first one's."""
    return "" if _is_first() else f" (process {os.environ['RANK']})"


def _explained(error: Exception, debug: bool) -> tuple[int, str]:
    """Exit code and line for what went wrong."""
    line = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        line = f"{error.strerror}: {error.filename}"
    if isinstance(error, (AnaMoDiffError, OSError)):
        return WRONG_INPUT, f"error: {line}"
    hint = "" if debug else "; run again with --debug to see where"
    return UNEXPECTED, f"unexpected error: {type(error).__name__}: {line}{hint}"


def run(words: Sequence[str], debug: bool = False) -> int:
    """Reads the arguments, composes the command's settings and carries the command out."""
    started = time.perf_counter()
    parser = build_parser()
    found, rest = parser.parse_known_args(words)
    settings = vars(found)
    name = settings.pop("command")
    settings.pop("debug")
    if name is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    values = compose(name, settings, rest)
    _set_up_logging(debug)
    try:
        COMMANDS[name].act(values, started)
    except KeyboardInterrupt as stop:
        print(f"anamodiff: {_how_to_go_on(values, stop)}", file=sys.stderr)
        return STOPPED
    return 0


def compose(name: str, settings: Mapping[str, Any], rest: Sequence[str]) -> dict[str, Any]:
    """The values of a command from its flags (`settings`, by key) and what followed them."""
    given = dict(settings)
    if name == "generate" and "run" not in given and (folder := _folder(given.get("output"))):
        given.update(run=folder, output=None)
    overrides = [config.override(key, typed(key, value)) for key, value in given.items()]
    for word in rest:
        if word.startswith("-") and word != "--":
            raise AnaMoDiffError(_unknown_flag(word, name))
        overrides += [config.literal(word)] if word != "--" else []
    return config.plain(config.compose(name.replace("-", "_"), overrides))


def build_parser() -> Parser:
    """The parser of all commands. Hydra overrides are what it leaves over."""
    debug = Parser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show whole tracebacks"
    )
    parser = Parser(
        prog="anamodiff",
        description="Transfers the motion of one character onto another.",
        epilog="anamodiff COMMAND --help says what each command takes.",
        parents=[debug],
        allow_abbrev=False,
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"anamodiff {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        own = f"{shown(POSITIONAL)} " if POSITIONAL in command.flags else ""
        one = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"Further settings follow as SETTING=VALUE, such as {command.example}; "
            f"configs/{name.replace('-', '_')}.yaml lists them.",
            usage=f"anamodiff {name} {own}[flags] [SETTING=VALUE ...]",
            parents=[debug],
            allow_abbrev=False,
        )
        for key in command.flags:
            _add_flag(one, key)
    return parser


def _add_flag(parser: Parser, key: str) -> None:
    """A flag whose value arrives as text under `key`, and not at all where it is not given."""
    metavar, text = FLAGS[key]
    if key == POSITIONAL:  # optional for argparse: what is missing is said in our own words
        parser.add_argument(key, metavar=metavar, help=text, nargs="?", default=argparse.SUPPRESS)
        return
    kind = {"metavar": metavar} if metavar else {"action": "store_true"}
    parser.add_argument(shown(key), dest=key, help=text, default=argparse.SUPPRESS, **kind)


def _unknown_flag(word: str, name: str) -> str:
    flag = word.partition("=")[0]
    flags = [shown(key) for key in COMMANDS[name].flags]
    close = difflib.get_close_matches(flag, flags, n=2)
    cure = f"did you mean {' or '.join(close)}?" if close else f"see anamodiff {name} --help"
    return f"{name} has no flag {flag}; {cure}"


def _folder(output: str | None) -> str | None:
    """The run folder that `--output` names, if it names one rather than a video file."""
    is_video = import_module("anamodiff.runfolder").is_video
    return None if output is None or is_video(output) else output


def _how_to_go_on(values: Mapping[str, Any], stop: KeyboardInterrupt) -> str:
    """The line after Ctrl-C. The stages leave their run folder on the exception, as `run`."""
    if "resume" not in values:
        return "stopped"
    folder = getattr(stop, "run", None) or _folder(values["output"])
    # Without --output, --resume looks for the newest run with the same settings.
    where = f" --output {shlex.quote(str(folder))}" if folder else ""
    return f"stopped; the same command with --resume{where} goes on from there"


def _set_up_logging(debug: bool) -> None:
    """Our own messages go to stderr; the libraries' chatter only with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("anamodiff")
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if debug else logging.INFO if _is_first() else logging.ERROR)
    if not debug:
        quiet_libraries()


def quiet_libraries() -> None:
    """Silences warnings and loading bars of the libraries; a download keeps its bar."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    import_module("diffusers.utils.logging").disable_progress_bar()
    import_module("transformers.utils.logging").disable_progress_bar()
    # transformers' switch turns the hub's bars off too: 4 GB with no sign of life.
    import_module("huggingface_hub.utils").enable_progress_bars()


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
    if not _is_first():
        return
    print(f"LOFNet: {folder}")
    print(f"took {time.perf_counter() - started:.1f} s")
    print(f"next: anamodiff transfer --lofnet {shlex.quote(str(folder))} ...")


_MODELS = ("backbone", "lofnet")
_MACHINE = ("seed", "device", "precision")
_TUNING = ("frames", "start_frame", "tuning.iterations", "tuning.noise_min")
_GENERATION = ("generation.steps", "generation.guidance")
_PAIR = ("source", "driving", "prompt", "output")

COMMANDS = {
    "demo": Command(
        "move a drawn turtle the way a drawn rhino jumps",
        ("output", *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, "resume"),
        "tuning.lr=1e-4",
        partial(_produce, "demo"),
    ),
    "transfer": Command(
        "move the character of a clip or picture the way another clip moves",
        (*_PAIR, *_MODELS, *_TUNING, *_GENERATION, *_MACHINE, "resume"),
        "tuning.lr=1e-4",
        partial(_produce, "transfer"),
    ),
    "tune": Command(
        "the first half of a transfer, up to the tuned weights in the run folder",
        (*_PAIR, *_MODELS, *_TUNING, *_MACHINE, "resume"),
        "tuning.lr=1e-4",
        _tune,
    ),
    "generate": Command(
        "the second half of a transfer, from a tuned run folder",
        ("run", "output", *_GENERATION, *_MACHINE),
        "generation.noise_warp=paper",
        partial(_produce, "generate"),
    ),
    "inspect": Command(
        "draw what the flow network makes of a clip: points, flow, masks, warped picture",
        ("clip", "driving", "output", *_MODELS, "frames", "start_frame", "device", "precision"),
        "adaptation.scale=none",
        _inspect,
    ),
    "train-lofnet": Command(
        "train the latent optical flow network on a folder of clips",
        ("data", "output", "backbone", "training.steps", *_MACHINE, "resume"),
        "training.lr=1e-4",
        _train_lofnet,
    ),
}
