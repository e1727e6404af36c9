"""Train the joint detector: `python scripts/train_joints.py RUN [--motion DIR --clips DIR]`.

RUN is a folder; the same command goes on where a kill left it. Without motion triples and clips
the detector learns from drawn creatures alone. `--measure` prints the scores of the saved,
averaged weights on the species kept out, and stops. `--smoke` runs everything once on a tiny
network, in less than a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from joints.command import given_options, resume_and_log, run_parser, set_up_torch  # noqa: E402
from joints.objective import measure  # noqa: E402
from joints.rendered import rendered_store  # noqa: E402
from joints.reshaped import reshaped_store  # noqa: E402
from joints.samples import Store  # noqa: E402
from joints.training import Options, Training, train, validation_sets  # noqa: E402

from anamodiff.lofnet.joints import JointDetector  # noqa: E402

SMOKE = Options(
    steps=4, batch=4, fresh=1, pool=16, validation=8, minutes_log=0, minutes_save=0,
    minutes_measure=0, warmup=1,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = run_parser(__doc__, Options)
    made.add_argument("--clips", type=Path, help="folder of the clips that are labelled there")
    made.add_argument("--cache", type=Path, help="where decoded samples go (RUN)")
    return made


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    set_up_torch(arguments.threads)
    cv2.setNumThreads(1)
    options = given_options(arguments, SMOKE if arguments.smoke else Options())
    stores = _stores(arguments)
    if arguments.measure:
        return report(JointDetector.load(arguments.run / "detector"), stores, options)
    detector = JointDetector((8, 8, 8, 8, 8), 1, 2) if arguments.smoke else JointDetector()
    training = Training(detector, options, arguments.run)
    train(training, stores, resume_and_log(training))
    return 0


def _stores(arguments: argparse.Namespace) -> list[Store]:
    """Rendered samples and reshaped ones, made on the first run."""
    if arguments.motion is None:
        return []
    cache = arguments.cache or arguments.run
    return [
        rendered_store(cache / "rendered", arguments.motion, arguments.clips),
        reshaped_store(cache / "reshaped", arguments.motion),
    ]


def report(detector: JointDetector, stores: list[Store], options: Options) -> int:
    """Print the scores on the species kept out, and the error of every joint."""
    for name, batches in validation_sets(stores, options.validation).items():
        scores = measure(detector, batches)
        print(f"{name}: {scores.line()}")
        print("  " + " ".join(f"{joint} {error:.1f}" for joint, error in scores.by_joint.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
