"""Train the joint detector: `python scripts/train_joints.py RUN [--motion DIR --clips DIR]`.

RUN is a folder; the same command goes on where a kill left it. Without motion triples and clips
the detector learns from drawn creatures alone. `--bank` names a folder that `make_joint_bank.py`
filled. `--measure` prints the scores of the saved, averaged weights on the species kept out, and
stops. `--smoke` runs everything once on a tiny network, in less than a minute.

`--split shipped` learns from the rendered species that are kept out, too, once the recipe is
known to be good; then only the species that confidence is learnt from are left to measure on.

With `--seconds` the run is over so many seconds after it was called. On a GPU, for example:
`--device cuda --seconds 390 --batch 256 --resident 100000 --workers 4 --rate 2e-3 --average .997`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from joints import bank  # noqa: E402
from joints.command import given_options, resume_and_log, run_parser, set_up_torch  # noqa: E402
from joints.objective import measure  # noqa: E402
from joints.rendered import part_files  # noqa: E402
from joints.training import Feed, Options, Training, train, validation_sets  # noqa: E402

from anamodiff.lofnet.joints import JointDetector  # noqa: E402

SMOKE = Options(
    steps=4, batch=4, resident=16, workers=0, validation=8, minutes_log=0, minutes_save=0,
    minutes_measure=0, warmup=1,
)  # fmt: skip
FIRST = 60.0  # seconds that missing rendered samples may take
FILLING = 0.1  # of a run by the clock, after which the rest of the bank comes step by step
ENDLESS = 10**7


def parser() -> argparse.ArgumentParser:
    made = run_parser(__doc__, Options)
    made.add_argument("--clips", type=Path, help="folder of the clips that are labelled there")
    made.add_argument("--cache", type=Path, help="where decoded samples go (RUN)")
    made.add_argument("--bank", type=Path, help="folder of samples made beforehand")
    made.add_argument("--start", type=Path, help="weights to begin with")
    return made


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    set_up_torch(arguments.threads)
    cv2.setNumThreads(1)
    options = given_options(arguments, SMOKE if arguments.smoke else Options())
    with tempfile.TemporaryDirectory() as folder:
        order = bank.Order(
            Path(folder), arguments.motion, rendered=False, drawn=ENDLESS, reshaped=ENDLESS,
            read_on=True, split=options.split,
        )  # fmt: skip
        seconds, seed = options.seconds or 1e9, 1 + time.time_ns() % 10**6
        workers = () if arguments.measure else bank.start(order, options.workers, seconds, seed)
        try:
            return _run(arguments, options, Path(folder))
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()


def _run(arguments: argparse.Namespace, options: Options, new: Path) -> int:
    """Train or measure; processes write `new` samples meanwhile."""
    stored = _bank(arguments, options)
    feed = Feed(options, arguments.device, stored)
    feed.fill(FILLING * options.seconds if options.seconds else math.inf)
    sets = validation_sets(feed.kept_out, options.validation)
    if arguments.measure:
        return report(JointDetector.load(arguments.run / "detector").to(arguments.device), sets)
    detector = JointDetector((8, 8, 8, 8, 8), 1, 2) if arguments.smoke else JointDetector()
    if arguments.start:
        detector = JointDetector.load(arguments.start)
    training = Training(detector.to(arguments.device), options, arguments.run)
    training.started = STARTED
    say = resume_and_log(training)
    feed.new = new if options.workers else None
    if not feed.pool.shelves["drawn"].count:
        lot = np.random.default_rng([options.seed, training.step])
        count = min(options.batch, bank.CHUNK)
        feed.pool.put("drawn", bank.new_samples("drawn", None, lot, count))
    counts = {kind: shelf.count for kind, shelf in feed.pool.shelves.items()}
    say(f"samples {counts} after {time.monotonic() - STARTED:.1f} s")
    train(training, feed, sets, say)
    return 0


def _bank(arguments: argparse.Namespace, options: Options) -> Path | None:
    """The folder of rendered samples, made on the first run, and of others where there are."""
    stored = arguments.bank or arguments.cache or arguments.run / "bank"
    if arguments.motion is None:
        return arguments.bank
    parts = part_files(stored, arguments.motion, arguments.clips)
    if not all(path.is_file() for path in parts):
        order = bank.Order(stored, arguments.motion, arguments.clips)
        seconds = FIRST if options.seconds else 1e9
        for process in bank.start(order, max(1, options.workers), seconds):
            process.join()
    return stored


def report(detector: JointDetector, sets: dict) -> int:
    """Print the scores on the species kept out, and the error of every joint."""
    for name, batches in sets.items():
        scores = measure(detector, batches)
        print(f"{name}: {scores.line()}")
        print("  " + " ".join(f"{joint} {error:.1f}" for joint, error in scores.by_joint.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
