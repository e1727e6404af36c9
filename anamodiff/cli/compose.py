"""Composes a command's settings with Hydra.

Hydra is imported inside the functions: `--help` does without it. What a command calls takes the
values of a composed config as plain arguments (`plain`).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff.cli.settings import all_settings, kind_of, shown
from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import unknown
from anamodiff.resources import find

if TYPE_CHECKING:
    from omegaconf import DictConfig


def override(key: str, value: object) -> str:
    """One Hydra override that sets `key` to exactly `value`, whatever characters it holds.

    Text is quoted for Hydra's grammar (commas, brackets, quotes, equals signs), and `${` is
    escaped for OmegaConf, which would read it as an interpolation even inside quotes.
    """
    return f"{key}={_written(value)}"


def _written(value: object) -> str:
    """A value in Hydra's grammar."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    # The backslashes right before `${` are OmegaConf's too, and halve when the value is read.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return QuotedString(text, Quote.single).with_quotes()


def literal(word: str) -> str:
    """A `key=value` word as the override that its author meant.

    Hydra takes `prompt=a turtle, running` for a sweep, `data=2024` for a number and
    `data=runs/lr=1` for a mistake; here all three are text. Quoted values, null, and
    interpolations stay Hydra's.

    Raises:
        AnaMoDiffError: `word` has no `=`, or adds or deletes a key (`+key`, `~key`): a command's
            settings are fixed.
    """
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w./@-]*", key):
        raise AnaMoDiffError(
            "expected a flag and its value, such as --source FILE, or SETTING=VALUE, such as "
            f"tuning.lr=1e-4, got {word!r}"
        )
    if "${" in value or value.lower() == "null" or value[:1] in ("'", '"'):
        return word
    if (kind := kind_of(key)) and kind.accepts(value):
        return override(key, value)
    return word if _is_plain(word) else override(key, value)


def _is_plain(word: str) -> bool:
    """Whether Hydra's grammar reads an override, and as one value rather than a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return not OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Composes `configs/<name>.yaml` with Hydra overrides and checks every value.

    Nothing is written, the working directory stays, and Hydra's global state is left as it was.

    Raises:
        AnaMoDiffError: an unknown key (with close matches), a value of the wrong type or out of
            range, or a value that has to be given and was not.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    with initialize_config_dir(str(find("configs")), version_base="1.3"):
        try:
            composed = hydra_compose(name, list(overrides))
            for key in _flat_sections(composed, overrides):
                # The same word may be a plain setting of one command and a section of another.
                if isinstance(hydra_compose(name)[key], DictConfig):
                    raise ValueError(key)
            check(composed)
        except AnaMoDiffError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise _explained(error, overrides, hydra_compose(name)) from error
    return composed


def launching(word: str) -> str:
    """A launcher's own setting, such as `partition=gpu`, as an override; `+` adds a key to it."""
    key = word.lstrip("+")
    return f"{word[: len(word) - len(key)]}hydra.launcher.{key}"


def multirun(
    name: str, overrides: Sequence[str], sweep: str, values: Sequence[str | int], *,
    task: Callable[[DictConfig], None], folder: Path, launcher: str = "basic",
) -> None:  # fmt: skip
    """Run `task` on `configs/<name>.yaml` once for each value of the key `sweep`, by Hydra.

    Args:
        task: a function that a launcher's processes can import; gets the composed settings.
        folder: gets Hydra's record of the jobs.
        launcher: ``basic``, in this process one by one, or the name of an installed plugin.

    Raises:
        AnaMoDiffError: there is no such launcher; and whatever a job raises.
    """
    import hydra
    from hydra.errors import HydraException

    swept = ",".join(map(_written, values))
    words = [
        *overrides, f"{sweep}={swept}", override("hydra.sweep.dir", str(folder)),
        f"hydra/launcher={launcher}", "hydra/job_logging=none", "hydra/hydra_logging=none",
    ]  # fmt: skip
    decorated = hydra.main(str(find("configs")), name, version_base="1.3")(task)
    with _environment(words), _unread_help():
        try:
            decorated()
        except HydraException as error:
            line = " ".join(str(error).split())
            plugin = launcher.partition("_")[0]
            if f"'hydra/launcher/{launcher}'" in line and plugin in ("joblib", "submitit", "ray"):
                line = f"launcher={launcher} is not here yet: pip install hydra-{plugin}-launcher"
            raise AnaMoDiffError(line) from error


@contextmanager
def _environment(words: Sequence[str]) -> Iterator[None]:
    """What `hydra.main` reads: its words from `sys.argv`; and let it raise instead of exiting."""
    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], "--multirun", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


@contextmanager
def _unread_help() -> Iterator[None]:
    """Python 3.14 reads a flag's help when it is declared; one of Hydra 1.3's is no text."""
    read, parser = "_check_help", argparse.ArgumentParser
    if not hasattr(parser, read):
        yield
        return
    own = vars(parser).get(read)  # None: inherited
    setattr(parser, read, lambda self, action: None)
    try:
        yield
    finally:
        if own is None:
            delattr(parser, read)
        else:
            setattr(parser, read, own)


def plain(composed: DictConfig) -> dict[str, Any]:
    """The config as nested dicts of plain values, interpolations resolved."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)  # a DictConfig gives nothing else
    return {str(key): value for key, value in values.items()}


def leaves(composed: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key of a config with its resolved value; `"???"` where one is missing."""
    from omegaconf import DictConfig, OmegaConf

    for key in composed:
        if OmegaConf.is_missing(composed, key):
            yield f"{prefix}{key}", "???"
        elif isinstance(composed[key], DictConfig):
            yield from leaves(composed[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", composed[key]


def check(composed: DictConfig) -> None:
    """Raises AnaMoDiffError at the first unknown, missing, ill-typed or out-of-range value."""
    values = dict(leaves(composed))
    for key in values:
        if key not in all_settings():
            raise unknown(key, all_settings())
    if missing := [shown(key) for key, value in values.items() if value == "???"]:
        raise AnaMoDiffError(f"expected {' and '.join(missing)}, got none; see --help")
    for key, value in values.items():
        all_settings()[key].check(value, shown(key))


def _flat_sections(composed: DictConfig, overrides: Iterable[str]) -> Iterator[str]:
    """Keys that an override gave a plain value although a section may stand there."""
    for key in {word.partition("=")[0] for word in overrides}:
        section = any(known.startswith(f"{key}.") for known in all_settings())
        if section and key in composed and not hasattr(composed[key], "items"):
            yield key


def _explained(error: Exception, overrides: Iterable[str], defaults: DictConfig) -> AnaMoDiffError:
    """One line for a composition that failed, with the names there are where one is unknown."""
    known = [key for key, _ in leaves(defaults)]
    for word in overrides:
        key, _, value = word.partition("=")
        if key in known:
            continue
        if key in defaults:  # a group, such as tuning=default
            options = getattr(error, "options", None) or [f"settings such as {key}.NAME=VALUE"]
            given = value.strip("'")  # `override` quotes text
            return AnaMoDiffError(f"{key}: expected {' or '.join(options)}, got {given!r}")
        return unknown(key, known)
    return AnaMoDiffError(" ".join(str(error).split()))
