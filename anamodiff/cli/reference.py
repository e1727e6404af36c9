"""Prints docs/settings.md: `python -m anamodiff.cli.reference > docs/settings.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from inspect import cleandoc

from anamodiff.cli.settings import FIGURE, FROM, OPTIONS, CommandOptions
from anamodiff.fields import Options, Setting, settings_of

INTRODUCTION = """# Settings

Written by `python -m anamodiff.cli.reference`. The settings are declared in `anamodiff/options.py`,
`anamodiff/lofnet/options.py`, `anamodiff/lofnet/training/options.py` and
`anamodiff/cli/settings.py`.

On the command line every setting is `SETTING=VALUE`; some have a flag, too: `--iterations 100` is
`tuning.iterations=100`. What stands in capitals is given without a flag. `anamodiff COMMAND --help`
says which flags a command has, `configs/COMMAND.yaml` which settings. From Python, the settings of
a stage are a mapping, `anamodiff.transfer(..., tuning={"iterations": 100})`, or an object,
`anamodiff.options.TuningOptions(iterations=100)`.

The defaults of `adaptation`, `tuning` and `generation` are the paper's, but for two that were
measured to be better, `tuning.temporal_lr` and `generation.noise_warp`: `--preset paper` has the
paper's own. A setting there that is
null or not given takes the preset's value, without a preset the one that the backbone recommends
(`anamodiff.json` in its folder), and only then the default.
"""
TABLE_COLUMNS = ("setting", "flag", "value", "default", "what it does")


def reference() -> str:
    """Every options class as a table in Markdown."""
    return "\n".join([INTRODUCTION, *map(_section, OPTIONS)])


def _section(options: type[Options]) -> str:
    title, *notes = cleandoc(options.__doc__ or "").splitlines()
    settings = [*settings_of(options).values()]
    if options is CommandOptions:
        settings += [FIGURE, FROM]
    rows = [TABLE_COLUMNS, ["---"] * len(TABLE_COLUMNS), *map(_cells, settings)]
    return "\n".join([f"## {title.rstrip('.')}", *notes, "", *map(_row, rows), ""])


def _cells(one: Setting) -> list[str]:
    flag = one.flag or ""
    if flag.startswith("--"):
        # A bar would end the cell, and an escaped one shows its backslash in some renderers.
        flag = f"{flag} {one.metavar}".strip().replace("|", "/")
    value = one.kind.words.replace("text that is not empty", "text")
    return [f"`{one.key}`", f"`{flag}`" if flag else "", value, _default(one.default), one.help]


def _default(value: object) -> str:
    if value is MISSING:
        return "required"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"`{value}`" if value != "" else "empty"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(reference(), end="")
