"""What a benchmark writes: JSON, CSV, Markdown, bar plots, and a page of all videos."""

from __future__ import annotations

import csv
import html
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anamodiff.evaluation.catalogue import TITLES, heading, title
from anamodiff.evaluation.pairs import CLIPS, BenchmarkPair
from anamodiff.evaluation.statistics import MeanInterval, bootstrap, difference
from anamodiff.run.folder import versions, write_text

logger = logging.getLogger(__name__)

BASE = "anamodiff"
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_KEPT = (
    "pair", "method", "measures", "measured_with", "not_measured", "remarks", "seconds",
    "made_with",
)  # fmt: skip
Rows = Sequence[Mapping[str, Any]]


def write_report(
    folder: Path, pairs: Sequence[BenchmarkPair], methods: Sequence[str], rows: Rows
) -> Path:
    """Write ``results.json``, ``results.csv``, ``table.md``, ``plots/`` and ``index.html``."""
    data = {
        "version": 1,
        "methods": list(methods),
        "pairs": [
            {"name": pair.name, "prompt": pair.prompt, "traits": pair.traits}
            | {clip: f"pairs/{pair.name}/{clip}.mp4" for clip in CLIPS}
            for pair in pairs
            if any(row["pair"] == pair.name for row in rows)
        ],
        "rows": [
            {"video": f"pairs/{row['pair']}/{row['method']}.mp4"}
            | {key: row[key] for key in _KEPT if key in row}
            for row in rows
        ],
        "versions": versions(),
    }
    write_text(folder / "results.json", json.dumps(data, indent=1) + "\n")
    write_text(folder / "results.csv", _as_csv(rows))
    made = tables(methods, rows)
    remarks = notes(rows)
    text = "\n".join(table.markdown for table in made)
    write_text(folder / "table.md", text + "".join(f"\n- {line}" for line in remarks) + "\n")
    plotted = _plot(folder / "plots", methods, rows)
    write_text(folder / "index.html", _page(data, made, plotted, remarks))
    return folder


def measures_of(rows: Rows) -> list[str]:
    """Names of all measures, without CLIP's measures in other scales."""
    names = {name for row in rows for name in row["measures"]}
    kept = [name for name in TITLES if not name.endswith(("_times_ten", "_sum_over_ten"))]
    return [name for name in kept if name in names]


