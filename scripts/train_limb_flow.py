"""Train the flow from joints: `python scripts/train_limb_flow.py make|train ...`.

  make BANK    fill a folder with pairs of frames whose flow is known, in worker processes
  train RUN    train on a bank, which may still be growing; resumes where it was stopped,
               unless it is to end by the clock

Rendered pairs need `--motion` (triples with meshes); without it all characters are drawn.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("make", "train", "measure"))
    parser.add_argument("folder", type=Path, help="the bank (make) or the run's folder (train)")
    parser.add_argument("--bank", type=Path, help="folder of pairs to train on")
    parser.add_argument("--motion", type=Path, help="rendered motion triples")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="end of the run by the clock; 0: by --steps"
    )
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--resident", type=int, default=20000, help="pairs kept on the device")
    parser.add_argument("--held-out", type=int, default=60, help="characters to measure on")
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run one action."""
    began = time.monotonic()
    options = parse(arguments)
    if options.action == "make":
        from limb_flow.bank import fill

        fill(
            options.folder, options.motion, workers=options.workers,
            seconds=options.seconds or 60.0, seed=options.seed,
        )  # fmt: skip
        return
    from limb_flow.training import command

    if options.device == "cpu":
        torch.set_num_threads(1)
    command(options, began)


if __name__ == "__main__":
    main()
