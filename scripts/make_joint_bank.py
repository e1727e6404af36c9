"""Fill a bank for the joint trainings: `python scripts/make_joint_bank.py FOLDER --motion DIR`.

FOLDER gets files of rendered, reshaped and drawn samples for `train_joints.py --bank FOLDER`, and
of drawn characters' tracks for `train_retarget.py --bank FOLDER`. It is full when all that is asked
for is there, or after `--seconds`; the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from joints import bank  # noqa: E402
from joints.rendered import SPLITS  # noqa: E402


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folder", type=Path)
    made.add_argument("--motion", type=Path, help="folder of motion triples with joints")
    made.add_argument("--clips", type=Path, help="folder of the clips that are labelled there")
    made.add_argument("--seconds", type=float, default=240.0)
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--drawn", type=int, default=40000, help="samples")
    made.add_argument("--reshaped", type=int, default=40000, help="samples")
    made.add_argument("--characters", type=int, default=6000)
    made.add_argument("--split", choices=list(SPLITS), default="scored", help="of rendered species")
    return made


def main(words: list[str] | None = None) -> int:
    given = parser().parse_args(words)
    order = bank.Order(
        given.folder, given.motion, given.clips,
        drawn=given.drawn, reshaped=given.reshaped, characters=given.characters,
        split=given.split,
    )  # fmt: skip
    left = given.seconds - (time.monotonic() - STARTED)
    processes = bank.start(order, given.workers, left)
    for process in processes:
        process.join()
    counts = {k: len(bank.files(given.folder, k)) for k in (*bank.PICTURED, "tracks")}
    size = sum(path.stat().st_size for path in given.folder.glob("*.np?")) / 1e9
    print(f"{time.monotonic() - STARTED:.0f} s: files {counts}, {size:.2f} GB", flush=True)
    return int(any(process.exitcode for process in processes))


if __name__ == "__main__":
    raise SystemExit(main())
