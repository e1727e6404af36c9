"""Measure LOFNet on pairs of clips with ground truth, and print tables.

    python scripts/measure_lofnet.py FOLDER [--only PART]... [--lofnet FOLDER] [--creatures N]

FOLDER holds pairs: `NAME/source.mp4` (a character), `driving.mp4` (another one's motion) and
`truth.mp4` (the first character in that motion). The parts:

    reconstruction   every driving clip warped along its own motion: latent error over the
                     identity flow's, share of folded cells
    points           equivariance error of key points when frames are deformed, in pixels at 128
    transfer         foreground IoU with the truth of the source's first frame, of its warp by the
                     driving points as they are, and by every adaptation of them (~: smoothed);
                     also on drawn pairs of the benchmark
    noise            deviation and whiteness of Gaussian noise after each way to warp it
    speed            milliseconds a frame and training pairs a second, of the given network and of
                     the paper's size at 256 pixels with 64x64 latents
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measure import Pairs, noise, quality, speed, transfer
from measure.table import table

from anamodiff.backbone.size import UNET
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.pairs import BenchmarkPair, find_pairs, folder_pairs
from anamodiff.options import FRAMES
from anamodiff.pipeline import AnaMoDiff
from anamodiff.run.models import load_models
from anamodiff.run.motion_transfer import MotionTransfer


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--lofnet", help="folder of weights (default: those beside the backbone)")
    parser.add_argument("--creatures", type=int, default=24, help="drawn pairs (default: 24)")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each clip (default: 10)")
    parser.add_argument("--noises", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, help="of each timing; the fastest counts")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    try:
        models = load_models(arguments.backbone, arguments.lofnet, device="cpu", size=UNET)
        method = MotionTransfer.of(models).method
        size = method.backbone.image_size
        pairs = read_pairs(folder_pairs(arguments.folder), arguments.frames, size)
        for name in arguments.only or PARTS:
            print(f"== {name}", flush=True)
            PARTS[name](method, pairs, arguments)
    except AnaMoDiffError as error:
        print(f"measure_lofnet: error: {error}", file=sys.stderr)
        return 2
    return 0


def read_pairs(found: Iterable[BenchmarkPair], frames: int, size: int) -> Pairs:
    """The clips of all pairs, `frames` frames of `size` pixels."""
    read = {pair.name: pair.read(frames, size) for pair in found}
    return {name: tuple(clip.frames for clip in clips) for name, clips in read.items()}


def _reconstruction(method: AnaMoDiff, pairs: Pairs, _: argparse.Namespace) -> None:
    rows = quality.reconstruction(method, pairs)
    print(table("driving clip", rows))
    error, identity = (sum(row[name] for row in rows.values()) for name in ("error", "identity"))
    print(f"{error / identity:.3f} of the identity flow's error, both summed over clips")


def _points(method: AnaMoDiff, pairs: Pairs, _: argparse.Namespace) -> None:
    print(table("driving clip, pixels", quality.consistency(method.lofnet, pairs)))


def _transfer(method: AnaMoDiff, pairs: Pairs, given: argparse.Namespace) -> None:
    drawn: Pairs = {}
    if given.creatures:
        with TemporaryDirectory() as folder:
            found = find_pairs("creatures", Path(folder), given.creatures)
            drawn = read_pairs(found, given.frames, method.backbone.image_size)
    for title, some in (("pair", pairs), ("drawn pair", drawn)):
        if some:
            rows = transfer.overlaps(method, some)
            print(table(title, rows))
            print(table(f"over {transfer.BASE}", transfer.against_base(rows), mean=False))


def _noise(method: AnaMoDiff, pairs: Pairs, given: argparse.Namespace) -> None:
    some = dict(list(pairs.items())[:4])
    rows = noise.warped_noise(noise.flows(method, some), noises=given.noises)
    print(table("flow, warp", rows, mean=False))


def _speed(method: AnaMoDiff, pairs: Pairs, given: argparse.Namespace) -> None:
    networks = {
        "given": (method.lofnet, method.backbone.latent_size),
        "mgif": (speed.mgif_network(), speed.PAPER_LATENTS),
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
