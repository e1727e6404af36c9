"""Clips to play with (`anamodiff examples`): drawn characters, and a list for `transfer-many`."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anamodiff import creatures
from anamodiff.creatures import Drawn
from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded
from anamodiff.run.folder import write_text
from anamodiff.video.clip import write_video
from anamodiff.video.letterbox import from_pixels
from anamodiff.visual.sheets import save_picture

FRAMES, SIZE = 16, 256
LIST = "list.csv"
# Plain colours on white, and all face right, so that any source goes with any driving clip.
SOURCES = {
    "turtle.gif": ("turtle", "idle", "green"),
    "fox.png": ("fox", "idle", "orange"),
    "elephant.mp4": ("elephant", "idle", "blue"),
    "flag.gif": ("flag", "idle", "red"),
}
DRIVING = {
    "rhino-jumps.gif": ("rhino", "jump", "grey"),
    "horse-gallops.gif": ("horse", "gallop", "brown"),
    "camel-walks.mp4": ("camel", "walk", "tan"),
    "flag-waves.gif": ("flag", "wave", "purple"),
}
#: Rows of the list: source, driving clip.
ROWS = (("turtle.gif", "rhino-jumps.gif"), ("fox.png", "horse-gallops.gif"))


@dataclass(frozen=True)
class Examples:
    """What `write_examples` wrote, or found there: names of the files with captions."""

    folder: Path
    sources: dict[str, str]
    driving: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """What there is, in words."""
        lines = [f"folder: {self.folder}"]
        for title, clips in (("sources", self.sources), ("driving clips", self.driving)):
            lines.append(f"{title}:")
            lines += [f"  {name:20}{caption}" for name, caption in clips.items()]
        return [*lines, f"a list for transfer-many: {self.folder / LIST}"]

    @property
    def following(self) -> str:
        """The command to try next."""
        source, driving = ROWS[0]
        words = (
            "transfer", "--source", str(self.folder / source), "--driving",
            str(self.folder / driving), "--prompt", self.sources[source],
        )  # fmt: skip
        return shlex.join(words)


def write_examples(folder: str | Path = "examples") -> Examples:
    """Write the clips into a folder, new or old; files that are there already stay.

    Raises:
        AnaMoDiffError: `folder` is a file, or cannot be written to.
    """
    place = expanded(folder)
    if place.exists() and not place.is_dir():
        raise AnaMoDiffError(f"expected a folder, got the file {place}: name another")
    captions = [
        {name: _write(place / name, *how) for name, how in clips.items()}
        for clips in (SOURCES, DRIVING)
    ]
    if not (place / LIST).exists():
        rows = [("source", "driving", "prompt")]
        rows += [(source, driving, captions[0][source]) for source, driving in ROWS]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(place / LIST, text.getvalue())
    return Examples(place, *captions)


def _write(path: Path, species: str, motion: str, colour: str) -> str:
    """Draw a clip, or its first frame, unless it is there; returns the caption."""
    character = creatures.Character(species, colour)
    if not path.exists():
        drawn = creatures.draw(character, motion, frames=FRAMES, size=SIZE)
        _SAVE.get(path.suffix, _save_clip)(path, drawn)
    return character.caption


def _save_clip(path: Path, drawn: Drawn) -> None:
    write_video(path, from_pixels(drawn.frames), drawn.fps)


def _save_picture(path: Path, drawn: Drawn) -> None:
    save_picture(path, drawn.frames[0])


_SAVE: dict[str, Callable[[Path, Drawn], None]] = {".png": _save_picture}
