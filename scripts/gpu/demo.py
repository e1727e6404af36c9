"""The same demo on a CPU and on the device: motion, frames, seconds."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from anamodiff.run import api
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.foreground import foreground_mask
from anamodiff.visual.sheets import contact_sheet, save_picture
from gpu.bench import Bench

SHEET = "demo.png"
# Of the demo that is compared: a CPU beside other work took longer than half a minute for all.
SHORT = {"size": 128, "tuning": {"iterations": 4}}
SMALL = {"size": 128, "frames": 4, "tuning": {"iterations": 2}, "generation": {"steps": 2}}
THREADS = 4  # of the CPU: more than are free make it slow
FLOW_BAR = 0.05  # cells of the latent grid
ROUNDING_BAR = 2.0  # mean levels of 255, of frames sampled with the same tuned weights


def measure(bench: Bench) -> None:
    """Run a short demo on both, sample the CPU's tuned weights on the device, and compare.

    Then the demo as users have it on the device, for its seconds. Tuning amplifies rounding: only
    the frames from the same weights can be equal within it.
    """
    record, settings = bench.record, SMALL if bench.small else SHORT
    # TF32 would round the inputs of convolutions to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    home = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            _compare(bench, settings)
            if not bench.small:
                whole = _demo(bench, "whole", str(bench.device), "auto", {})
                record.note(
                    seconds=record.figures["seconds"] | {"whole demo, auto": _seconds(whole)}
                )
            record.note(running=None)
        except Exception:
            record.note(failed=True)
            raise
        finally:
            os.chdir(home)


def _compare(bench: Bench, settings: dict[str, Any]) -> None:
    record, name = bench.record, str(bench.device)
    results = {"cpu, fp32": _demo(bench, "cpu", "cpu", "fp32", settings)}
    record.note(seconds={"cpu, fp32": _seconds(results["cpu, fp32"])})
    shutil.copytree("cpu", "same weights")
    same = api.generate(
        "same weights", device=name, precision="fp32", progress=False,
        generation=settings.get("generation"),
    )  # fmt: skip
    record.note(same_weights=_frames_apart(results["cpu, fp32"].canvas, same.canvas))
    for label, precision in (("device, first run", "fp32"), ("device, fp32", "fp32"),
                             ("device, auto", "auto")):  # fmt: skip
        results[label] = _demo(bench, label, name, precision, settings)
        seconds = record.figures["seconds"] | {label: _seconds(results[label])}
        record.note(seconds=seconds)
    del results["device, first run"]
    flows = {label: ClipPair.load(result.run).warped.flow for label, result in results.items()}
    cells = flows["cpu, fp32"].shape[-2] / 2  # of one unit
    record.note(
        flow_cells={label: float((flow - flows["cpu, fp32"]).abs().max()) * cells
                    for label, flow in flows.items()},
        frames={label: _frames_apart(results["cpu, fp32"].canvas, result.canvas)
                for label, result in results.items()},
    )  # fmt: skip
    record.note(
        same_motion=record.figures["flow_cells"]["device, fp32"] <= FLOW_BAR,
        within_rounding=record.figures["same_weights"]["mean_levels"] <= ROUNDING_BAR,
    )
    rows = [("driving", ClipPair.load(results["cpu, fp32"].run).warped.driving)]
    rows += [(label, result.canvas) for label, result in results.items()]
    save_picture(bench.folder / SHEET, contact_sheet([*rows, ("same weights", same.canvas)]))


def _demo(bench: Bench, folder: str, device: str, precision: str, settings: dict[str, Any]) -> Any:
    """A demo's result; how far it is stays in the record where it is killed."""
    reached: dict[str, int] = {}

    def note(stage: str, done: int, *_: Any) -> None:
        reached[stage] = done
        bench.record.note(running={"demo": folder, **reached})

    started = time.perf_counter()
    result = api.demo(
        output=folder, backbone="mini", device=device, precision=precision, progress=note,
        **settings,
    )  # fmt: skip
    result.timings["all"] = time.perf_counter() - started
    return result


def _seconds(result: Any) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in result.timings.items()}


def _frames_apart(one: Tensor, other: Tensor) -> dict[str, float]:
    """Mean and largest difference in levels of 255, and overlap (IoU) of the foregrounds."""
    apart = 127.5 * (one - other).abs()
    masks = foreground_mask(one), foreground_mask(other)
    union = (masks[0] | masks[1]).sum().clamp_min(1)
    overlap = float((masks[0] & masks[1]).sum() / union)
    return {
        "mean_levels": float(apart.mean()),
        "largest_levels": float(apart.max()),
        "foreground_overlap": overlap,
    }
