"""Figures and tables of the paper, on pairs with ground truth (`anamodiff ablation`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.baseline import Baseline
from anamodiff.evaluation.benchmark import benchmark
from anamodiff.evaluation.methods import METHODS, split_names
from anamodiff.evaluation.pairs import CLIPS
from anamodiff.evaluation.report import by_method, worst_pairs
from anamodiff.options import FRAMES
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, unused
from anamodiff.video.clip import read_clip
from anamodiff.visual.sheets import contact_sheet, save_picture

logger = logging.getLogger(__name__)

#: What the paper calls the methods of its figures.
LABELS = {
    "no-warped": "without the warped clip",
    "no-warped-from-noise": "without the warped clip",
    "no-tuning": "untuned",
    "noise-0": "noise 0-1000",
    "noise-400": "noise 400-1000",
    "noise-800": "noise 800-1000",
    "noise-850": "noise 850-1000",
    "noise-900": "noise 900-1000",
    "one-frame": "one frame as source",
    "anamodiff": "ours",
    "still": "the source held still",
    "warp-only": "the bare warp",
    "tune-a-video": "Tune-A-Video",
    "tps": "TPS Motion",
    "fomm": "FOMM",
    "jokr": "JOKR",
}
SHOWN_PAIRS = 3  # in the picture, as in the paper

#: Runs each of the given methods on all pairs, in whatever processes, and writes into the folder.
MethodSweep = Callable[[Path, Sequence[str]], None]


@dataclass(frozen=True)
class Ablation:
    """What `ablation` wrote: the benchmark's folder, and the picture in it."""

    folder: Path
    picture: Path


def ablation(
    figure: str,
    *,
    pairs: str | Path,
    methods: str,
    output: str | Path | None = None,
    method: str | None = None,
    sweep: MethodSweep | None = None,
    **settings: Any,
) -> Ablation:
    """Run a figure's methods on all pairs; write the numbers and the figure as a picture.

    Where ours is among the methods, `worst.png` shows the pairs where it is worst.

    Args:
        figure: such as ``figure7``: the picture's name.
        methods: the figure's, with commas between them; rivals without weights are left out, and a
            line says so.
        method: one more: ``NAME=FOLDER`` of clips made elsewhere.
        sweep: runs the methods in processes of their own; None runs them one after the other.
        settings: what `benchmark` takes.
    """
    folder = expanded(output) if output is not None else unused(OUTPUTS / figure)
    words = split_names(with_weights(split_names(methods)), method)
    if sweep is not None:
        sweep(folder, words)
    # Takes the results of the sweep, and runs again what failed there.
    benchmark(pairs, methods=words, output=folder, **settings)
    data = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    known = {pair["name"]: pair for pair in data["pairs"]}
    if worst := worst_pairs(data["rows"]):
        own = [known[name] for name in worst]
        draw_figure(folder, data, own, folder / "worst.png", means=False)
    shown = data["pairs"][:: max(1, len(known) // SHOWN_PAIRS)][:SHOWN_PAIRS]
    return Ablation(folder, draw_figure(folder, data, shown, folder / f"{figure}.png"))


def with_weights(names: Sequence[str]) -> list[str]:
    """Names of methods, without the rivals whose weights are not here."""
    kept = []
    for name in names:
        method = METHODS.get(name)
        try:
            if isinstance(method, Baseline):
                method.facts()
        except AnaMoDiffError as error:
            logger.warning("%s is left out: %s", name, error)
        else:
            kept.append(name)
    return kept


def draw_figure(
    folder: Path, data: dict[str, Any], pairs: Sequence[dict[str, Any]], file: Path, *,
    means: bool = True,
) -> Path:  # fmt: skip
    """Rows of frames as in the paper: the pairs' clips, then each method with its measures: their
    means over all pairs, or without `means` those of the pair."""
    rows = []
    for pair in pairs:
        rows += [(f"{pair['name']}: {clip}", _frames(folder / pair[clip])) for clip in CLIPS]
        for name in data["methods"]:
            found = [r for r in data["rows"] if (r["pair"], r["method"]) == (pair["name"], name)]
            words = _title(name, data["rows"] if means else found)
            rows += [(words, _frames(folder / r["video"])) for r in found]
    return save_picture(file, contact_sheet(rows))


def _title(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """A method's label with its means over the rows."""
    parts = [LABELS.get(name, name)]
    for measure, words in (
        ("foreground_iou", "IoU"), ("masked_ssim", "SSIM"),
        ("motion_fidelity_driving", "Motion Fidelity"),
        ("clip_image", "CLIP-Image"), ("clip_text", "CLIP-Text"),
    ):  # fmt: skip
        if values := by_method(rows, measure).get(name):
            parts.append(f"{words} {mean(values.values()):.3f}")
    return ", ".join(parts)


def _frames(path: Path) -> Any:
    return read_clip(path, frames=FRAMES).frames
