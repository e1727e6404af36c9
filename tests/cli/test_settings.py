"""Every options class: defaults, bounds and choices are accepted, all else is refused."""

import math
import re
from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

import pytest

from anamodiff.cli.settings import OPTIONS
from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import Kind, Options, settings_of

FIELDS = [(options, name) for options in OPTIONS for name in settings_of(options)]
NUMBER = r"-?[\d.]+(?:e-?\d+)?"


def bounds(kind: Kind) -> tuple[list[float], list[float]]:
    """What the words of a kind of numbers say: the last values inside, and the first outside."""
    words = kind.words
    step = 1 if "whole" in words else 0.01
    ends = re.search(rf"from ({NUMBER}) to ({NUMBER})", words)
    low, high = map(float, ends.groups()) if ends else (None, None)
    inside, outside = ([low, high], [low - step, high + step]) if ends else ([], [])
    for word, sign in (("of at least", -1), ("of at most", 1)):
        if found := re.search(rf"{word} ({NUMBER})", words):
            inside.append(float(found[1]))
            outside.append(float(found[1]) + sign * step)
    for word in ("above", "below"):
        if found := re.search(rf"{word} ({NUMBER})", words):
            outside.append(float(found[1]))
    if "whole" in words:
        return [int(value) for value in inside], [int(value) for value in outside]
    return inside, outside


def wrong_values(kind: Kind) -> Iterator[Any]:
    """Values that the words of a kind exclude."""
    yield object()
    if not kind.words.endswith("or null"):
        yield None
    if "number" in kind.words:
        yield from bounds(kind)[1]
        yield from (math.nan, math.inf, True, "1", [1])
    if "whole" in kind.words:
        yield 2.5
    if kind.words.startswith("one of"):
        yield from ("typo", 0.5)
    if "text" in kind.words or "words" in kind.words:
        yield from (1, ["a"])
    if "not empty" in kind.words or "words" in kind.words:
        yield from ("", " ")
    if kind.words.startswith("true or false"):
        yield from (0, 1, "true")


def required(options: type[Options]) -> dict[str, Any]:
    """Values for the fields that have no default."""
    examples = {"a whole number": 8, "text": "a", "names of files": ["a"], "one of bash": "bash"}
    return {
        name: next(value for words, value in examples.items() if one.kind.words.startswith(words))
        for name, one in settings_of(options).items()
        if one.default is MISSING
    }


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_defaults_are_of_their_kinds(options: type[Options]) -> None:
    made = options(**required(options))
    defaults = {name: one.default for name, one in settings_of(options).items()}
    assert vars(made) == defaults | required(options)


@pytest.mark.parametrize(
    ("options", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value)
)
def test_wrong_values_are_refused_when_constructed(options: type[Options], name: str) -> None:
    one = settings_of(options)[name]
    for wrong in wrong_values(one.kind):
        with pytest.raises(AnaMoDiffError) as caught:
            options(**required(options) | {name: wrong})
        line = f"{one.key}: expected {one.kind.words}, got {wrong!r}; "
        assert str(caught.value).startswith(line), f"{wrong!r}: expected {line}"
        cure = str(caught.value).removeprefix(line)
        assert cure in ("see the help", f"the default is {one.default!r}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value)
)
def test_bounds_and_choices_are_accepted(options: type[Options], name: str) -> None:
    kind = settings_of(options)[name].kind
    for right in (*bounds(kind)[0], *kind.choices):
        options.check(**{name: right})


def test_every_options_class_is_there() -> None:
    classes = {Options}
    while more := {sub for one in classes for sub in one.__subclasses__()} - classes:
        classes |= more
    ours = {one for one in classes if one.__module__.startswith("anamodiff.")}
    assert ours - {Options} == set(OPTIONS)
