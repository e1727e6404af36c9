"""Train retargeting: `python scripts/train_retarget.py RUN [--motion DIR]`.

RUN is a folder; the same command goes on where a kill left it. Without motion triples the network
learns from drawn skeletons alone. `--measure` prints the scores of the saved, averaged weights on
the species kept out, with true joints and with noisy ones, and stops. `--smoke` runs everything
once on a tiny network, in less than a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from joints import banks, retargeting  # noqa: E402
from joints.command import given_options, resume_and_log, run_parser, set_up_torch  # noqa: E402
from joints.retargeting import Material, Options, Training  # noqa: E402

from anamodiff.lofnet.joints import JointDetector  # noqa: E402
from anamodiff.lofnet.retarget import Retargeter  # noqa: E402

SMOKE = Options(
    steps=4, drawn=4, triples=2, tracks=2, characters=6, validation=8, minutes_log=0,
    minutes_save=0, minutes_measure=0, warmup=1,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = run_parser(__doc__, Options)
    made.add_argument("--detector", type=Path, help="measure with this detector's joints too")
    return made


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    set_up_torch(arguments.threads)
    options = given_options(arguments, SMOKE if arguments.smoke else Options())
    material = _material(arguments, options)
    if arguments.measure:
        network = Retargeter.load(arguments.run / Training.name)
        report(network, material, options)
        if arguments.detector:
            detector = JointDetector.load(arguments.detector)
            words = (network, detector, arguments.motion, material.triples)
            for name, scores in retargeting.measure_detected(*words).items():
                print(f"{name}, detected joints: {scores.line()}")
        return 0
    network = Retargeter(20, 1, 2) if arguments.smoke else Retargeter()
    training = Training(network, options, arguments.run)
    retargeting.train(training, material, resume_and_log(training))
    return 0


def _material(arguments: argparse.Namespace, options: Options) -> Material:
    """Drawn banks, made on the first run, and rendered tracks where there are some."""
    count, kept = options.characters, max(4, options.characters // 20)
    bank = banks.cached(
        arguments.run / f"bank{count}.npz", lambda: banks.make_bank(count, options.seed)
    )
    held_out = banks.cached(
        arguments.run / f"held_out{kept}.npz", lambda: banks.held_out_bank(kept)
    )
    if arguments.motion is None:
        return Material(bank, held_out)
    return Material(
        bank,
        held_out,
        banks.rendered_triples(arguments.motion),
        banks.rendered_tracks(arguments.motion),
    )


def report(network: Retargeter, material: Material, options: Options) -> None:
    """Print the scores on what is kept out."""
    for name, exercise in retargeting.validation_sets(material, options.validation).items():
        for noise in (0.0, options.noise):
            torch.manual_seed(0)
            print(f"{name}, noise {noise}: {retargeting.measure(network, exercise, noise).line()}")


if __name__ == "__main__":
    raise SystemExit(main())
