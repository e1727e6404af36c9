"""How settings are declared: what kinds accept, what options check, which key was meant."""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import yaml

from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import (
    SWITCH,
    TEXT,
    Kind,
    Options,
    choice,
    dotted,
    nearest,
    number,
    setting,
    settings_of,
    typed,
    unknown,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Dye(Options):
    """Options of every type there is."""

    section: ClassVar[str] = "dye"

    litres: int = setting(3, "how much", low=1, high=9, flag="--litres")
    drops: int | None = setting(None, "how many", low=2)
    heat: float = setting(20.0, "how hot", low=0, below=100, flag="--heat", metavar="C")
    salt: float | None = setting(None, "how salty", above=0)
    hue: Literal["red", "blue", 7] = setting("red", "which", flag="--hue")
    tone: Literal["light", "dark"] | None = setting(None, "which")
    stir: bool = setting(True, "while it is hot", flag="--stir")
    rinse: bool | None = setting(None, "afterwards")
    cloth: str = setting(help="what is dyed", flag="CLOTH")
    note: str | None = setting(None, "for the label", key="label.note")


def dye(**changes: object) -> Dye:
    return Dye(**{"cloth": "wool", **changes})


@pytest.mark.parametrize(
    ("kind", "words", "right", "wrong"),
    [
        (
            whole(2, 4), "a whole number from 2 to 4",
            [2, 4, np.int64(3), np.uint8(2)], [1, 5, 2.0, np.float64(3), True, "3", None],
        ),
        (whole(0), "a whole number of at least 0", [0, 10**9], [-1, False, math.inf, math.nan]),
        (
            number(0, 1), "a number from 0 to 1",
            [0, 1, 0.5, np.float32(0.5), np.int64(1)],
            [-0.1, 1.1, math.nan, math.inf, True, "0.5", None, np.float64("nan"), 1j],
        ),
        (number(0), "a number of at least 0", [0, 1e9], [-1e-9, math.inf]),
        (number(high=3), "a number of at most 3", [3, -1e9], [3.1, -math.inf]),
        (number(above=0), "a number above 0", [1e-9], [0, -1, math.inf]),
        (number(0, below=1), "a number of at least 0 and below 1", [0, 0.99], [1, -1]),
        (number(), "a number", [-1, 0, 2.5], [math.nan, -math.inf, "1", True]),
        (choice("a", 8), "one of a, 8", ["a", 8], ["b", "8", 8.0, True, None, ["a"]]),
        (choice(1, 2), "one of 1, 2", [1, 2], [True, 1.0]),
        (TEXT, "text that is not empty", ["a", " a"], ["", "  ", 1, None, ["a"]]),
        (SWITCH, "true or false", [True, False], [0, 1, "true", None, np.int64(1)]),
        (whole(1).or_null(), "a whole number of at least 1 or null", [None, 1], [0, "null"]),
    ],
    ids=lambda value: value.words if isinstance(value, Kind) else "",
)  # fmt: skip
def test_kinds(kind: Kind, words: str, right: Sequence[object], wrong: Sequence[object]) -> None:
    assert kind.words == words
    assert [value for value in right if not kind.accepts(value)] == []
    assert [value for value in wrong if kind.accepts(value)] == []


def test_annotations_give_the_kinds() -> None:
    words = {name: one.kind.words for name, one in settings_of(Dye).items()}
    assert words == {
        "litres": "a whole number from 1 to 9",
        "drops": "a whole number of at least 2 or null",
        "heat": "a number of at least 0 and below 100",
        "salt": "a number above 0 or null",
        "hue": "one of red, blue, 7",
        "tone": "one of light, dark or null",
        "stir": "true or false",
        "rinse": "true or false or null",
        "cloth": "text that is not empty",
        "note": "text that is not empty or null",
    }


@pytest.mark.parametrize("annotation", [list, int | str, int | str | None])
def test_an_annotation_that_says_too_little_wants_a_kind(annotation: object) -> None:
    def options(kind: Kind | None) -> type[Options]:
        body = {"__annotations__": {"a": annotation}, "a": setting("x", kind=kind)}
        return dataclass(frozen=True)(type("Vague", (Options,), body))

    with pytest.raises(TypeError, match="declare it with its kind"):
        settings_of(options(None))
    assert settings_of(options(TEXT))["a"].kind is TEXT


def test_settings_say_how_the_command_line_spells_them() -> None:
    found = {
        name: (one.key, one.flag, one.name, one.metavar) for name, one in settings_of(Dye).items()
    }
    assert found["litres"] == ("dye.litres", "--litres", "--litres", "N")
    assert found["heat"] == ("dye.heat", "--heat", "--heat", "C")
    assert found["hue"] == ("dye.hue", "--hue", "--hue", "{red,blue,7}")
    assert found["stir"] == ("dye.stir", "--stir", "--stir", "")
    assert found["drops"] == ("dye.drops", None, "dye.drops", "N")
    assert found["note"][0] == "label.note"
    assert settings_of(Dye)["cloth"].default is MISSING


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"litres": 0}, "dye.litres: expected a whole number from 1 to 9, got 0; the default is 3"),
        ({"litres": True}, "dye.litres: expected a whole number from 1 to 9, got True; the"),
        ({"litres": None}, "dye.litres: expected a whole number from 1 to 9, got None; the"),
        ({"drops": 1}, "dye.drops: expected a whole number of at least 2 or null, got 1; see the"),
        ({"heat": math.nan}, "dye.heat: expected a number of at least 0 and below 100, got nan"),
        ({"salt": math.inf}, "dye.salt: expected a number above 0 or null, got inf"),
        ({"hue": "green"}, "dye.hue: expected one of red, blue, 7, got 'green'; the default is"),
        ({"hue": "7"}, "dye.hue: expected one of red, blue, 7, got '7'"),
        ({"stir": 1}, "dye.stir: expected true or false, got 1; the default is True"),
        ({"cloth": " "}, "dye.cloth: expected text that is not empty, got ' '; see the help"),
        ({"note": 5}, "label.note: expected text that is not empty or null, got 5"),
    ],
)
def test_wrong_values_are_refused_when_constructed(changes: dict[str, object], line: str) -> None:
    with pytest.raises(AnaMoDiffError) as caught:
        dye(**changes)
    assert str(caught.value).startswith(line)
    with pytest.raises(AnaMoDiffError) as caught:
        Dye.check(**changes)
    assert str(caught.value).startswith(line)


