"""The command line: `anamodiff demo | transfer | tune | generate | inspect | evaluate | ...`.

Flags become Hydra overrides of `configs/<command>.yaml`, and the composed values the arguments of
what the command calls. Hydra and torch are imported once the arguments are read.
"""

from __future__ import annotations

import _thread
import argparse
import errno
import gc
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from anamodiff import __version__
from anamodiff.backbone.libraries import imported_by
from anamodiff.cli.actions import is_first
from anamodiff.cli.commands import COMMANDS, Command
from anamodiff.cli.compose import compose, literal, override, plain
from anamodiff.cli.console import print_any_name, readable
from anamodiff.cli.overview import advice, command_list, example_lines
from anamodiff.cli.settings import ALIASES, SEVERAL, help_of, is_positional, kind_of, shown
from anamodiff.cli.threads import leave_busy_cores_alone
from anamodiff.errors import AnaMoDiffError, explain_os_error, is_out_of_memory, one_line
from anamodiff.fields import suggestion, typed

WRONG_INPUT, UNEXPECTED = 2, 1  # exit codes
OUT_OF_MEMORY = (
    "expected memory for this command, got too little; lower --frames, add --vram 8, or close "
    "other programs; --resume goes on with a run that was begun"
)


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line, printed by `main` like every other mistake."""

    def error(self, message: str) -> NoReturn:
        near = None
        if unknown := re.match(r"argument COMMAND: (invalid choice: '([^']*)')", message):
            near = suggestion(unknown[2], COMMANDS, cutoff=0.6)
            message = f"{unknown[1]}, expected a command"
        raise AnaMoDiffError(f"{message}; {near or f'see {self.prog} --help'}")


class CommandHelp(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the examples, and folds the description."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Once(argparse.Action):
    """A flag's value; a second one is refused, where argparse would forget the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        if hasattr(namespace, self.dest):
            first = getattr(namespace, self.dest)
            parser.error(
                f"expected {option_string} once, got {first} and {values}: --{self.dest}s takes "
                "several, with commas between them"
            )
        setattr(namespace, self.dest, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the exit code.

    0 when done, 2 for a mistake in the input, 1 for the unexpected, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    print_any_name()
    debug = "--debug" in words
    with interrupts() as stopped:
        try:
            return run(words, debug)
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            if debug:
                traceback.print_exc()
            if isinstance(error, KeyboardInterrupt) or stopped:
                code = 128 + (stopped or [signal.SIGINT])[0]
                line = getattr(error, "how_to_go_on", "stopped")
            else:
                code, line = _explained(error, debug)
                line += advice(line, words)
            print(f"anamodiff{_which_process()}: {line}", file=sys.stderr)
            return code


def _which_process() -> str:
    """Tells the lines of the other processes from the first one's."""
    return "" if is_first() else f" (process {os.environ['RANK']})"


def _explained(error: BaseException, debug: bool) -> tuple[int, str]:
    """Exit code and line for what went wrong."""
    line = one_line(str(error))
    if isinstance(error, AnaMoDiffError):
        return WRONG_INPUT, f"error: {' '.join(str(error).split())}"
    if isinstance(error, OSError):
        return WRONG_INPUT, f"error: {explain_os_error(error)}"
    if "No space left on device" in line:  # the libraries' own kinds of error
        full = explain_os_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return WRONG_INPUT, f"error: {full}"
    if is_out_of_memory(error):
        return WRONG_INPUT, f"error: {OUT_OF_MEMORY}"
    hint = "" if debug else "; run again with --debug to see where"
    return UNEXPECTED, f"unexpected error: {type(error).__name__}: {line}{hint}"


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that is no longer empty once the process is told to stop (Ctrl-C, SIGTERM).

    Either raises KeyboardInterrupt. Raised inside a library, that may be swallowed or come out as
    another error: where it cannot be raised it is raised again, and the list tells what happened.
    """
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    def swallowed(found: sys.UnraisableHookArgs) -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            # Raised in here it would be swallowed, too.
            again = threading.Timer(0.01, _thread.interrupt_main)
            again.daemon = True
            again.start()
        else:
            sys.__unraisablehook__(found)

    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield stopped
        return
    # Where several processes work together, their launcher ends them.
    numbers = [signal.SIGINT] if "WORLD_SIZE" in os.environ else [signal.SIGINT, signal.SIGTERM]
    usual = (signal.SIG_DFL, signal.default_int_handler)  # not where a shell lets it be ignored
    before = {n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) in usual}
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield stopped
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def run(words: Sequence[str], debug: bool = False) -> int:
    """Reads the arguments, composes the command's settings and carries the command out."""
    started = time.perf_counter()
    parser = build_parser()
    found, rest = parser.parse_known_args(words)
    flags = vars(found)
    name = flags.pop("command")
    flags.pop("debug")
    if name is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    values = values_of(name, flags, rest)
    _set_up_logging(debug)
    try:
        with imported_by(lambda: _import_libraries(quiet=not debug)):
            COMMANDS[name].act(values, started)
    except BaseException as error:
        error.how_to_go_on = _how_to_go_on(values, error)  # pyright: ignore[reportAttributeAccessIssue]
        raise
    return 0


def values_of(name: str, flags: Mapping[str, Any], rest: Sequence[str]) -> dict[str, Any]:
    """The values of a command from its flags, by key, and the words that followed them."""
    given, rest = _gather(name, flags, rest)
    if isinstance(prompt := given.get("prompt"), str):
        given["prompt"] = readable(prompt)
    if name == "generate" and "run" not in given and (folder := _folder(given.get("output"))):
        given.update(run=folder, output=None)
    overrides = [override(key, typed(kind_of(key), value)) for key, value in given.items()]
    for word in rest:
        if word.startswith("-") and word != "--":
            raise AnaMoDiffError(_unknown_flag(word, name))
        overrides += [literal(word)] if word != "--" else []
    return plain(compose(name.replace("-", "_"), overrides))


def build_parser() -> Parser:
    """The parser of all commands. Hydra overrides are what it leaves over."""
    debug = Parser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show whole tracebacks"
    )
    parser = Parser(
        prog="anamodiff",
        usage="anamodiff COMMAND [flags]",
        description="Transfers the motion of one character onto another.\n\n"
        + command_list({name: command.help for name, command in COMMANDS.items()}),
        epilog="anamodiff COMMAND --help says what each command takes, with examples.",
        parents=[debug],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"anamodiff {__version__}")
    # The description lists them, in groups, which argparse does not know.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=_further(name, command.example),
            usage=_usage(name, command),
            parents=[debug],
            allow_abbrev=False,
            formatter_class=CommandHelp,
        )
        for key in command.flags:
            _add_flag(one, key, command.texts.get(key))
    return parser


