"""Measure everything that needs a GPU, in minutes, offline, into small files.

    python scripts/gpu_day.py OUT [--parts a,b,c...] [--seconds 280] [--small] [--device cuda]

The parts, in the order in which they run:

    c   every stage of a transfer at Stable Diffusion v1.4's size, with random weights, which take
        the same time: presets `paper` and `fast`, and their share of the measured peak of matrix
        products. Where time is short, fewer tuning iterations are run and the rest extrapolated
    d   peak memory of each `--vram`, tuning and generation
    b   the same short demo on CPU and GPU: motion, frames, seconds; then the whole demo on the GPU
    a   the quick suite's device tests
    e   tuning as a CUDA graph, the share of an iteration that the GPU works, attention's kernels,
        memory formats; inversion as a graph; compiled transformer blocks
    f   LOFNet's training rate at MGIF's size

Each runs in a process of its own, which is killed at its time limit and leaves the figures that it
had; its time is counted from when its libraries are imported. OUT gets `gpu_day.json`, rewritten as
figures come, `gpu_day.log`, what the parts printed, and `demo.png`. `--small` runs all parts on
small models, to try them on a CPU (`--device cpu`).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from gpu import summary
from gpu.runner import PARTS, SECONDS, ready_file, run_parts


def main(words: list[str] | None = None) -> int:
    given = _parser().parse_args(words)
    if given.child:
        return _child(given)
    shared = [str(given.out), "--device", given.device, *(["--small"] if given.small else [])]
    letters = [letter for letter in PARTS if letter in given.parts.split(",")]
    if unknown := set(given.parts.split(",")) - set(PARTS):
        print(
            f"gpu_day: error: expected parts among {','.join(sorted(PARTS))}, got "
            f"{','.join(sorted(unknown))}: name others",
            file=sys.stderr,
        )
        return 2
    day = run_parts(given.out, letters, given.seconds, shared, given.commit)
    print("\n".join(["", *summary.lines(day)]))
    good = all(
        row["status"] == "done" and not row["figures"].get("failed")
        for row in day["parts"].values()
    )
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, with commas")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--small", action="store_true", help="small models")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--commit", help="of the tree, where git does not know it")
    parser.add_argument("--child", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    return parser


def _child(given: argparse.Namespace) -> int:
    """Import a part's libraries, wait for its turn, and measure."""
    part = importlib.import_module(f"gpu.{PARTS[given.child].module}")
    from gpu.bench import Bench
    from gpu.record import Record

    ready_file(given.record).touch()
    end = sys.stdin.readline()
    if not end:  # the parts before have used up the time
        return 1
    record = Record(given.record, float(end))
    record.note()
    from anamodiff.backbone.model import choose_device

    part.measure(Bench(choose_device(given.device), given.small, given.out.resolve(), record))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
