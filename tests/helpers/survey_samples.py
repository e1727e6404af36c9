"""A small benchmark's folder, and answers to a survey as the page saves them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anamodiff.evaluation.survey.page import QUESTIONS, Survey
from anamodiff.video.clip import write_video

METHODS = ("anamodiff", "warp-only", "tune-a-video")
PAIRS = ("turtle-rhino-jump", "cat-horse-gallop", "pig-dog-walk")


def write_results(folder: Path, pairs: Sequence[str] = PAIRS) -> Path:
    """Write what `anamodiff benchmark` does, with clips of four frames that all differ."""
    rows, listed, shade = [], [], 0
    for name in pairs:
        pair = f"pairs/{name}"
        for kind in ("source", "driving", *METHODS):
            shade += 1
            frames = torch.linspace(-1, shade / 50, 4)[:, None, None, None].expand(4, 3, 32, 32)
            write_video(folder / pair / f"{kind}.mp4", frames, 4)
        listed.append({"name": name} | {k: f"{pair}/{k}.mp4" for k in ("source", "driving")})
        for method in METHODS:
            video = f"{pair}/{method}.mp4"
            rows.append({"pair": name, "method": method, "video": video, "measures": {"iou": 0.8}})
    table = {"version": 1, "methods": list(METHODS), "pairs": listed, "rows": rows}
    (folder / "results.json").write_text(json.dumps(table))
    return folder


def change(folder: Path, **parts: Any) -> None:
    """Replace parts of the table; a function is called with the old part."""
    path = folder / "results.json"
    table = json.loads(path.read_text())
    table |= {key: new(table[key]) if callable(new) else new for key, new in parts.items()}
    path.write_text(json.dumps(table))


def methods_of(survey: Survey) -> dict[str, str]:
    """The method of each result by its random name, from the key."""
    key = json.loads(survey.key.read_text())
    return {name: method for pair in key["pairs"] for name, method in pair["results"].items()}


def page_data(survey: Survey) -> dict[str, Any]:
    """The data in the page, read as a browser reads it."""
    page = (survey.page / "index.html").read_text(encoding="utf-8")
    return json.loads(page.partition('id="survey">')[2].partition("</script>")[0])


def write_answers(
    path: Path,
    survey: Survey,
    orders: Mapping[str, Sequence[str] | Sequence[Sequence[str]]],
    points: Mapping[str, Mapping[str, int]] | None = None,
) -> Path:
    """One person's file.

    Args:
        orders: by question, methods, best first, for all pairs or for each.
        points: by what is rated, each method's, for all pairs.
    """
    key, answers, ratings = json.loads(survey.key.read_text()), [], []
    for question in QUESTIONS if orders else ():
        order = orders[question]
        for index, pair in enumerate(key["pairs"]):
            name = {method: name for name, method in pair["results"].items()}
            methods = order if isinstance(order[0], str) else order[index]
            ranking = [name[method] for method in methods]
            answers.append({"question": question, "pair": pair["pair"], "ranking": ranking})
    for pair in key["pairs"] if points else ():
        results = pair["results"].items()
        given = {
            what: {name: of[method] for name, method in results} for what, of in points.items()
        }
        ratings.append({"pair": pair["pair"], "points": given})
    whole = {"version": 1, "survey": survey.id, "person": path.stem, "answers": answers}
    whole |= {"ratings": ratings} if points else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))
    return path
