"""Every stage of a transfer at Stable Diffusion v1.4's size, under both presets."""

from __future__ import annotations

import time
from typing import Any

from speed import stages
from speed.timing import matmul_peak

from anamodiff.options import PRESETS, TuningOptions
from gpu.bench import Bench

BARS = {"paper": 45.0, "fast": 15.0}  # seconds of a transfer on an H100
WARM_UP = 6  # tuning iterations
LEAST_ITERATIONS = 30  # as many as are replayed as a CUDA graph, and more
RESERVE = 12.0  # seconds for what the estimate leaves out
SMALL_ITERATIONS = 4


def measure(bench: Bench) -> None:
    """Seconds of each stage and of all, and their share of the peak of matrix products.

    Where the presets' iterations would not end in time, fewer are run and the rest extrapolated.
    """
    record = bench.record
    record.note(matmul_peak=matmul_peak(bench.device, bench.size.dtype))
    started = time.perf_counter()
    mover = stages.make_mover(bench.size, bench.lofnet(), bench.device)
    bench.settle()
    record.note(building_seconds=time.perf_counter() - started)
    warm = stages.measure_preset(mover, bench.size, "fast", iterations=WARM_UP)
    record.note(first_run=warm)
    presets: dict[str, Any] = {}
    for place, preset in enumerate(BARS):
        wanted = mover.resolve(preset=preset).tuning.iterations
        others = list(BARS)[place:]
        run = min(wanted, _affordable(bench, warm, others, preset))
        made = stages.measure_preset(mover, bench.size, preset, iterations=run)
        presets[preset] = _summed(made, wanted, record.figures["matmul_peak"])
        if not bench.small:
            meets = presets[preset]["seconds"] <= BARS[preset]
            presets[preset] |= {"bar_seconds": BARS[preset], "meets_bar": meets}
        record.note(presets=presets)
        bench.settle()


def _affordable(bench: Bench, warm: stages.Figures, presets: list[str], preset: str) -> int:
    """Tuning iterations of `preset` for which there is time, if all `presets` are to be run."""
    if bench.small:
        return SMALL_ITERATIONS
    # Frames that all iterations of a preset see, as the time of one is about proportional to them.
    iterations, frames, steps = {}, {}, 0
    for name in presets:
        chosen = PRESETS[name]
        tuning = chosen.get("tuning", {})
        iterations[name] = tuning.get("iterations", 250)
        frames[name] = iterations[name] * _window(name, bench.size.frames)
        steps += chosen.get("generation", {}).get("steps", 50)
    fast_steps = PRESETS["fast"]["generation"]["steps"]
    others = steps / fast_steps * warm["invert and sample"]["measured"]
    others += len(presets) * sum(warm[s]["measured"] for s in ("encode and warp", "decode"))
    left = bench.record.left() - RESERVE - others
    each = warm["tuning"]["seconds_per_iteration"] / _window("fast", bench.size.frames)
    share = left / (each * sum(frames.values()))
    return max(LEAST_ITERATIONS, int(min(1.0, share) * iterations[preset]))


def _window(preset: str, frames: int) -> int:
    """Frames of a clip that an iteration sees."""
    return min(frames, PRESETS[preset].get("tuning", {}).get("window", TuningOptions.window))


def _summed(made: stages.Figures, wanted: int, peak: float) -> dict[str, Any]:
    """A preset's figures: stages, sums, and whether some seconds are extrapolated."""
    seconds = sum(row["seconds"] for row in made.values())
    run = int(made["tuning"]["iterations"])
    for row in made.values():
        row["share_of_peak"] = row["operations"] / row["seconds"] / peak
    return {
        "stages": made,
        "seconds": seconds,
        "measured_seconds": sum(row["measured"] for row in made.values()),
        "tuning_iterations": wanted,
        "tuning_iterations_run": run,
        "extrapolated": run < wanted,
        "share_of_peak": sum(row["operations"] for row in made.values()) / seconds / peak,
    }
