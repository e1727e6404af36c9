"""The survey: a page on which people judge results without knowing which method made which.

It is a folder of static files that works from the disk, loads nothing from elsewhere and sends
nothing. Only `key.json`, which lies beside the page's folder, names the methods.
"""

from __future__ import annotations

import hashlib
import html
import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.contents import (
    ShownPair,
    choose_methods,
    choose_pairs,
    complete_pairs,
    read_results,
)
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, unused

VERSION = 1
#: What a survey asks for: rankings, ratings from 1 to 5, or both.
Ask = Literal["both", "ranking", "rating"]
#: The paper's two surveys, in the order in which they are answered.
QUESTIONS = ("motion", "shape")
#: What is rated from 1 to `POINTS`, after them, as newer benchmarks ask.
RATED = ("motion", "appearance")
POINTS = 5
KEY = "key.json"
STATIC = Path(__file__).resolve().parent / "static"
TITLE = "Which clip moves best?"


@dataclass(frozen=True)
class Survey:
    """What `write_survey` wrote.

    Attributes:
        folder: holds `page`, the folder to hand out, and the key, which is not handed out.
        id: identifies the survey in people's answers.
        pairs: how many each person sees, once for each question and once to rate them.
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
    ask: Ask = "both",
) -> Survey:
    """Write a page that shows a benchmark's results shuffled and unlabelled, and its key.

    Args:
        results: folder that `anamodiff benchmark` wrote.
        output: new or empty folder; one under `outputs/` by default.
        pairs: how many of the pairs to show, chosen at random; None for all.
        methods: names, or one text with commas between them; None for all.
        seed: of the random names, order and choice; None takes another each time.
        title: heading of the first page.
        ask: for the paper's rankings, for ratings of motion and appearance from 1 to 5, or both.

    Raises:
        AnaMoDiffError: the results cannot be used, or the folder is taken.
    """
    if ask not in get_args(Ask):
        raise AnaMoDiffError(f"expected ask {', '.join(get_args(Ask))}, got {ask!r}: choose one")
    asked = {
        "questions": () if ask == "rating" else QUESTIONS,
        "rated": () if ask == "ranking" else RATED,
    }
    root = expanded(results)
    table = read_results(root)
    chosen = choose_methods(methods, table["methods"])
    rng = random.Random(seed)
    picked = choose_pairs(list(complete_pairs(root, table, chosen)), pairs, rng)
    shown = list(_unlabelled(picked, rng))
    folder = _free_folder(output)
    (folder / "page" / "videos").mkdir(parents=True)
    digest = _copy(shown, folder / "page" / "videos")
    key = _key(shown, chosen, seed, digest, asked)
    _write_page(folder / "page", _page_data(shown, key["survey"], title, rng, asked))
    (folder / KEY).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    return Survey(folder, key["survey"], len(shown), chosen)


def _free_folder(output: str | Path | None) -> Path:
    """A new or empty folder: a survey is never replaced, for its page may be with people."""
    folder = unused(OUTPUTS / "survey") if output is None else expanded(output)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AnaMoDiffError(f"expected a new or empty folder for --output, got {folder}")
    return folder


def _unlabelled(pairs: Sequence[ShownPair], rng: random.Random) -> Iterator[_Shown]:
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
    shown: Sequence[_Shown], methods: Sequence[str], seed: int | None, digest: str,
    asked: Mapping[str, Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    """The content of `key.json`. The survey's id is a digest of all that people see."""
    pairs = [
        # In the order of the random names, as the page's folder lists them.
        {"pair": pair.pair, "name": pair.name, "results": dict(sorted(pair.methods.items()))}
        for pair in shown
    ]
    whole = {"seed": seed, "methods": list(methods), "pairs": pairs}
    whole |= {name: list(what) for name, what in asked.items()}
    text = json.dumps([whole, digest])
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    return {"version": VERSION, "survey": name, **whole}


def _page_data(
    shown: Sequence[_Shown], survey: str, title: str, rng: random.Random,
    asked: Mapping[str, Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    """The data of the page, which names neither methods nor pairs."""
    pairs = []
    for pair in shown:
        results = sorted(pair.methods)
        orders = {name: rng.sample(results, len(results)) for name in (*QUESTIONS, "rating")}
        pairs.append({"pair": pair.pair, "source": pair.source, "driving": pair.driving, **orders})
    return {"survey": survey, "title": title, "points": POINTS, **asked, "pairs": pairs}


def _write_page(folder: Path, data: Mapping[str, Any]) -> None:
    """Write the page's files, with the data as JSON in a script tag of its own."""
    # A `</script>` or `<!--` in the data would end or change the tag that it stands in.
    text = json.dumps(data, indent=1).replace("<", "\\u003c")
    parts = {"title": html.escape(data["title"]), "data": text}
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)
    (folder / "index.html").write_text(page, encoding="utf-8")
    for name in ("survey.css", "pages.js", "rating.js", "survey.js"):
        shutil.copyfile(STATIC / name, folder / name)
