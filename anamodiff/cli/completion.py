"""Scripts with which shells complete the command line (`anamodiff completion SHELL`).

By shtab: its scripts know all words beforehand. argcomplete would start Python and build the parser
at every press of the key. shtab's script for tcsh leaves out the commands' flags: none is offered.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from anamodiff.errors import AnaMoDiffError

# What stands for a value that is a file, or a folder, in the help.
_FILES = ("CLIP", "PATH", "FILE", "RESULT", "LIST", "RESULTS", "ANSWERS", "PAIRS")
_FOLDERS = ("FOLDER",)


def script(shell: str) -> str:
    """The script for `bash` or `zsh`.

    Raises:
        AnaMoDiffError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise AnaMoDiffError(
            "expected the package shtab, which writes completions, got none: "
            'pip install "anamodiff[completion]"'
        ) from error
    from anamodiff.cli.main import build_parser

    parser = build_parser()
    for one in _all_parsers(parser):
        for action in one._actions:
            _describe(action, shtab.FILE, shtab.DIRECTORY)
    return shtab.complete(parser, shell)


def _all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = "command"  # shtab leaves out what the help does
            for one in action.choices.values():
                yield from _all_parsers(one)


def _describe(action: argparse.Action, file: object, folder: object) -> None:
    """Tell shtab what an action's values are: words of a choice, files or folders."""
    words = action.metavar if isinstance(action.metavar, str) else ""
    if words.startswith("{"):
        # Not for parsing, where the setting's own check says more of what is wrong.
        action.choices = words.strip("{}").split(",")
    elif action.dest == "shell":
        action.choices = ["bash", "zsh"]
    elif words in _FILES or words in _FOLDERS:
        action.complete = file if words in _FILES else folder  # pyright: ignore[reportAttributeAccessIssue]