def by_method(rows: Rows, measure: str) -> dict[str, dict[str, float]]:
    """Values of one measure, by method and pair."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if (value := row["measures"].get(measure)) is not None:
            found.setdefault(row["method"], {})[row["pair"]] = value
    return found


def notes(rows: Rows) -> list[str]:
    """A line for each way in which a measure was made, is missing or wants a remark, with how many
    results are meant where not all are."""
    kinds = {"measured_with": "", "not_measured": "not measured: ", "remarks": ""}
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for kind, words in kinds.items():
            found.update((name, words + text) for name, text in row.get(kind, {}).items())
    alike: dict[tuple[str, int], list[str]] = {}
    for (name, text), count in found.items():
        alike.setdefault((text, count), []).append(title(name))
    lines = []
    for (text, count), titles in alike.items():
        share = "" if count == len(rows) else f" ({count} of {len(rows)} results)"
        lines.append(f"{', '.join(titles)}: {text}{share}")
    return lines


@dataclass(frozen=True)
class Table:
    """Text cells with a heading row and a caption above."""

    caption: str
    head: list[str]
    lines: list[list[str]]

    @property
    def markdown(self) -> str:
        """The table for a README."""
        rows = [self.head, ["---"] * len(self.head), *self.lines]
        return f"{self.caption}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    @property
    def html(self) -> str:
        """The table for the page; `**bold**` is bold there, too."""

        def cell(text: str) -> str:
            return "<td>" + _BOLD.sub(r"<b>\1</b>", html.escape(text)) + "</td>"

        head = "".join(f"<th>{html.escape(text)}</th>" for text in self.head)
        lines = ("".join(map(cell, line)) for line in self.lines)
        body = "".join(f"<tr>{line}</tr>\n" for line in lines)
        caption = html.escape(self.caption)
        return f"<table><caption>{caption}</caption><tr>{head}</tr>\n{body}</table>\n"


def tables(methods: Sequence[str], rows: Rows) -> list[Table]:
    """Means with 95 % bootstrap intervals over pairs, and ours less each other, pair by pair."""
    measures = measures_of(rows)
    values = {measure: by_method(rows, measure) for measure in measures}
    headings = [heading(measure) for measure in measures]
    means = []
    for name in methods:
        seconds = [row["seconds"] for row in rows if row["method"] == name]
        cells = [str(bootstrap(list(values[m].get(name, {}).values()))) for m in measures]
        mean = f"{sum(seconds) / len(seconds):.1f}" if seconds else ""
        means.append([name, str(len(seconds)), *cells, mean])
    caption = "Means over pairs, with 95 % bootstrap intervals:"
    made = [Table(caption, ["method", "pairs", *headings, "seconds"], means)]
    if BASE in methods and len(methods) > 1:
        lines = []
        for name in methods:
            if name != BASE:
                pairs = ((values[m].get(BASE, {}), values[m].get(name, {})) for m in measures)
                lines.append([name, *(_marked(difference(a, b)) for a, b in pairs)])
        caption = f"{BASE} less the other, pair by pair (bold: zero lies outside):"
        made.append(Table(caption, ["other", *headings], lines))
    return made


def _marked(mean: MeanInterval) -> str:
    return f"**{mean}**" if mean.excludes_zero else str(mean)


def _as_csv(rows: Rows) -> str:
    measures = measures_of(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["pair", "method", *measures, "seconds"])
    for row in rows:
        values = [row["measures"].get(name) for name in measures]
        writer.writerow([row["pair"], row["method"], *values, row["seconds"]])
    return text.getvalue()


def _plot(folder: Path, methods: Sequence[str], rows: Rows) -> list[str]:
    """A bar plot with intervals for each measure; their paths from the folder's parent."""
    try:
        figures = import_module("matplotlib.figure")
    except ImportError:
        logger.warning('no bar plots: they need matplotlib, pip install "anamodiff[plots]"')
        return []
    folder.mkdir(parents=True, exist_ok=True)
    plotted = []
    for measure in measures_of(rows):
        values = by_method(rows, measure)
        shown = [name for name in methods if name in values]
        if not shown:
            continue
        found = [bootstrap(list(values[name].values())) for name in shown]
        means = [one.mean for one in found]
        whiskers = [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]
        figure = figures.Figure(figsize=(1.5 + 0.9 * len(shown), 3.2), layout="constrained")
        axes = figure.subplots()
        colours = ["#2a6f97" if name == BASE else "#a9b4bd" for name in shown]
        axes.bar(shown, means, yerr=whiskers, capsize=4, color=colours)
        axes.set_title(heading(measure), fontsize=10)
        axes.tick_params(axis="x", rotation=30)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / f"{measure}.png", dpi=120)
        plotted.append(f"{folder.name}/{measure}.png")
    return plotted


def _page(
    data: Mapping[str, Any], made: Sequence[Table], plotted: Sequence[str], remarks: Sequence[str]
) -> str:
    """One page that needs neither scripts nor the network."""
    methods = [name for name in data["methods"] if any(r["method"] == name for r in data["rows"])]
    videos = {(row["pair"], row["method"]): row for row in data["rows"]}
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in (*CLIPS, *methods))
    lines = []
    for pair in data["pairs"]:
        cells = [_video(pair[clip], "") for clip in CLIPS]
        for name in methods:
            row = videos.get((pair["name"], name))
            cells.append(_video(row["video"], _caption(row["measures"])) if row else "<td></td>")
        title = f"<th>{html.escape(pair['name'])}</th>"
        lines.append(f"<tr>{title}{''.join(cells)}</tr>")
    plots = "".join(f'<img src="{html.escape(path)}" alt="">' for path in plotted)
    shown = "".join(table.html for table in made)
    shown += f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in remarks)}</ul>\n"
    return _PAGE.format(plots=plots, tables=shown, heads=heads, lines="\n".join(lines))


def _caption(measures: Mapping[str, float | None]) -> str:
    names = {"IoU": "foreground_iou", "SSIM": "masked_ssim", "fidelity": "motion_fidelity_driving"}
    shown = {short: measures.get(name) for short, name in names.items()}
    return ", ".join(f"{name} {value:.2f}" for name, value in shown.items() if value is not None)


def _video(path: str, caption: str) -> str:
    return (
        f'<td><video src="{html.escape(path)}" autoplay loop muted playsinline></video>'
        f"<small>{html.escape(caption)}</small></td>"
    )


_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Benchmark</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }}
th {{ position: sticky; top: 0; background: #fff; font-weight: 600; font-size: 13px }}
td {{ text-align: center }} video {{ width: 128px; display: block; background: #eee }}
small {{ color: #666 }} caption {{ text-align: left; color: #666; padding: 1rem 0 .3rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .6rem }}
tr:nth-child(odd) td {{ background: #f6f6f6 }}
img {{ height: 220px }}
</style>
<h1>Benchmark</h1>
{plots}
{tables}<table><thead><tr><th>pair</th>{heads}</tr></thead>
<tbody>
{lines}
</tbody></table>
"""
