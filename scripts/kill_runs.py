"""Stop a transfer or a training at random moments, resume it, and compare what comes of it.

    python scripts/kill_runs.py transfer [--kills 20] [--signal KILL|INT] [--seed 0]
    python scripts/kill_runs.py train-lofnet [--kills 20] [--signal KILL|INT] [--seed 0]

A run with tiny settings is left alone first. Then as many are stopped, each in a folder of its own
at a random moment, and resumed by the same command with `--resume`: frames and weights must be the
same bit by bit, and nothing half-written may stay. `INT` is Ctrl-C, of which one line must tell.
Runs are forks of this process; with `--fresh` each has an interpreter of its own, so that they are
also stopped while the libraries are imported. Ends with 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# A fork has none of the threads that torch has started here, and would wait for them for ever.
os.environ["OMP_NUM_THREADS"] = "1"

from stress.killed import Stop, commands, stop_and_resume, whole_run  # noqa: E402


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("transfer", "train-lofnet"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--signal", choices=("KILL", "INT"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="start an interpreter for each run")
    given = parser.parse_args(words)
    number, rng = signal.Signals[f"SIG{given.signal}"], random.Random(given.seed)
    # A shell's background jobs ignore Ctrl-C, and so would the runs: all of them would end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stops: list[Stop] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = commands(folder)[given.command]
        wanted, times = whole_run(command, folder / "whole", fresh=given.fresh)
        print(f"left alone: {times[1]:.1f} s, {len(wanted)} results", flush=True)
        while len(stops) < given.kills:
            output = folder / "stopped"
            stop = stop_and_resume(command, output, wanted, times, number, rng, fresh=given.fresh)
            shutil.rmtree(output, ignore_errors=True)
            if stop is None:
                continue
            stops.append(stop)
            state = stop.wrong or "the same"
            print(f"{len(stops)}: {stop.seconds:.1f} s, {stop.files} files: {state}", flush=True)
    wrong = sum(bool(stop.wrong) for stop in stops)
    print(f"{len(stops)} stopped and resumed: {len(stops) - wrong} the same, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
