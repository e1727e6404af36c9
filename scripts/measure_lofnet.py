"""Measure LOFNet on pairs of clips with a known answer, and print tables.

    python scripts/measure_lofnet.py FOLDER [--only PART]... [--lofnet FOLDER] [--creatures N]

FOLDER holds pairs: `NAME/source.mp4` (a character), `driving.mp4` (another one's motion) and
`truth.mp4` (the first character in that motion). The parts:

    reconstruction   every driving clip warped along its own motion: latent error over the
                     identity flow's, share of folded cells
    points           how far key points stray when frames are deformed, in pixels at 128
    transfer         foreground IoU with the truth of the source held still, of the driving points
                     as they are, and of every adaptation (~: smoothed); also on drawn creatures
    noise            what the warps of Gaussian noise leave of its deviation and whiteness
    speed            milliseconds a frame and training pairs a second, of the given network and of
                     the paper's size at 256 pixels with 64x64 latents
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from measure import noise, quality, speed, transfer
from measure.pairs import Pair, drawn_pairs, folder_pairs
from measure.table import table

from anamodiff.errors import AnaMoDiffError
from anamodiff.pipeline import MotionTransfer

PAPER_LATENTS = 64


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--lofnet", help="folder of weights (default: those beside the backbone)")
    parser.add_argument("--creatures", type=int, default=24, help="drawn pairs (default: 24)")
    parser.add_argument("--noises", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, help="of each timing; the best counts")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    try:
        mover = MotionTransfer.load(arguments.backbone, arguments.lofnet, device="cpu")
        pairs = list(folder_pairs(arguments.folder, mover.backbone.image_size))
        for name in arguments.only or PARTS:
            print(f"== {name}", flush=True)
            PARTS[name](mover, pairs, arguments)
    except AnaMoDiffError as error:
        print(f"measure_lofnet: error: {error}", file=sys.stderr)
        return 2
    return 0


def _reconstruction(mover: MotionTransfer, pairs: list[Pair], _: argparse.Namespace) -> None:
    rows = quality.reconstruction(mover, pairs)
    print(table("driving clip", rows))
    error, identity = (sum(row[name] for row in rows.values()) for name in ("error", "identity"))
    print(f"{error / identity:.3f} of the identity flow's error, of the sums over clips")


def _points(mover: MotionTransfer, pairs: list[Pair], _: argparse.Namespace) -> None:
    print(table("driving clip, pixels", quality.consistency(mover.lofnet, pairs)))


def _transfer(mover: MotionTransfer, pairs: list[Pair], given: argparse.Namespace) -> None:
    drawn = list(drawn_pairs(given.creatures, mover.backbone.image_size))
    for title, some in (("pair", pairs), ("drawn pair", drawn)):
        if some:
            rows = transfer.overlaps(mover, some)
            print(table(title, rows))
            print(table(f"over {transfer.BASE}", transfer.against_base(rows), mean=False))


def _noise(mover: MotionTransfer, pairs: list[Pair], given: argparse.Namespace) -> None:
    rows = noise.leftovers(noise.flows(mover, pairs[:4]), noises=given.noises)
    print(table("flow, warp", rows, mean=False))


def _speed(mover: MotionTransfer, pairs: list[Pair], given: argparse.Namespace) -> None:
    networks = {
        "given": (mover.lofnet, mover.backbone.latent_size),
        "mgif": (speed.mgif_network(), PAPER_LATENTS),
    }
    rows = {
        name: speed.inference(lofnet, latents, repeats=given.repeats)
        for name, (lofnet, latents) in networks.items()
    }
    print(table("milliseconds a frame", rows, mean=False, digits=1))
    for name, (lofnet, latents) in networks.items():
        rate = speed.training(lofnet, latents, steps=given.repeats)
        print(f"training, {name}: {rate:.2f} pairs a second, batches of {speed.BATCH}", flush=True)


PARTS = {
    "reconstruction": _reconstruction,
    "points": _points,
    "transfer": _transfer,
    "noise": _noise,
    "speed": _speed,
}


if __name__ == "__main__":
    sys.exit(main())
