"""The survey: a page on which people rank results without knowing which method made which.

It is a folder of static files that works from the disk, loads nothing from elsewhere and sends
nothing. Only `key.json`, which lies beside the page's folder, names the methods.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, unused

logger = logging.getLogger(__name__)

VERSION = 1
#: The paper's two surveys, in the order in which they are answered.
QUESTIONS = ("motion", "shape")
RESULTS, KEY = "results.json", "key.json"
STATIC = Path(__file__).resolve().parent / "static"
TITLE = "Which clip moves best?"
#: What a browser's video element plays.
BROWSER_SUFFIXES = (".mp4", ".webm")


@dataclass(frozen=True)
class Survey:
    """What `write_survey` wrote.

    Attributes:
        folder: holds `page`, the folder to hand out, and the key, which is not handed out.
        id: identifies the survey in people's answers.
        pairs: how many each person ranks, once for each question.
    """

    folder: Path
    id: str
    pairs: int
    methods: tuple[str, ...]

    @property
    def page(self) -> Path:
        return self.folder / "page"

    @property
    def key(self) -> Path:
        return self.folder / KEY


@dataclass(frozen=True)
class _Pair:
    """Files of one pair for which every method has a result; `results` by method."""

    name: str
    source: Path
    driving: Path
    results: dict[str, Path]


@dataclass(frozen=True)
class _Shown:
    """One pair as the page shows it, its files under random names.

    Attributes:
        pair: its number on the page.
        name: its name in the benchmark, which only the key holds.
        files: where each video comes from, by its random name.
        source, driving: random names of the pair's own clips.
        methods: the method of each result, by its random name.
    """

    pair: str
    name: str
    files: dict[str, Path]
    source: str
    driving: str
    methods: dict[str, str]


def write_survey(
    results: str | Path,
    *,
    output: str | Path | None = None,
    pairs: int | None = None,
    methods: str | Sequence[str] | None = None,
    seed: int | None = 0,
    title: str = TITLE,
) -> Survey:
    """Write a page that shows a benchmark's results shuffled and unlabelled, and its key.

    Args:
        results: folder that `anamodiff benchmark` wrote.
        output: new or empty folder; one under `outputs/` by default.
        pairs: how many of the pairs to show, chosen at random; None for all.
        methods: names, or one text with commas between them; None for all.
        seed: of the random names, order and choice; None takes another each time.
        title: heading of the first page.

    Raises:
        AnaMoDiffError: the results cannot be used, or the folder is taken.
    """
    root = expanded(results)
    table = _read_results(root)
    chosen = _chosen(methods, table["methods"])
    rng = random.Random(seed)
    picked = _choose(list(_complete_pairs(root, table, chosen)), pairs, rng)
    shown = list(_unlabelled(picked, rng))
    folder = _free_folder(output)
    (folder / "page" / "videos").mkdir(parents=True)
    digest = _copy(shown, folder / "page" / "videos")
    key = _key(shown, chosen, seed, digest)
    _write_page(folder / "page", _page_data(shown, key["survey"], title, rng))
    (folder / KEY).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    return Survey(folder, key["survey"], len(shown), chosen)


def _read_results(root: Path) -> dict[str, Any]:
    """The benchmark's table, whose names and paths are checked to be text."""
    path = root / RESULTS
    if not path.is_file():
        raise AnaMoDiffError(
            f"expected a folder with {RESULTS}, got {root}: name one that anamodiff benchmark wrote"
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] != VERSION:
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
            f"expected a benchmark's table of version {VERSION} in {path}, got {got}: "
            "run anamodiff benchmark again"
        ) from error
    return table


def _chosen(wanted: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
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


def _complete_pairs(
    root: Path, table: Mapping[str, Any], methods: Sequence[str]
) -> Iterator[_Pair]:
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
        yield _Pair(name, _inside(root, pair["source"]), _inside(root, pair["driving"]), found)


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


def _choose(complete: Sequence[_Pair], count: int | None, rng: random.Random) -> list[_Pair]:
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


def _free_folder(output: str | Path | None) -> Path:
    """A new or empty folder: a survey is never replaced, for its page may be with people."""
    folder = unused(OUTPUTS / "survey") if output is None else expanded(output)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AnaMoDiffError(f"expected a new or empty folder for --output, got {folder}")
    return folder


def _unlabelled(pairs: Sequence[_Pair], rng: random.Random) -> Iterator[_Shown]:
    """The pairs with random names for their files."""
    count = sum(2 + len(pair.results) for pair in pairs)
    numbers = iter(rng.sample(range(16**6), count))
    for place, pair in enumerate(pairs, start=1):
        files: dict[str, Path] = {}
        for path in (pair.source, pair.driving, *pair.results.values()):
            files[f"{next(numbers):06x}{path.suffix.lower()}"] = path
        source, driving, *results = files
        methods = dict(zip(results, pair.results, strict=True))
        yield _Shown(str(place), pair.name, files, source, driving, methods)


def _copy(shown: Sequence[_Shown], folder: Path) -> str:
    """Copy the videos under their random names; returns the digest of names and contents."""
    digest = hashlib.sha256()
    files = {name: path for pair in shown for name, path in pair.files.items()}
    # In the order of the random names, so that the files' times give no method away.
    for name, path in sorted(files.items()):
        shutil.copyfile(path, folder / name)
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()


def _key(
    shown: Sequence[_Shown], methods: Sequence[str], seed: int | None, digest: str
) -> dict[str, Any]:
    """The content of `key.json`. The survey's id is a digest of all that people see."""
    pairs = [
        # In the order of the random names, as the page's folder lists them.
        {"pair": pair.pair, "name": pair.name, "results": dict(sorted(pair.methods.items()))}
        for pair in shown
    ]
    whole = {"seed": seed, "methods": list(methods), "pairs": pairs}
    text = json.dumps([whole, digest])
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    return {"version": VERSION, "survey": name, **whole}


def _page_data(
    shown: Sequence[_Shown], survey: str, title: str, rng: random.Random
) -> dict[str, Any]:
    """The data of the page, which names neither methods nor pairs."""
    pairs = []
    for pair in shown:
        orders = {name: rng.sample(sorted(pair.methods), len(pair.methods)) for name in QUESTIONS}
        pairs.append({"pair": pair.pair, "source": pair.source, "driving": pair.driving, **orders})
    return {"survey": survey, "title": title, "questions": QUESTIONS, "pairs": pairs}


def _write_page(folder: Path, data: Mapping[str, Any]) -> None:
    """Write the page's files, with the data as JSON in a script tag of its own."""
    # A `</script>` or `<!--` in the data would end or change the tag that it stands in.
    text = json.dumps(data, indent=1).replace("<", "\\u003c")
    parts = {"title": html.escape(data["title"]), "data": text}
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)
    (folder / "index.html").write_text(page, encoding="utf-8")
    for name in ("survey.css", "survey.js"):
        shutil.copyfile(STATIC / name, folder / name)
