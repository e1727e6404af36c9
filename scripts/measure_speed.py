"""Measure how fast the parts are, on a CPU against a plain baseline, on a GPU against its peak.

    python scripts/measure_speed.py cpu
    python scripts/measure_speed.py gpu [--small --device cpu --iterations N] [--json FILE]

`cpu`, a few minutes: forward pass and training step of a small UNet on one thread, in fp32, against
the same UNet with whole matrices of attention weights and the gradients of Tune-A-Video as
published; both give the same outputs. Half precision is timed, too.

`gpu`, under ten minutes on a large one: every stage of a transfer at Stable Diffusion v1.4's size,
ten frames of 512x512, under the presets `paper` and `fast`, as the pipeline runs it; the share of
the measured peak of matrix products; the inversion as one CUDA graph (`generation.cuda_graph`),
which must give the same; and the peak memory for each `--vram`. Weights are random, which takes
the same time. `--small` shrinks all models, to try the script on a CPU.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from costs.models import SD_V1_4, SMALL
from measure.speed import mgif_network
from speed import cpu, stages

from anamodiff.backbone.model import choose_device
from anamodiff.lofnet.model import build_lofnet, mini_config

GPU_BARS = {"paper": 45, "fast": 15}  # seconds, on an H100


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("cpu", "gpu"))
    parser.add_argument("--small", action="store_true", help="gpu: small models in fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--iterations", type=int, help="gpu: tuning iterations to run; scaled up")
    parser.add_argument(
        "--repeats", type=int, default=3, help="cpu: runs, of which the fastest counts"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    given = parser.parse_args(words)
    figures = on_cpu(given.repeats) if given.part == "cpu" else on_gpu(given)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))
    return 0


def on_cpu(repeats: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    figures = {
        "forward": cpu.forward(cpu.SMALL, repeats),
        "training step": cpu.training(cpu.SMALL, repeats),
    }
    for part, seconds in figures.items():
        print(f"\n{part}, one thread")
        for name, taken in seconds.items():
            print(f"  {name:32}{taken:8.2f} s{seconds['baseline'] / taken:8.2f} x")
        ratio, bar = seconds["baseline"] / seconds["ours"], cpu.BARS[part]
        print(f"  {ratio:.2f} times as fast as the baseline; {_met(ratio >= bar)} {bar:g}")
    return figures


def on_gpu(given: argparse.Namespace) -> dict[str, Any]:
    device = choose_device(given.device)
    size = SMALL if given.small else SD_V1_4
    torch.manual_seed(0)
    lofnet = build_lofnet(mini_config()) if given.small else mgif_network()
    figures = stages.measure_all(size, lofnet, device, iterations=given.iterations)
    on_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_cuda else device.type
    peak = figures["matmul_peak"]
    print(f"{name}, {size.dtype}: {peak / 1e12:.2f} TFLOP/s in matrix products; random weights")
    for preset, made in figures["presets"].items():
        print(f"\n{preset:24}{'seconds':>10}{'of peak':>10}{'peak GiB' if on_cuda else '':>10}")
        for stage, row in made.items():
            share = row["operations"] / row["seconds"] / peak
            gib = f"{row['gib']:10.2f}" if on_cuda else ""
            print(f"  {stage:22}{row['seconds']:10.2f}{share:10.1%}{gib}")
        total = sum(row["seconds"] for row in made.values())
        scaled = f", from {given.iterations} iterations" if given.iterations else ""
        bar = GPU_BARS[preset]
        verdict = f"; {_met(total <= bar)} {bar} s" if on_cuda else ""
        print(f"  {'in all':22}{total:10.2f}{scaled}{verdict}")
    for name, seconds in figures["inversion"].items():
        print(f"{f'inversion, {name}':24}{seconds:10.2f}")
    for vram, made in figures["vram"].items():
        print(f"{vram:12}" + "".join(f"  {name} {gib:.2f} GiB" for name, gib in made.items()))
    return figures


def _met(met: bool) -> str:
    return "meets the bar of" if met else "MISSES the bar of"


if __name__ == "__main__":
    raise SystemExit(main())
