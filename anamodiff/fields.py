"""How a setting is declared: one field gives its type, range, default, help text and flag."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from anamodiff.errors import AnaMoDiffError, shorten

OR_NULL = " or null"


@dataclass(frozen=True)
class Kind:
    """What a setting may be: words for the error line, the test itself, and the choices if few."""

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[str | int, ...] = ()

    def or_null(self) -> Kind:
        """The same, or None."""
        return Kind(
            f"{self.words}{OR_NULL}",
            lambda value: value is None or self.accepts(value),
            self.choices,
        )


@dataclass(frozen=True)
class Setting:
    """One field of an options class.

    Attributes:
        key: dotted, such as ``tuning.lr``.
        default: `MISSING` where a value has to be given.
        flag: its spelling on the command line, such as ``--noise-min``, or ``CLIP`` for what is
            given without a flag; None where it is set as ``SETTING=VALUE`` only.
        metavar: what stands for the value in the help; empty for a switch.
    """

    key: str
    kind: Kind
    default: Any
    help: str
    flag: str | None
    metavar: str

    @property
    def name(self) -> str:
        """How the command line spells it: its flag where it has one, else its key."""
        return self.flag or self.key

    def check(self, value: Any, name: str | None = None) -> None:
        """Raise AnaMoDiffError, in one line with the cure, for a value that is not of the kind.

        Args:
            name: how the person spelt it: a flag, which is left out where it is to be null.
        """
        if self.kind.accepts(value):
            return
        unset = self.default in (MISSING, None)
        cure = "see the help" if unset else f"the default is {self.default!r}"
        words = self.kind.words
        if name is not None and name == self.flag:
            words = words.removesuffix(OR_NULL)
        raise AnaMoDiffError(f"{name or self.key}: expected {words}, got {_shown(value)}; {cure}")


def _shown(value: object) -> str:
    """A value in a message: text of any length may come."""
    return shorten(repr(value), 120)


def whole(low: int, high: int | None = None) -> Kind:
    """Whole numbers from `low` to `high`, both included."""
    words = f"of at least {low}" if high is None else f"from {low} to {high}"

    def accepts(value: Any) -> bool:
        if not isinstance(value, Integral) or isinstance(value, bool):
            return False
        return low <= int(value) and (high is None or int(value) <= high)

    return Kind(f"a whole number {words}", accepts)


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None,
    below: float | None = None,
) -> Kind:  # fmt: skip
    """Finite numbers from `low` to `high`, both included, or `above` and `below`, both excluded."""
    bounds = (
        [f"from {low:g} to {high:g}"]
        if low is not None and high is not None
        else [f"{word} {bound:g}" for word, bound in (("of at least", low), ("above", above),
              ("of at most", high), ("below", below)) if bound is not None]
    )  # fmt: skip

    def accepts(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        try:
            size = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            return False
        return math.isfinite(size) and (
            (low is None or size >= low)
            and (high is None or size <= high)
            and (above is None or size > above)
            and (below is None or size < below)
        )

    return Kind(" ".join(["a number", " and ".join(bounds)]).strip(), accepts)


def choice(*choices: str | int) -> Kind:
    """One of a few words or numbers."""
    return Kind(
        f"one of {', '.join(map(str, choices))}",
        lambda value: any(type(value) is type(one) and value == one for one in choices),
        choices,
    )


TEXT = Kind("text that is not empty", lambda value: isinstance(value, str) and value.strip() != "")
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))


def setting(
    default: Any = MISSING, help: str = "", *, low: float | None = None, high: float | None = None,
    above: float | None = None, below: float | None = None, kind: Kind | None = None,
    flag: str | None = None, metavar: str = "N", key: str | None = None,
) -> Any:  # fmt: skip
    """A field of an options class; type and choices come from its annotation.

    Args:
        default: without one, a value has to be given.
        help: what it does, in a line without a full stop.
        low, high: bounds of a number that belong to it.
        above, below: bounds that do not.
        kind: in the place of what annotation and bounds say.
        flag: its spelling on the command line, if it has one of its own.
        metavar: what stands for the value in the help, where there are no choices to list.
        key: dotted, where it is not the section's and the field's own name.
    """
    metadata = {
        "help": help, "kind": kind, "flag": flag, "metavar": metavar, "key": key,
        "bounds": {"low": low, "high": high, "above": above, "below": below},
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


def _kind(hint: Any, bounds: Mapping[str, float | None]) -> Kind:
    """The kind that an annotation and bounds describe."""
    if get_origin(hint) in (Union, UnionType):
        inner, *others = (part for part in get_args(hint) if part is not NoneType)
        if not others:
            return _kind(inner, bounds).or_null()
    if get_origin(hint) is Literal:
        return choice(*get_args(hint))
    if hint is bool:
        return SWITCH
    if hint is int:
        return whole(bounds["low"] or 0, bounds["high"])  # type: ignore[arg-type]
    if hint is float:
        return number(**bounds)
    if hint is str:
        return TEXT
    raise TypeError(f"{hint} does not say what a setting may be: declare it with its kind")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that are checked when they are constructed.

    Raises:
        AnaMoDiffError: a value is of another type or out of range; one line says what was expected.
    """

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, one in settings_of(type(self)).items():
            value = getattr(self, name)
            one.check(value)
            if type(value).__module__ == "numpy":  # YAML and JSON take Python's own numbers alone
                object.__setattr__(self, name, value.item())

    @classmethod
    def build(cls, *given: Mapping[str, Any] | None) -> Self:
        """Options from mappings of field names, of which earlier ones win; None is not given.

        Raises:
            AnaMoDiffError: what `checked` raises, or a setting that has to be given is not.
        """
        chosen: dict[str, Any] = {}
        for mapping in reversed(given):
            chosen |= cls.checked(mapping)
        for name, one in settings_of(cls).items():
            if one.default is MISSING and name not in chosen:
                raise AnaMoDiffError(f"{one.key}: expected {one.kind.words}, got none; give one")
        return cls(**chosen)

    @classmethod
    def checked(cls, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a mapping of field names gives, each value checked on its own.

        Raises:
            AnaMoDiffError: what is given is no mapping, a name is unknown (with the nearest one),
                or a value is out of range.
        """
        known = settings_of(cls)
        if given is not None and not isinstance(given, Mapping):
            raise AnaMoDiffError(
                f"{cls.section}: expected {cls.__name__} or a mapping such as "
                f"{{{next(iter(known))!r}: ...}}, got {given!r}"
            )
        chosen = {name: value for name, value in (given or {}).items() if value is not None}
        for name in given or {}:
            if name not in known:
                raise unknown(cls._key(name), map(cls._key, known))
        cls.check(**chosen)
        return chosen

    @classmethod
    def check(cls, **values: Any) -> None:
        """Check some values by field name, without constructing options of them.

        Raises:
            AnaMoDiffError: one is of another type or out of range.
        """
        for name, value in values.items():
            settings_of(cls)[name].check(value)

    @classmethod
    def _key(cls, name: str) -> str:
        return f"{cls.section}.{name}" if cls.section else name


@cache
def settings_of(options: type[Options]) -> dict[str, Setting]:
    """Settings of an options class, by field name."""
    hints = get_type_hints(options)
    found = {}
    for field in dataclasses.fields(options):
        own = field.metadata
        kind = own["kind"] or _kind(hints[field.name], own["bounds"])
        choices = f"{{{','.join(map(str, kind.choices))}}}" if kind.choices else None
        found[field.name] = Setting(
            key=own["key"] or options._key(field.name),
            kind=kind,
            default=field.default,
            help=own["help"],
            flag=own["flag"],
            metavar="" if kind is SWITCH else choices or own["metavar"],
        )
    return found


D = TypeVar("D")


def construct(kind: type[D], given: Mapping[str, Any]) -> D:
    """A dataclass from some of its fields by name.

    Raises:
        AnaMoDiffError: there is no such field; the nearest one is named.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise unknown(name, known)
    return kind(**given)


def unknown(key: str, known: Iterable[str], what: str = "setting") -> AnaMoDiffError:
    """The error for a key that is not among those known, with the nearest of these."""
    return AnaMoDiffError(
        f"unknown {what} {_shown(key)}; {suggestion(key, known, cutoff=0.74) or 'see the help'}"
    )


def suggestion(key: str, known: Iterable[str], cutoff: float = 0.8) -> str:
    """The question whether the nearest key was meant; empty where none is near."""
    near = nearest(key, known, cutoff)
    return f"did you mean {' or '.join(near)}?" if near else ""


def nearest(key: str, known: Iterable[str], cutoff: float = 0.8) -> list[str]:
    """The key that was likely meant; several where sections share its name, none if none is near.

    `lr` and `training.lr` stand for `tuning.lr`; `tuning.lrr` and `lrr` are spelt like it.

    Args:
        cutoff: least similarity of the spelling, difflib's ratio.
    """
    names = {full: full.rpartition(".")[2] for full in known}
    own = key.rpartition(".")[2]
    if own not in names.values():
        if close := difflib.get_close_matches(key, names, n=1, cutoff=cutoff):
            return close
        own = next(iter(difflib.get_close_matches(own, names.values(), n=1, cutoff=cutoff)), "")
    return [full for full, name in names.items() if name == own][:3]


def dotted(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level: `{"tuning": {"lr": 1}}` becomes `{"tuning.lr": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= dotted(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def typed(kind: Kind | None, value: object) -> object:
    """What a word means where `kind` is wanted: text if it takes that, else a number or switch."""
    if not isinstance(value, str) or (kind and kind.accepts(value)):
        return value
    for number_type in (int, float):
        try:
            return number_type(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value.lower(), value)
