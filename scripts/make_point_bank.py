"""Fill a bank of key points: `python scripts/make_point_bank.py FOLDER [--triples D] [--clips D]`.

FOLDER gets files for `train_points.py FOLDER RUN`: key points, by the shipped flow network, of
drawn triples (source, mover, and the source moved so), of rendered ones and of single clips. The
same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from joints.command import set_up_torch  # noqa: E402
from points import bank  # noqa: E402

from anamodiff.lofnet.model import LOFNet  # noqa: E402
from anamodiff.resources import find  # noqa: E402
from anamodiff.video.find import find_clips  # noqa: E402


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folder", type=Path)
    made.add_argument("--triples", type=Path, help="folder of folders: source, driving, truth")
    made.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of clips")
    made.add_argument("--drawn", type=int, default=20000, help="triples to draw")
    made.add_argument("--seconds", type=float, default=3600.0)
    made.add_argument("--threads", type=int, default=1)
    return made


def main(words: list[str] | None = None) -> int:
    given = parser().parse_args(words)
    set_up_torch(given.threads)
    network = LOFNet.load(find("checkpoints/mini/lofnet"))
    if given.triples and not (given.folder / "rendered.npz").exists():
        print(f"{bank.add_rendered(given.folder, network, given.triples)} rendered", flush=True)
    if given.clips and not (given.folder / "clips.npz").exists():
        files = [file for folder in given.clips for file in find_clips(folder)]
        print(f"{bank.add_clips(given.folder, network, files)} single clips", flush=True)
    drawn = bank.add_drawn(given.folder, network, given.drawn, given.seconds)
    print(f"{drawn} drawn", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
