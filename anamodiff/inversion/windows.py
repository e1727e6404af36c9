"""Windows of long clips, which bound the memory of sampling."""

from __future__ import annotations

from math import ceil

from anamodiff.options import GenerationOptions, check_windows

OVERLAP = GenerationOptions.overlap


def split_frames(
    frames: int, window: int | None = None, overlap: int = OVERLAP, step: int = 0
) -> list[slice]:
    """Split a clip into runs of frames, the new frames of each window.

    A window consists of such a run and the `overlap` frames before it, and attends to frame 0.

    Args:
        frames: number of frames of the clip.
        window: most frames of a window; None for all.
        overlap: frames that a window shares with the one before it.
        step: denoising step; runs end at different frames in successive steps. In step 0 there are
            as few windows as possible, of about equal length.

    Returns:
        The runs, in order; one if the clip is no longer than a window.

    Raises:
        AnaMoDiffError: unless 1 <= overlap < window.
    """
    if window is None or frames <= window:
        return [slice(0, frames)]
    check_windows(window, overlap)
    new = frames - overlap
    length = ceil(new / ceil(new / (window - overlap)))
    ends = [*range(overlap + length - step % length, frames, length), frames]
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
