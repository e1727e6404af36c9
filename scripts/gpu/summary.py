"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(day: dict[str, Any]) -> Iterator[str]:
    """Lines of the summary, from what `run_parts` returns."""
    machine = day["machine"]
    yield f"{machine['card'] or 'no GPU'}; torch {machine['libraries']['torch']}"
    for letter, row in day["parts"].items():
        yield ""
        took = f" after {row['seconds']:.0f} s" if "seconds" in row else ""
        yield f"{letter}  {row['title']}: {row['status']}{took}"
        figures = row.get("figures") or {}
        try:
            yield from ("   " + line for line in KINDS[letter](figures))
        except (KeyError, TypeError) as missing:
            yield f"   figures are incomplete: no {missing}"
        if "output" in row:
            yield from ("   | " + line for line in row["output"].strip().splitlines()[-5:])


def _transfers(figures: dict[str, Any]) -> Iterator[str]:
    yield f"matrix products {figures['matmul_peak'] / 1e12:.2f} TFLOP/s"
    for preset, made in figures.get("presets", {}).items():
        kind = "extrapolated" if made["extrapolated"] else "measured"
        if "bar_seconds" in made:
            kind += f"; bar {made['bar_seconds']:g} s {_met(made['meets_bar'])}"
        yield (
            f"{preset}: {made['seconds']:.2f} s ({kind}), {made['share_of_peak']:.1%} of that; "
            f"{made['tuning_iterations_run']} of {made['tuning_iterations']} iterations"
        )
        for stage, row in made["stages"].items():
            gib = f"{row['gib']:8.2f} GiB" if "gib" in row else ""
            yield f"  {stage:20}{row['seconds']:9.2f} s{row['share_of_peak']:8.1%}{gib}"


def _peaks(figures: dict[str, Any]) -> Iterator[str]:
    for name, row in figures["presets"].items():
        parts = []
        for stage in ("tuning", "generation"):
            if stage in row:
                bar = row.get(f"{stage}_bar")
                against = f" (bar {bar:g} {_met(row[f'{stage}_meets_bar'])})" if bar else ""
                parts.append(f"{stage} {row[stage]:.2f} GiB{against}")
        if "fits" not in row:
            yield f"{name:10} ran; no CUDA device to measure"
            continue
        fits = "fits" if row["fits"] else "DOES NOT FIT"
        yield f"{name:10} {fits} its card; {', '.join(parts)}"


def _demo(figures: dict[str, Any]) -> Iterator[str]:
    for name, seconds in figures["seconds"].items():
        yield f"{name:20}{seconds['all']:8.2f} s"
    same = figures["same_weights"]
    yield f"frames from the same weights differ by {same['mean_levels']:.3f} levels in the mean"
    yield f"within rounding: {figures['within_rounding']}; same motion: {figures['same_motion']}"
    for name, cells in figures["flow_cells"].items():
        row = figures["frames"][name]
        yield (
            f"{name:20} flow {cells:.4f} cells, frames {row['mean_levels']:.2f} levels, "
            f"foreground IoU {row['foreground_overlap']:.3f}"
        )


def _suite(figures: dict[str, Any]) -> Iterator[str]:
    if not figures.get("passed") and figures.get("running"):
        yield f"did not end: {figures['running']}"
    yield f"{figures['summary']} of {figures['collected']}"
    yield from (f"FAILED {name}" for name in figures["failures"])


def _compilation(figures: dict[str, Any]) -> Iterator[str]:
    for name, row in figures.items():
        if not isinstance(row, dict):
            if name not in ("failed", "running"):
                yield f"{name}: {row}"
            elif name == "running" and row:
                yield f"did not end: {row}"
        elif "busy_share" in row:
            yield (
                f"{name}: kernels take {row['kernel_seconds']:.4f} of {row['seconds']:.4f} s "
                f"({row['busy_share']:.0%}), {row['launches']} launches"
            )
        elif "gain" in row:
            seconds = ", ".join(f"{kind} {taken:.4f} s" for kind, taken in row["seconds"].items())
            yield f"{name}: {row['gain']:.2f} times as fast ({seconds}), same: {row['same']}"
            yield from (f"{name}: not recorded: {reason}" for reason in row.get("not_recorded", ()))
        elif "attention_seconds" in row:
            for kind, taken in row["attention_seconds"].items():
                kernels = ", ".join(
                    f"{kernel} {value if isinstance(value, str) else f'{value:.5f} s'}"
                    for kernel, value in taken.items()
                )
                yield f"{name}, {kind}: {kernels}"
        else:
            yield f"{name}: {str(row)[-200:]}"


def _training(figures: dict[str, Any]) -> Iterator[str]:
    for name, rate in figures["pairs_per_second"].items():
        yield f"{name}: {rate:.0f} pairs a second"


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


KINDS = {
    "a": _suite,
    "b": _demo,
    "c": _transfers,
    "d": _peaks,
    "e": _compilation,
    "f": _training,
}
