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
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from anamodiff.evaluation.catalogue import TITLES, heading, title
from anamodiff.evaluation.pairs import CLIPS, BenchmarkPair
from anamodiff.evaluation.statistics import FEWEST, MeanInterval, bootstrap, difference
from anamodiff.run.folder import versions, write_text

logger = logging.getLogger(__name__)

BASE = "anamodiff"
WORST = 10  # pairs on a page of their own
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_KEPT = (
    "pair", "method", "measures", "measured_with", "not_measured", "remarks", "seconds",
    "tuning_seconds", "cpu_seconds", "memory_mb", "made_with",
)  # fmt: skip
Rows = Sequence[Mapping[str, Any]]
#: What a result costs, by its name in a row, and what tables call it.
COSTS = {
    "seconds": "seconds", "tuning_seconds": "of these tuning", "cpu_seconds": "CPU seconds",
    "memory_mb": "peak MB",
}  # fmt: skip


def write_report(
    folder: Path, pairs: Sequence[BenchmarkPair], methods: Sequence[str], rows: Rows
) -> Path:
    """Write ``results.json``, ``results.csv``, ``table.md``, ``plots/``, ``index.html``, and
    ``worst.html`` with the pairs where ours is worst."""
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
    made = tables_of_sets(methods, rows)
    remarks = notes(rows)
    text = "\n".join(table.markdown for table in made)
    write_text(folder / "table.md", text + "".join(f"\n- {line}" for line in remarks) + "\n")
    plotted = _plot(folder / "plots", methods, rows)
    write_text(folder / "index.html", _page("Benchmark", data, made, plotted, remarks))
    if worst := worst_pairs(rows):
        shown = {pair["name"]: pair for pair in data["pairs"]}
        less = data | {"pairs": [shown[name] for name in worst]}
        words = f"The {len(worst)} pairs with the lowest foreground IoU of {BASE}"
        write_text(folder / "worst.html", _page(words, less, [], [], []))
    return folder


def worst_pairs(rows: Rows, count: int = WORST) -> list[str]:
    """Names of pairs where ours has the lowest foreground IoU, the worst first."""
    values = by_method(rows, "foreground_iou").get(BASE, {})
    return sorted(values, key=lambda name: values[name])[:count]


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


def tables_of_sets(methods: Sequence[str], rows: Rows) -> list[Table]:
    """`tables` of each set of pairs apart, where there are several."""
    sets: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        sets.setdefault(row.get("traits", {}).get("set", ""), []).append(row)
    if len(sets) < 2:
        return tables(methods, rows)
    return [
        replace(table, caption=f"{name}. {table.caption}")
        for name, own in sets.items()
        for table in tables(methods, own)
    ]


def tables(methods: Sequence[str], rows: Rows) -> list[Table]:
    """Means with 95 % bootstrap intervals over pairs, and ours less each other, pair by pair."""
    measures = measures_of(rows)
    values = {measure: by_method(rows, measure) for measure in measures}
    headings = [heading(measure) for measure in measures]
    means = []
    for name in methods:
        own = [row for row in rows if row["method"] == name]
        cells = [str(bootstrap(list(values[m].get(name, {}).values()))) for m in measures]
        means.append([name, str(len(own)), *cells, *_costs(own)])
    caption = "Means over pairs, with 95 % bootstrap intervals (BCa):"
    made = [Table(caption, ["method", "pairs", *headings, *COSTS.values()], means)]
    if BASE in methods and len(methods) > 1:
        lines = []
        for name in methods:
            if name != BASE:
                pairs = ((values[m].get(BASE, {}), values[m].get(name, {})) for m in measures)
                lines.append([name, *(_marked(difference(a, b)) for a, b in pairs)])
        caption = (
            f"{BASE} less the other, pair by pair (bold: zero lies outside, of {FEWEST} pairs or "
            "more):"
        )
        made.append(Table(caption, ["other", *headings], lines))
    return made


def _costs(rows: Rows) -> list[str]:
    """Mean seconds, seconds of tuning, and the largest memory; empty where nobody measured."""
    cells = []
    for key in COSTS:
        known = [row[key] for row in rows if row.get(key) is not None]
        if key == "memory_mb":
            cells.append(str(max(known)) if known else "")
        else:
            cells.append(f"{sum(known) / len(known):.1f}" if known else "")
    return cells


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
    words: str, data: Mapping[str, Any], made: Sequence[Table], plotted: Sequence[str],
    remarks: Sequence[str],
) -> str:  # fmt: skip
    """One page, headed by words, that needs neither scripts nor the network."""
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
    lines = "\n".join(lines)
    return _PAGE.format(
        heading=html.escape(words), plots=plots, tables=shown, heads=heads, lines=lines
    )


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
<meta charset="utf-8"><title>{heading}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }}
th {{ position: sticky; top: 0; background: #fff; font-weight: 600; font-size: 13px }}
td {{ text-align: center }} video {{ width: 128px; display: block; background: #eee }}
small {{ color: #666 }} caption {{ text-align: left; color: #666; padding: 1rem 0 .3rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .6rem }}
tr:nth-child(odd) td {{ background: #f6f6f6 }}
img {{ height: 220px }}
</style>
<h1>{heading}</h1>
{plots}
{tables}<table><thead><tr><th>pair</th>{heads}</tr></thead>
<tbody>
{lines}
</tbody></table>
"""
