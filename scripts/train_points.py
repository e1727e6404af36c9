"""Train the retargeting of key points: `python scripts/train_points.py BANK RUN`.

BANK is a folder that `make_point_bank.py` filled. RUN is a folder for the state, the weights and
the log; the same command goes on where a kill left it. `--measure` prints the scores of the saved,
averaged weights on letters and animals kept out, and stops. `--smoke` runs everything once on a
tiny network, in less than a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from joints.command import add_run_flags, given_options, resume_and_log, set_up_torch  # noqa: E402
from points import bank  # noqa: E402
from points.training import SHARES, Material, Options, Training, measure, train  # noqa: E402

from anamodiff.lofnet.model import LOFNet  # noqa: E402
from anamodiff.lofnet.point_retarget import PointRetargeter  # noqa: E402
from anamodiff.resources import find  # noqa: E402

SMOKE = Options(
    steps=4, batch=8, validation=4, minutes_log=0, minutes_save=0, minutes_measure=0, warmup=1
)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("bank", type=Path, help="folder of key points")
    made.add_argument("run", type=Path, help="folder of the state, the weights and the log")
    add_run_flags(made, Options)
    return made


def main(words: list[str] | None = None) -> int:
    given = parser().parse_args(words)
    set_up_torch(given.threads)
    options = given_options(given, SMOKE if given.smoke else Options())
    network = LOFNet.load(find("checkpoints/mini/lofnet"))
    sets = {"kept out": bank.held_out(network, options.validation)}
    if given.measure:
        saved = PointRetargeter.load(given.run / Training.name)
        print(measure(saved, sets["kept out"]).line())
        return 0
    banks = {name: bank.load(given.bank, f"{name}*.npz") for name in SHARES}
    if not any(banks.values()):
        raise SystemExit(f"expected key points in {given.bank}, got none: make_point_bank.py")
    made = PointRetargeter(features=12, layers=1, heads=2) if given.smoke else PointRetargeter()
    training = Training(made.to(given.device), options, given.run)
    training.started = STARTED
    say = resume_and_log(training)
    train(training, Material({k: b for k, b in banks.items() if b}), sets, say)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
