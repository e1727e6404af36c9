"""What a survey can show: pairs of a benchmark for which every method has a video."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError

logger = logging.getLogger(__name__)

RESULTS, RESULTS_VERSION = "results.json", 1
#: What a browser's video element plays.
BROWSER_SUFFIXES = (".mp4", ".webm")


@dataclass(frozen=True)
class ShownPair:
    """Files of one pair for which every method has a result; `results` by method."""

    name: str
    source: Path
    driving: Path
    results: dict[str, Path]


def read_results(root: Path) -> dict[str, Any]:
    """The benchmark's table, whose names and paths are checked to be text."""
    path = root / RESULTS
    if not path.is_file():
        raise AnaMoDiffError(
            f"expected a folder with {RESULTS}, got {root}: name one that anamodiff benchmark wrote"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] != RESULTS_VERSION:
            raise ValueError(f"version {table['version']}")
        texts = [*table["methods"]]
        texts += [pair[part] for pair in table["pairs"] for part in ("name", "source", "driving")]
        texts += [row[part] for row in table["rows"] for part in ("pair", "method")]
        texts += [row["video"] for row in table["rows"] if row.get("video") is not None]
        if not all(isinstance(text, str) and text for text in texts):
            raise ValueError("a name or path that is no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        got = f"no {error}" if isinstance(error, KeyError) else error
        raise AnaMoDiffError(
            f"expected a benchmark's table of version {RESULTS_VERSION} in {path}, got {got}: "
            "run anamodiff benchmark again"
        ) from error
    return table


def choose_methods(wanted: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The methods to show, in the benchmark's order."""
    if isinstance(wanted, str):
        wanted = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in wanted or ():
        if name not in known:
            raise AnaMoDiffError(f"expected methods out of {', '.join(known)}, got {name!r}")
    chosen = tuple(dict.fromkeys(name for name in known if wanted is None or name in wanted))
    if len(chosen) < 2:
        raise AnaMoDiffError(
            f"expected at least two methods to rank, got {', '.join(chosen) or 'none'}: name more "
            "with --methods, or benchmark more"
        )
    return chosen


def complete_pairs(
    root: Path, table: Mapping[str, Any], methods: Sequence[str]
) -> Iterator[ShownPair]:
    """Pairs for which every method has a video; the others are logged."""
    videos: dict[tuple[str, str], str] = {}
    for row in table["rows"]:
        place = row["pair"], row["method"]
        if place in videos:
            raise AnaMoDiffError(
                f"expected one row for each pair and method in {root / RESULTS}, got two for "
                f"{' and '.join(place)}: run anamodiff benchmark again"
            )
        if row.get("video"):
            videos[place] = row["video"]
    for pair in table["pairs"]:
        name = pair["name"]
        if missing := [method for method in methods if (name, method) not in videos]:
            logger.warning("pair %s is left out: no result of %s", name, ", ".join(missing))
            continue
        found = {method: _inside(root, videos[name, method]) for method in methods}
        yield ShownPair(name, _inside(root, pair["source"]), _inside(root, pair["driving"]), found)


def _inside(root: Path, relative: str) -> Path:
    """A video inside the benchmark's folder; paths and links out of it are refused."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise AnaMoDiffError(
            f"expected paths inside {root} in its {RESULTS}, got {relative!r}: copy the file there"
        )
    if not path.is_file():
        raise AnaMoDiffError(
            f"expected a video at {root / relative}, got none: run anamodiff benchmark again"
        )
    if path.suffix.lower() not in BROWSER_SUFFIXES:
        raise AnaMoDiffError(
            f"expected videos that browsers play ({', '.join(BROWSER_SUFFIXES)}), got "
            f"{relative!r}: convert it"
        )
    return path


def choose_pairs(
    complete: Sequence[ShownPair], count: int | None, rng: random.Random
) -> list[ShownPair]:
    """`count` of the pairs, or all, in random order."""
    if not complete:
        raise AnaMoDiffError(
            "expected a pair with a result of every method, got none: choose fewer --methods, or "
            "run anamodiff benchmark to its end"
        )
    if count is not None and count > len(complete):
        raise AnaMoDiffError(
            f"--pairs: expected at most {len(complete)}, got {count}: so many have a result of "
            "every method"
        )
    return rng.sample(complete, len(complete) if count is None else count)
