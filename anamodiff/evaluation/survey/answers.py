"""People's answers to a survey: read, checked, and mapped to the methods by the survey's key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.page import KEY, POINTS, QUESTIONS, VERSION
from anamodiff.resources import expanded

#: One person's rankings: the methods, best first, by question and number of the pair.
Rankings = dict[tuple[str, str], list[str]]
#: One person's ratings: each method's points, by what was rated and number of the pair.
Ratings = dict[tuple[str, str], dict[str, int]]


@dataclass(frozen=True)
class Answers:
    """What one person said."""

    rankings: Rankings
    ratings: Ratings


@dataclass(frozen=True)
class Key:
    """The survey's key.

    Attributes:
        pairs: the method of each result, by pair and random name.
        questions, rated: by what people rank the results, and what of them they rate.
    """

    survey: str
    methods: tuple[str, ...]
    pairs: dict[str, dict[str, str]]
    questions: tuple[str, ...]
    rated: tuple[str, ...]


def read_survey(
    answers: Sequence[str | Path], key: str | Path | None = None
) -> tuple[Key, list[Answers]]:
    """The survey's key and everybody's answers.

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
        # Surveys from before there were ratings ask for rankings, and do not say so.
        asked = tuple(found.get("questions", QUESTIONS)), tuple(found.get("rated", ()))
        return Key(found["survey"], tuple(found["methods"]), pairs, *asked)
    except (KeyError, TypeError, ValueError) as error:
        raise AnaMoDiffError(
            f"expected a survey's {KEY} of version {VERSION}, got something else in {path}: "
            "name the file that anamodiff survey wrote with --key"
        ) from error


def _read_all(files: Sequence[Path], key: Key) -> list[Answers]:
    """Everybody's answers; a person's second file is refused."""
    owners: dict[str, Path] = {}
    people = []
    for path in files:
        person, said = _read_answers(path, key)
        if person in owners:
            raise AnaMoDiffError(
                f"expected one file from each person, got {owners[person]} and {path} from the "
                "same: leave one out"
            )
        owners[person] = path
        people.append(said)
    return people


def _read_answers(path: Path, key: Key) -> tuple[str, Answers]:
    """One person's random id, rankings and ratings."""
    found = _read_json(path, "answers that the survey's page saved")
    try:
        if found["version"] != VERSION:
            raise ValueError
        survey, person = str(found["survey"]), str(found["person"])
        given = {(one["question"], one["pair"]): list(one["ranking"]) for one in found["answers"]}
        rated = {
            (name, one["pair"]): dict(points)
            for one in found.get("ratings", ())
            for name, points in one["points"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnaMoDiffError(
            f"expected answers that the survey's page saved, got something else in {path}: "
            "leave it out"
        ) from error
    if survey != key.survey:
        raise AnaMoDiffError(
            f"expected answers to survey {key.survey}, got survey {survey}'s in {path}: "
            "leave it out, or name its key with --key"
        )
    rankings = {
        (question, pair): _named(
            given.get((question, pair), []),
            results,
            f"the {question} ranking of pair {pair} in {path}",
        )
        for question in key.questions
        for pair, results in key.pairs.items()
    }
    ratings = {
        (name, pair): _points(
            rated.get((name, pair), {}), results, f"the {name} ratings of pair {pair} in {path}"
        )
        for name in key.rated
        for pair, results in key.pairs.items()
    }
    return person, Answers(rankings, ratings)


def _points(given: Mapping[str, Any], results: Mapping[str, str], where: str) -> dict[str, int]:
    """Each method's points, a whole number from 1 to `POINTS` for each result."""
    if missing := len([name for name in results if given.get(name) is None]):
        raise AnaMoDiffError(
            f"expected all {len(results)} results in {where}, got {len(results) - missing}: "
            "ask the person to finish"
        )
    for name, value in given.items():
        whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= POINTS
        if name not in results or not whole:
            raise AnaMoDiffError(
                f"expected whole numbers from 1 to {POINTS} for its own results in {where}, got "
                f"{value!r} for {name!r}: leave the file out"
            )
    return {method: given[name] for name, method in results.items()}


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
