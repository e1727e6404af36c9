"""Where results go: a run folder or a video file, and never the place of an input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded
from anamodiff.video.suffixes import (
    ALPHA_SUFFIXES,
    ANIMATED_SUFFIXES,
    OTHER_SUFFIXES,
    WRITTEN_SUFFIXES,
)

SUFFIXES = (*WRITTEN_SUFFIXES, *ANIMATED_SUFFIXES)


def is_video(output: str | Path | None) -> bool:
    """Whether `output` names a video file rather than a run folder."""
    return output is not None and Path(output).suffix.lower() in SUFFIXES


def check_output_name(output: str | Path | None) -> None:
    """Refuse a name that looks like a file of a kind that is not written, for a run folder."""
    if output is None or os.path.isdir(expanded(output)):
        return
    if Path(output).suffix.lower() in OTHER_SUFFIXES:
        raise AnaMoDiffError(
            f"expected a folder, or a video file ({', '.join(SUFFIXES)}), for --output, "
            f"got {output}: choose another suffix"
        )


def check_is_video(output: str | Path | None) -> None:
    """Refuse an output that is no video file where nothing else can be written."""
    if output is not None and not is_video(output):
        raise AnaMoDiffError(
            f"expected a video file ({', '.join(SUFFIXES)}) for --output, got {output}: "
            "name one such as result.mp4, or leave --output out"
        )


def check_ground(output: str | Path | None, generation: object) -> None:
    """Refuse a file for a transparent result that holds no alpha.

    Args:
        generation: options, a mapping of settings or None.
    """
    ground = generation.get("ground") if isinstance(generation, Mapping) else None
    ground = getattr(generation, "ground", ground)
    if ground != "transparent" or not is_video(output):
        return
    if Path(str(output)).suffix.lower() not in ALPHA_SUFFIXES:
        raise AnaMoDiffError(
            f"expected a folder, or a name that ends in {', '.join(ALPHA_SUFFIXES)}, for a "
            f"transparent ground, got {output}, which holds no alpha: name another, or choose "
            "another --ground"
        )


def check_no_input(output: str | Path | None, inputs: Iterable[Any]) -> None:
    """Refuse an output that is one of the inputs, or a file among an input's frames.

    Links and hard links count as what they lead to.

    Args:
        inputs: paths, clips that were read from one, or None.
    """
    if output is None:
        return
    place = expanded(output)
    for given in inputs:
        given = getattr(given, "path", given)
        if given is None:
            continue
        path = expanded(given)
        beside = path.is_dir() and bool(place.suffix) and place.resolve().parent == path.resolve()
        if beside or _same(place, path):
            raise AnaMoDiffError(
                f"expected an --output that is none of the inputs, got {output}, "
                f"{'which lies among the frames of' if beside else 'the same file as'} {given}: "
                "name another"
            )


def masks_in(adaptation: object) -> list[str]:
    """The paths of masks that options, a mapping of settings or None name."""
    given = adaptation.get("matte") if isinstance(adaptation, Mapping) else None
    given = getattr(adaptation, "matte", given)
    if given is None or given in ("auto", "none"):
        return []
    return [str(given), *(os.path.join(given, role) for role in ("source", "driving"))]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve() or one.samefile(other)
    except (OSError, RuntimeError):  # one of them is not there
        return False
