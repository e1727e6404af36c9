"""Figures 7 and 8 and Table 1 of the paper, on pairs with a known answer (`anamodiff ablation`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from anamodiff.evaluation.benchmark import benchmark
from anamodiff.evaluation.methods import split_names
from anamodiff.evaluation.pairs import KINDS
from anamodiff.evaluation.report import by_method
from anamodiff.pictures import contact_sheet, save_picture
from anamodiff.runfolder import OUTPUTS, unused
from anamodiff.video import read_clip

#: What the paper calls the methods of its figures.
LABELS = {
    "no-warped": "without the warped clip",
    "noise-0": "noise 0-1000",
    "noise-400": "noise 400-1000",
    "noise-800": "noise 800-1000",
    "noise-850": "noise 850-1000",
    "noise-900": "noise 900-1000",
    "one-frame": "one frame as source",
    "anamodiff": "ours",
}
SHOWN = 3  # pairs in the picture: those that the paper has room for

#: Answers all pairs by each of the given methods into the folder, wherever it likes.
Sweep = Callable[[Path, Sequence[str]], None]


@dataclass(frozen=True)
class Ablation:
    """What `ablation` left: the benchmark's folder, and the picture in it."""

    folder: Path
    picture: Path


def ablation(
    figure: str,
    *,
    pairs: str | Path,
    methods: str,
    output: str | Path | None = None,
    method: str | None = None,
    sweep: Sweep | None = None,
    **settings: Any,
) -> Ablation:
    """Answer all pairs by all methods of a figure; write numbers and the figure as a picture.

    Args:
        figure: ``figure7``, ``figure8`` or ``table1``: the picture's name.
        methods: the figure's, with commas between them.
        method: one more: ``NAME=FOLDER`` of clips made elsewhere.
        sweep: spreads the methods; without it they are answered one after the other.
        settings: what `benchmark` takes.
    """
    folder = Path(output) if output is not None else unused(OUTPUTS / figure)
    words = split_names(methods, method)
    if sweep is not None:
        sweep(folder, words)
    # Takes what the jobs have answered, and answers what they have not.
    benchmark(pairs, methods=words, output=folder, **settings)
    data = json.loads((folder / "results.json").read_text())
    return Ablation(folder, draw_figure(folder, data, folder / f"{figure}.png"))


def draw_figure(folder: Path, data: dict[str, Any], file: Path) -> Path:
    """Rows of frames as in the paper: source, driving clip, then each method with its measures."""
    rows = []
    titles = {name: _title(name, data["rows"]) for name in data["methods"]}
    pairs = data["pairs"][:: max(1, len(data["pairs"]) // SHOWN)][:SHOWN]
    for pair in pairs:
        rows += [(f"{pair['name']}: {k}", _frames(folder / pair[k])) for k in KINDS]
        for name in data["methods"]:
            found = [r for r in data["rows"] if (r["pair"], r["method"]) == (pair["name"], name)]
            rows += [(titles[name], _frames(folder / r["video"])) for r in found]
    return save_picture(file, contact_sheet(rows))


def _title(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """A method's label with its means over all pairs."""
    parts = [LABELS.get(name, name)]
    for measure, words in (
        ("foreground_iou", "IoU"), ("masked_ssim", "SSIM"),
        ("clip_image", "CLIP-Image"), ("clip_text", "CLIP-Text"),
    ):  # fmt: skip
        if values := by_method(rows, measure).get(name):
            parts.append(f"{words} {mean(values.values()):.3f}")
    return ", ".join(parts)


def _frames(path: Path) -> Any:
    return read_clip(path, frames=10).frames
