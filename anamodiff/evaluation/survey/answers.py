"""People's answers to a survey: read, checked, and mapped to the methods by the survey's key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.page import KEY, QUESTIONS, VERSION
from anamodiff.resources import expanded

#: One person's answers: the methods, best first, by question and number of the pair.
Rankings = dict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Key:
    """The survey's key: `pairs` holds the method of each result, by pair and random name."""

    survey: str
    methods: tuple[str, ...]
    pairs: dict[str, dict[str, str]]


def read_survey(
    answers: Sequence[str | Path], key: str | Path | None = None
) -> tuple[Key, list[Rankings]]:
    """The survey's key and everybody's rankings.

    The key is looked for beside the answers and one folder above. A key among the answers, where
    `*.json` may put it, is skipped.

    Raises:
        AnaMoDiffError: a file is missing, broken, incomplete, of another survey or given twice.
    """
    files = [expanded(path) for path in answers]
    for path in files:
        if not path.is_file():
            raise AnaMoDiffError(
                f"expected a file of answers, got {'a folder' if path.is_dir() else 'nothing'} at "
                f"{path}: name the files that the survey's page saved"
            )
    where = expanded(key) if key is not None else _find_key(files)
    opened = _read_key(where)
    files = [path for path in files if path.resolve() != where.resolve()]
    if not files:
        raise AnaMoDiffError("expected at least one file of answers, got none")
    return opened, _read_all(files, opened)


def _find_key(files: Sequence[Path]) -> Path:
    for beside in dict.fromkeys(path.resolve().parent for path in files):
        for folder in (beside, beside.parent):
            if (folder / KEY).is_file():
                return folder / KEY
    raise AnaMoDiffError(
        f"expected the survey's {KEY} beside the answers or one folder above, got none: "
        "name it with --key"
    )


def _read_json(path: Path, what: str) -> Any:
    if not path.is_file():
        raise AnaMoDiffError(f"expected {what}, got no file at {path}: correct the name")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise AnaMoDiffError(
            f"expected {what}, got broken JSON in {path}: get the file again"
        ) from error


def _read_key(path: Path) -> Key:
    found = _read_json(path, f"a survey's {KEY}")
    try:
        if found["version"] != VERSION:
            raise ValueError
        pairs = {pair["pair"]: dict(pair["results"]) for pair in found["pairs"]}
        return Key(found["survey"], tuple(found["methods"]), pairs)
    except (KeyError, TypeError, ValueError) as error:
        raise AnaMoDiffError(
            f"expected a survey's {KEY} of version {VERSION}, got something else in {path}: "
            "name the file that anamodiff survey wrote with --key"
        ) from error


def _read_all(files: Sequence[Path], key: Key) -> list[Rankings]:
    """Everybody's rankings; a person's second file is refused."""
    owners: dict[str, Path] = {}
    people = []
    for path in files:
        person, rankings = _read_answers(path, key)
        if person in owners:
            raise AnaMoDiffError(
                f"expected one file from each person, got {owners[person]} and {path} from the "
                "same: leave one out"
            )
        owners[person] = path
        people.append(rankings)
    return people


def _read_answers(path: Path, key: Key) -> tuple[str, Rankings]:
    """One person's random id and rankings."""
    found = _read_json(path, "answers that the survey's page saved")
    try:
        if found["version"] != VERSION:
            raise ValueError
        survey, person = str(found["survey"]), str(found["person"])
        given = {(one["question"], one["pair"]): list(one["ranking"]) for one in found["answers"]}
    except (KeyError, TypeError, ValueError) as error:
        raise AnaMoDiffError(
            f"expected answers that the survey's page saved, got something else in {path}: "
            "leave it out"
        ) from error
    if survey != key.survey:
        raise AnaMoDiffError(
            f"expected answers to survey {key.survey}, got survey {survey}'s in {path}: "
            "leave it out, or name its key with --key"
        )
    return person, {
        (question, pair): _named(
            given.get((question, pair), []),
            results,
            f"the {question} ranking of pair {pair} in {path}",
        )
        for question in QUESTIONS
        for pair, results in key.pairs.items()
    }


def _named(ranking: Sequence[Any], results: Mapping[str, str], where: str) -> list[str]:
    """The methods in the order of the ranking, which must hold each result once."""
    ranked = [name for name in ranking if name is not None]
    if len(ranked) < len(results):
        raise AnaMoDiffError(
            f"expected all {len(results)} results in {where}, got {len(ranked)}: "
            "ask the person to finish"
        )
    if len(ranked) > len(results) or {str(name) for name in ranked} != set(results):
        raise AnaMoDiffError(f"expected each result once in {where}, got others: leave it out")
    return [results[name] for name in ranked]
