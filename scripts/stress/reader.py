"""A process that reads the clips it is told of and says what came of each, for `fuzz_clips`."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import warnings
from typing import Any

from anamodiff.video.clip import read_clip
from anamodiff.video.sampling import ClipError

MEMORY = 6 * 2**30  # bytes of address space


def read(path: str) -> dict[str, Any]:
    """What reading a file gave: `outcome` is read, refused or fault; and what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    lines: dict[str, Any] = {"outcome": "read"}
    try:
        clip = read_clip(path, frames=8, size=64)
        if clip.frames.shape[1:] != (3, 64, 64) or not 0 < clip.fps < 1e6:
            lines = _fault(f"clip of shape {tuple(clip.frames.shape)} at {clip.fps}")
    except ClipError as error:
        text = str(error)
        lines = {"outcome": "refused"}
        if "\n" in text or not text.startswith("expected ") or path not in text:
            lines = _fault(f"message: {text}")
    except BaseException as error:  # whatever it is, it is a fault
        lines = _fault(f"{type(error).__name__}: {error}")
    after = resource.getrusage(resource.RUSAGE_SELF)
    lines["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines["megabytes"] = (after.ru_maxrss - before.ru_maxrss) // 1024
    return lines


def _fault(text: str) -> dict[str, Any]:
    return {"outcome": "fault", "reason": " ".join(text.split())[:300]}


def main() -> None:
    """Answer each path on standard input with one line of JSON on what was standard output."""
    warnings.simplefilter("ignore")
    logging.getLogger("anamodiff").addHandler(logging.NullHandler())
    logging.getLogger("anamodiff").propagate = False
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryFile() as noise:
        for descriptor in (1, 2):  # what native code prints
            os.dup2(noise.fileno(), descriptor)
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            start = noise.seek(0, os.SEEK_END)
            found = read(line.rstrip("\n"))
            noise.seek(start)
            if printed := noise.read(2000).decode(errors="replace").strip():
                found["printed"] = " ".join(printed.split())[:300]
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
