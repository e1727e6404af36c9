"""Read files that are broken at random, and count what comes of it.

    python scripts/fuzz_clips.py --seconds 600 [--first SEED] [--keep FOLDER]

Small valid files of every format that is read are damaged at random (`stress.mutate`), each input
decided by its seed. A process of its own reads them (`stress.reader`), under a limit of memory and
of time. A clip or a refusal in one line is right; anything else is a fault: another exception, a
crash of native code, more than `SECONDS`, more than `MEGABYTES`, or lines that a library prints.
Faults are kept in a folder, and the command ends with 1 where there is one.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stress.mutate import damaged, valid_files

SECONDS, MEGABYTES = 20.0, 1500  # of one input


class Reader:
    """A process that reads clips, started again whenever it ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> dict[str, Any]:
        """What came of one file."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        answer = process.stdout.readline() if ready else ""
        if answer:
            return json.loads(answer)
        process.kill()
        code = process.wait()
        self._process = None
        reason = f"ended with {code}" if ready else f"took more than {SECONDS:.0f} s"
        return {"outcome": "fault", "reason": reason, "seconds": SECONDS, "megabytes": 0}

    def _start(self) -> subprocess.Popen[str]:
        script = Path(__file__).parent / "stress" / "reader.py"
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # once the libraries are imported
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def judge(found: dict[str, Any]) -> str | None:
    """Why an outcome is a fault; None where it is none."""
    if found["outcome"] == "fault":
        return found["reason"]
    if found["megabytes"] > MEGABYTES:
        return f"took {found['megabytes']} MB"
    if "printed" in found:
        return f"printed: {found['printed']}"
    return None


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--count", type=int, help="inputs, whatever time they take")
    parser.add_argument("--keep", type=Path, default=Path("outputs/fuzz"))
    given = parser.parse_args(words)
    counts: collections.Counter[str] = collections.Counter()
    kinds: dict[str, int] = {}
    slowest = largest = 0.0
    reader, seed, began = Reader(), given.first, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole = {path.name: path.read_bytes() for path in valid_files(Path(folder) / "whole")}
        while (
            seed < given.first + given.count
            if given.count
            else time.monotonic() - began < given.seconds
        ):
            name, data = damaged(seed, whole)
            path = Path(folder) / name
            path.write_bytes(data)
            found = reader.read(path)
            counts[found["outcome"]] += 1
            slowest, largest = max(slowest, found["seconds"]), max(largest, found["megabytes"])
            if reason := judge(found):
                counts["faults"] += 1
                kinds[_kind(reason)] = kinds.get(_kind(reason), 0) + 1
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / name).write_bytes(data)
                print(f"{name}: {reason}", flush=True)
            path.unlink()
            seed += 1
    reader.close()
    print(
        f"{seed - given.first} inputs in {time.monotonic() - began:.0f} s: {counts['read']} read, "
        f"{counts['refused']} refused, {counts['faults']} faults of {len(kinds)} kinds; at most "
        f"{slowest:.1f} s and {largest:.0f} MB more for one"
    )
    for kind, count in sorted(kinds.items(), key=lambda one: -one[1]):
        print(f"  {count} x {kind}")
    return 1 if counts["faults"] else 0


def _kind(reason: str) -> str:
    """A fault without what differs from input to input."""
    return "".join("N" if letter.isdigit() else letter for letter in reason)[:80]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
