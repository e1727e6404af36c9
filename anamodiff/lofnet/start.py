"""The source frame to start from, as it is asked for. Needs no torch."""

from __future__ import annotations

from anamodiff.errors import AnaMoDiffError
from anamodiff.options import StartFrame


def check_start(start: StartFrame, count: int) -> None:
    """Raise AnaMoDiffError for a start frame that a source of `count` frames does not have."""
    if start in ("first", "auto") or (type(start) is int and 0 <= start < count):
        return
    raise AnaMoDiffError(
        f"expected start_frame 'first', 'auto' or a frame from 0 to {count - 1}, got {start!r}; "
        "choose one of those"
    )