def _usage(name: str, command: Command) -> str:
    words = [shown(key) for key in command.flags if is_positional(key)]
    words = [f"{word} ..." if word.lower() in SEVERAL else word for word in words]
    settings = ["[SETTING=VALUE ...]"] if command.example else []
    return " ".join(["anamodiff", name, *words, "[flags]", *settings])


def _further(name: str, example: str) -> str:
    """The end of a command's help: examples and, where there are some, settings without flags."""
    if not example:
        return example_lines(name)
    return (
        f"{example_lines(name)}\n\n"
        f"Further settings follow as SETTING=VALUE, such as {example}.\n"
        f"configs/{name.replace('-', '_')}.yaml lists them, docs/settings.md explains them."
    )


def _add_flag(parser: Parser, key: str, text: str | None) -> None:
    """A flag whose value arrives as text under `key`, and not at all where it is not given."""
    metavar, text = help_of(key, text)
    if is_positional(key):  # optional for argparse: what is missing is said in our own words
        many = "*" if key in SEVERAL else "?"
        parser.add_argument(
            key, metavar=shown(key), help=text, nargs=many, default=argparse.SUPPRESS
        )
        return
    kind: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
    if key == "method":  # elsewhere the last one counts, as with most programs
        kind["action"] = Once
    names = (shown(key), *ALIASES.get(key, ()))
    parser.add_argument(*names, dest=key, help=text, default=argparse.SUPPRESS, **kind)


def _gather(
    name: str, flags: Mapping[str, Any], rest: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Moves the files of a command that takes several to their key, wherever they stood.

    What has a `=` is SETTING=VALUE, unless there is a file of that name.
    """
    given, words = dict(flags), list(rest)
    for key in set(COMMANDS[name].flags) & set(SEVERAL):
        words = [*given.pop(key, []), *words]
        files = [w for w in words if w[:1] != "-" and ("=" not in w or os.path.exists(w))]
        words = [word for word in words if word not in files]
        given |= {key: files} if files else {}
    return given, words


def _unknown_flag(word: str, name: str) -> str:
    flag = word.partition("=")[0]
    near = suggestion(flag, map(shown, COMMANDS[name].flags), cutoff=0.65)
    return f"{name} has no flag {flag}; {near or f'see anamodiff {name} --help'}"


def _folder(output: str | None) -> str | None:
    """The run folder that `--output` names, if it names one rather than a video file."""
    from anamodiff.run.outputs import is_video

    return None if output is None or is_video(output) else output


def _how_to_go_on(values: Mapping[str, Any], stop: BaseException) -> str:
    """The line after Ctrl-C. The stages leave their run folder on the exception, as `run`."""
    if "jobs" in values:  # transfer-many always resumes
        return "stopped; the same command goes on from there"
    if "resume" not in values:
        return "stopped"
    folder = getattr(stop, "run", None) or _folder(values["output"])
    # Without --output, --resume looks for the newest run with the same settings.
    where = f" --output {shlex.quote(str(folder))}" if folder else ""
    return f"stopped; the same command with --resume{where} goes on from there"


def _import_libraries(*, quiet: bool) -> None:
    """Import torch and the model libraries, and say so.

    Most of a command's start is this import, and a fifth of it would be garbage collections that
    find nothing, for modules stay: they wait until it is done.

    Args:
        quiet: without the libraries' warnings and loading bars, unless Python was asked for them.
    """
    if "torch" not in sys.modules:
        leave_busy_cores_alone()
        # On a terminal what comes next is written over it.
        print("loading ...", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    gc.disable()
    try:
        if quiet:
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            import_module("anamodiff.backbone.libraries").quiet_libraries()
        import_module("anamodiff.backbone.model")
    finally:
        gc.freeze()  # what is imported need not be looked at again
        gc.enable()


def _set_up_logging(debug: bool) -> None:
    """Our own messages go to stderr; the libraries' chatter only with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("anamodiff")
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if debug else logging.INFO if is_first() else logging.ERROR)
