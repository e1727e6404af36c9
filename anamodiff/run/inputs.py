"""What a transfer is given, checked before any work begins: clips and the prompt.

The checks need no torch: a mistake is told before the seconds that its import takes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from anamodiff.errors import AnaMoDiffError, shorten
from anamodiff.lofnet.start import check_start
from anamodiff.options import PROMPT, STAGES, RunOptions, StartFrame
from anamodiff.resources import expanded
from anamodiff.run.folder import UNNAMED, RunFolder, check_writable
from anamodiff.run.outputs import (
    check_ground,
    check_no_input,
    check_output_name,
    is_video,
    masks_in,
)
from anamodiff.video.reading import read_pictures
from anamodiff.video.sampling import silent

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from anamodiff.video.clip import Clip

logger = logging.getLogger(__name__)

# Side of the canvas on which clips are looked at before models are loaded.
_GLANCE = 64

#: A file or folder, or a clip that `read_clip` has read with the backbone's size.
GivenClip: TypeAlias = "str | Path | Clip"


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that says nothing."""
    if not PROMPT.accepts(prompt):
        got = shorten(repr(prompt), 120)
        raise AnaMoDiffError(f"expected a prompt of {PROMPT.words}, got {got}")


def check_request(
    source: GivenClip, driving: GivenClip, *, prompt: str, output: str | Path | None,
    resume: bool, frames: int, seed: int | None, start_frame: StartFrame, preset: str | None,
    size: int | None = None, **stages: Any,
) -> None:  # fmt: skip
    """Refuse what is wrong with a transfer, as far as it shows without models.

    Called before these are loaded, let alone fetched; the arguments are `anamodiff.transfer`'s.

    Raises:
        AnaMoDiffError: a setting, clip or output cannot be used.
    """
    check_prompt(prompt)
    RunOptions.check(frames=frames, seed=seed, start_frame=start_frame, preset=preset, size=size)
    for section, given in stages.items():
        if not isinstance(given, STAGES[section]):
            STAGES[section].checked(given)
    check_no_input(output, (source, driving, *masks_in(stages.get("adaptation"))))
    check_output(output, resume)
    check_ground(output, stages.get("generation"))
    chosen = type(start_frame) is int and start_frame > 0
    count = glance_at(source, frames if chosen else 1, "source", least=1)
    if chosen:
        check_start(start_frame, count)
    glance_at(driving, 2, "driving clip")


def check_output(output: str | Path | None, resume: bool) -> None:
    """Refuse a place that a run cannot be written to."""
    check_output_name(output)
    if is_video(output):
        check_writable(output)
    elif output is not None and not resume:
        RunFolder(output).check_free()


def glance_at(clip: GivenClip, frames: int, role: str, *, least: int | None = None) -> int:
    """Read so many frames, and say how many there are.

    Raises:
        ClipError: a file cannot be read as a clip of at least that many, or `least`.
    """
    if _is_clip(clip):
        return len(clip.frames)
    least = frames if least is None else least
    with silent():
        found = read_pictures(clip, frames=frames, size=_GLANCE, minimum=least, role=role)
    return len(found.pixels)


def _is_clip(given: GivenClip) -> TypeIs[Clip]:
    if isinstance(given, (str, os.PathLike)):
        return False
    from anamodiff.video.clip import Clip

    return isinstance(given, Clip)


def clip_name(clip: GivenClip) -> str:
    """What a run's settings call a clip: where it lies, from whatever folder they are read."""
    path = clip.path if _is_clip(clip) else clip
    return UNNAMED if path is None else os.path.abspath(expanded(path))


def read_pair(source: GivenClip, driving: GivenClip, frames: int, size: int) -> tuple[Clip, Clip]:
    """Source and driving clip on square canvases of `size` pixels."""
    return (
        fitted_clip(source, frames, size, 1, "source"),
        fitted_clip(driving, frames, size, 2, "driving clip"),
    )


def note_frames_left_out(driving: Clip) -> None:
    """Say how many of a driving clip's frames are used, where that is not all."""
    if driving.total > len(set(driving.indices)):
        logger.info(
            "frames: %d of the driving clip's %d (--frames takes more)",
            len(driving.indices), driving.total,
        )  # fmt: skip


def fitted_clip(clip: GivenClip, frames: int, size: int, minimum: int, role: str) -> Clip:
    """A clip on a square canvas of `size` pixels: read, or as it was read before."""
    if not _is_clip(clip):
        from anamodiff.video.clip import read_clip

        return read_clip(clip, frames=frames, size=size, minimum=minimum, role=role)
    height, width = clip.frames.shape[-2:]
    if clip.box is None or (height, width) != (size, size) or len(clip.frames) < minimum:
        raise AnaMoDiffError(
            f"expected a {role} of at least {minimum} frames on a canvas of {size}x{size} pixels, "
            f"got {len(clip.frames)} of {width}x{height}: read it with read_clip(..., size={size})"
        )
    return clip
