"""Frames of any file before some are chosen, and which are: even steps of playing time."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anamodiff.errors import AnaMoDiffError
from anamodiff.options import MOST_FRAMES
from anamodiff.video.picture import Picture

logger = logging.getLogger(__name__)

#: Frames that `frames=None` reads at most; longer files are sampled evenly down to it.
MAX_FRAMES = MOST_FRAMES

#: Rate, in frames a second, of what has none: a strip, a folder of frames, one picture.
DEFAULT_FPS = 10.0

#: Rates beyond these are a broken clock's.
LOWEST_FPS, HIGHEST_FPS = 0.01, 1000.0

#: A last frame shown longer than this many median frames (a gif's rest) counts as this many.
LONGEST_REST = 4


class ClipError(AnaMoDiffError):
    """A clip that cannot be read or written; the message is one line."""


class Unreadable(Exception):
    """Inside the readers: what the file's index promised is not in it."""


#: Frames at ascending, distinct indices. The second argument is the side of the canvas that they
#: are for: decoders may give fewer pixels, but twice as many as that needs; None wants all.
Pictures = Callable[[Sequence[int], int | None], Iterator[Picture]]


@dataclass(frozen=True)
class FrameSource:
    """A file's frames before any is chosen.

    `durations` are seconds, one for each frame. `pictures` yields chosen frames, decoding what
    lies between but keeping nothing; it raises `Unreadable` where a frame is missing, and then
    `recount`, if there is one, gives a slower source of the same file that trusts only what was
    decoded.
    """

    durations: tuple[float, ...]
    pictures: Pictures
    recount: Callable[[], "FrameSource"] | None = None


def sample_indices(durations: Sequence[float], frames: int | None) -> tuple[int, ...]:
    """Choose `frames` frames at even steps of playing time, the first frame first.

    Each chosen frame stands for `1 / frames` of the clip, so a loop stays a loop: with steady
    durations frame `i` is number `i * total // frames`. Where `frames` exceeds what there is,
    frames repeat; as many as there are means each once, if all are shown equally long; a single
    frame is never repeated. `None` means all, up to `MAX_FRAMES`.
    """
    total = len(durations)
    every = frames is None and total <= MAX_FRAMES
    if frames is None:
        frames = min(total, MAX_FRAMES)
    if total == 1 or every:
        return tuple(range(total))
    if _is_steady(durations):
        return tuple(i * total // frames for i in range(frames))
    ends = np.cumsum(without_rest(durations))
    # A container's clock rounds; a timestamp in a frame's last tenth belongs to the next frame.
    timestamps = np.arange(frames) * (ends[-1] / frames) + 0.1 * float(np.median(durations))
    chosen = np.searchsorted(ends, timestamps, side="right")
    return tuple(int(index) for index in np.minimum(chosen, total - 1))


def without_rest(durations: Sequence[float]) -> np.ndarray:
    """Durations in seconds with the last cut to `LONGEST_REST` median frames.

    Gifs often rest for seconds on their last frame; sampled by the clock, a transfer would
    consist of that one pose. Holds within the clip belong to the motion.
    """
    seconds = np.array(durations, dtype=np.float64)
    seconds[-1] = min(seconds[-1], LONGEST_REST * np.median(seconds))
    return seconds


def sampled_fps(durations: Sequence[float], count: int) -> float:
    """Rate, to six places, at which `count` sampled frames take as long as the clip does.

    A broken clock's is kept within what can be played.
    """
    if len(durations) == 1:
        return DEFAULT_FPS
    rate = count / max(float(without_rest(durations).sum()), 1e-9)
    return round(min(max(rate, LOWEST_FPS), HIGHEST_FPS), 6)


def _is_steady(durations: Sequence[float]) -> bool:
    """Whether no frame starts a fifth of a frame off an even beat.

    So far a gif's clock of hundredths of a second moves frames at forty a second.
    """
    durations = np.asarray(durations, dtype=np.float64)
    beat = durations.mean()
    drift = np.cumsum(durations) - beat * np.arange(1, len(durations) + 1)
    return bool(np.abs(drift).max() < 0.21 * beat)


@contextmanager
def silent(which: logging.Logger = logger) -> Iterator[None]:
    """Log nothing about clips that are only looked at: they are read again, and named then."""
    was, which.disabled = which.disabled, True
    try:
        yield
    finally:
        which.disabled = was


def report_rest(path: Path, durations: Sequence[float]) -> None:
    """Log that the last frame's rest is cut, where it is."""
    kept = float(without_rest(durations)[-1])
    if len(durations) > 1 and kept < 0.9 * durations[-1]:
        logger.info(
            "%s rests on its last frame for %.1f s: %.1f s of them count",
            path, durations[-1], kept,
        )  # fmt: skip


def warn_damaged(path: Path, readable: int, promised: int | None = None) -> None:
    """Log that a file ends early or has holes, and what is used instead."""
    of = f" of {promised}" if promised and promised > readable else ""
    logger.warning(
        "%s is damaged or cut short: using the %d%s frames that can be decoded",
        path,
        readable,
        of,
    )
