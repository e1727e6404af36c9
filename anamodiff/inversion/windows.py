"""Long clips in bounded memory: which frames go through the UNet together."""

from __future__ import annotations

from math import ceil

from anamodiff.errors import AnaMoDiffError

WINDOW, OVERLAP = 10, 5


def split_frames(
    frames: int, window: int | None = None, overlap: int = OVERLAP, turn: int = 0
) -> list[slice]:
    """Cut a clip into runs of frames, each of which brings new ones to its window.

    A window is such a run and the `overlap` frames before it; beside these it sees frame 0.

    Args:
        frames: of the clip.
        window: frames of a window at most; None for all.
        overlap: frames of a window that the one before it has, too.
        turn: of several, whose runs end at different frames. At turn 0 windows are as few as can
            be, and about equally long.

    Returns:
        The runs, in order; one where the clip is no longer than a window.

    Raises:
        AnaMoDiffError: unless 1 <= overlap < window.
    """
    if window is None or frames <= window:
        return [slice(0, frames)]
    check_windows(window, overlap)
    new = frames - overlap
    length = ceil(new / ceil(new / (window - overlap)))
    ends = [*range(overlap + length - turn % length, frames, length), frames]
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]


def check_windows(window: int, overlap: int) -> None:
    """Refuse windows that bring nothing new, or share nothing."""
    if not 1 <= overlap < window:
        raise AnaMoDiffError(
            "expected an overlap of at least 1 frame and below the window's, got overlap "
            f"{overlap} and window {window}: make generation.overlap smaller"
        )
