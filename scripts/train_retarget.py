"""Train retargeting: `python scripts/train_retarget.py RUN [--motion DIR]`.

RUN is a folder; the same command goes on where a kill left it. Without motion triples the network
learns from drawn skeletons alone. `--measure` prints the scores of the saved, averaged weights on
the species kept out, with true joints and with noisy ones, and stops. `--smoke` runs everything
once on a tiny network, in less than a minute.

`--split shipped` learns from the rendered species that are kept out, too; drawn ones are left to
measure on.

With `--seconds` the run is over so many seconds after it was called. On a GPU, for example:
`--device cuda --seconds 390 --batch 768 --bank FOLDER`, with the folder that `make_joint_bank.py`
filled.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import torch  # noqa: E402
from joints import banks, retargeting  # noqa: E402
from joints.bank import files  # noqa: E402
from joints.command import given_options, resume_and_log, run_parser, set_up_torch  # noqa: E402
from joints.exercises import Drawn, Tracks  # noqa: E402
from joints.rendered import SPLITS  # noqa: E402
from joints.retargeting import Material, Options, Training  # noqa: E402

from anamodiff.lofnet.joints import JointDetector  # noqa: E402
from anamodiff.lofnet.retarget import Retargeter  # noqa: E402

SMOKE = Options(
    steps=4, batch=8, characters=6, validation=8, minutes_log=0, minutes_save=0,
    minutes_measure=0, warmup=1,
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = run_parser(__doc__, Options)
    made.add_argument("--bank", type=Path, help="folder of characters made beforehand")
    made.add_argument("--start", type=Path, help="weights to begin with")
    made.add_argument("--detector", type=Path, help="measure with this detector's joints too")
    return made


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    set_up_torch(arguments.threads)
    options = given_options(arguments, SMOKE if arguments.smoke else Options())
    split = SPLITS[options.split]
    triples = None
    if arguments.motion:
        triples = banks.rendered_triples(arguments.motion, split.kept_out)
    kept = max(4, min(200, options.characters // 20))
    held_out = arguments.run / f"held_out{kept}.npz"
    held_out = banks.cached(held_out, lambda: banks.held_out_bank(kept))
    sets = retargeting.validation_sets(held_out, triples, options.validation)
    if arguments.measure:
        report(Retargeter.load(arguments.run / Training.name), sets, options, print)
        if arguments.detector and triples:
            network = Retargeter.load(arguments.run / Training.name)
            detector = JointDetector.load(arguments.detector)
            found = retargeting.measure_detected(network, detector, arguments.motion, triples)
            for name, scores in found.items():
                print(f"{name}, detected joints: {scores.line()}")
        return 0
    network = Retargeter(20, 1, 2) if arguments.smoke else Retargeter()
    if arguments.start:
        network = Retargeter.load(arguments.start)
    training = Training(network.to(arguments.device), options, arguments.run)
    training.started = STARTED
    say = resume_and_log(training)
    material = _material(arguments, options, triples)
    say(f"{len(material.drawn.legs)} characters after {time.monotonic() - STARTED:.1f} s")
    retargeting.train(training, material, sets, say)
    report(training.averaged, sets, options, say)
    return 0


def _material(
    arguments: argparse.Namespace, options: Options, triples: banks.Triples | None
) -> Material:
    """Drawn characters, made on the first run, and rendered tracks where there are some."""
    if arguments.bank and (found := files(arguments.bank, "tracks")):
        bank = banks.Bank.load(found)
    else:
        path = arguments.run / f"bank{options.characters}.npz"
        bank = banks.cached(path, lambda: banks.make_bank(options.characters, options.seed))
    drawn = Drawn.of(bank, arguments.device)
    if triples is None:
        return Material(drawn)
    learnt = triples.tracks[~triples.held_out]
    clips = banks.rendered_tracks(arguments.motion, SPLITS[options.split].kept_out)
    tracks = [*clips, *learnt.reshape(-1, *learnt.shape[2:])]
    return Material(
        drawn, torch.from_numpy(learnt).to(arguments.device), Tracks.of(tracks, arguments.device)
    )


def report(
    network: Retargeter,
    sets: Mapping[str, retargeting.Exercise],
    options: Options,
    say: Callable[[str], None],
) -> None:
    """The scores on what is kept out, with true joints and with noisy ones."""
    for name, exercise in sets.items():
        for noise in (0.0, options.noise):
            torch.manual_seed(0)
            say(f"{name}, noise {noise}: {retargeting.measure(network, exercise, noise).line()}")


if __name__ == "__main__":
    raise SystemExit(main())