def test_none_is_kept_where_it_is_a_value() -> None:
    assert dye(drops=None, tone=None, rinse=None) == dye()
    assert (dye(drops=2).drops, dye(tone="dark").tone, dye(rinse=False).rinse) == (2, "dark", False)


def test_numbers_of_numpy_become_pythons() -> None:
    made = dye(litres=np.int64(4), heat=np.float32(0.5), salt=np.float64(2), drops=np.uint8(5))
    values = [made.litres, made.heat, made.salt, made.drops]
    assert [(type(value), value) for value in values] == [
        (int, 4), (float, 0.5), (float, 2.0), (int, 5)
    ]  # fmt: skip
    assert yaml.safe_load(yaml.safe_dump(vars(made))) == vars(made)


def test_options_are_built_from_mappings_of_which_the_first_wins() -> None:
    made = Dye.build({"litres": 5, "heat": None}, None, {"litres": 6, "heat": 30, "cloth": "silk"})
    assert (made.litres, made.heat, made.cloth) == (5, 30, "silk")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"litre": 1}, "unknown setting 'dye.litre'; did you mean dye.litres?"),
        ({"zebra": 1}, "unknown setting 'dye.zebra'; see the help"),
        ({"litres": 10}, "dye.litres: expected a whole number from 1 to 9, got 10; the default is"),
        (8, "dye: expected Dye or a mapping such as {'litres': ...}, got 8"),
        ("litres=8", "dye: expected Dye or a mapping such as {'litres': ...}, got 'litres=8'"),
        ([("litres", 8)], "dye: expected Dye or a mapping such as {'litres': ...}, got [('litres"),
    ],
)
def test_what_options_cannot_be_built_from(given: object, line: str) -> None:
    silk = {"cloth": "silk"}
    for mappings in ((given, silk), (given, None, silk), (silk, given)):
        with pytest.raises(AnaMoDiffError) as caught:
            Dye.build(*mappings)
        assert str(caught.value).startswith(line)
    with pytest.raises(AnaMoDiffError, match="dye.cloth: expected text .* got none; give one"):
        Dye.build({"litres": 5})


KEYS = ("tuning.lr", "tuning.lora", "generation.steps", "generation.solver", "frames", "seed")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("tuning.lrr", ["tuning.lr"]),
        ("lr", ["tuning.lr"]),
        ("lrr", ["tuning.lr"]),
        ("training.lr", ["tuning.lr"]),
        ("tunning.lr", ["tuning.lr"]),
        ("generation.step", ["generation.steps"]),
        ("step", ["generation.steps"]),
        ("frame", ["frames"]),
        ("frames.x", ["frames"]),
        ("zebra", []),
        ("", []),
    ],
)
def test_the_nearest_key(key: str, near: list[str]) -> None:
    assert nearest(key, KEYS) == near
    cure = f"did you mean {near[0]}?" if near else "see the help"
    assert str(unknown(key, KEYS)) == f"unknown setting {key!r}; {cure}"


def test_sections_that_share_a_name_are_all_near() -> None:
    windows = ["tuning.window", "generation.window"]
    assert nearest("window", [*KEYS, *windows]) == windows
    line = "unknown column 'window'; did you mean tuning.window or generation.window?"
    assert str(unknown("window", [*KEYS, *windows], "column")) == line


def test_a_lower_cutoff_finds_shorter_spellings() -> None:
    assert nearest("--iters", ["--iterations", "--steps"]) == []
    assert nearest("--iters", ["--iterations", "--steps"], cutoff=0.65) == ["--iterations"]


def test_nested_settings_are_flattened() -> None:
    assert dotted({"a": {"b": {"c": 1}, "d": None}, "e": [2]}) == {
        "a.b.c": 1, "a.d": None, "e": [2]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (TEXT, "10", "10"),
        (TEXT, "true", "true"),
        (whole(0), "10", 10),
        (number(0), "1e-4", 1e-4),
        (number(0), "fast", "fast"),
        (SWITCH, "True", True),
        (SWITCH, "false", False),
        (choice("auto", 8), "8", 8),
        (choice("auto", 8), "auto", "auto"),
        (None, "7", 7),
        (whole(0), 7, 7),
    ],
)
def test_words_become_what_is_wanted(kind: Kind | None, word: object, value: object) -> None:
    found = typed(kind, word)
    assert (type(found), found) == (type(value), value)
