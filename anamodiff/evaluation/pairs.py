"""Pairs of clips with a known answer, from a folder or drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from anamodiff import creatures
from anamodiff.creatures.pair import StartPose
from anamodiff.errors import AnaMoDiffError
from anamodiff.letterbox import from_pixels
from anamodiff.video import Clip, read_clip, write_frames

KINDS = ("source", "driving", "truth")
#: The paper moves ten sources by five motions each.
MOTIONS = ("walk", "gallop", "jump", "graze", "rear")
SOURCES = ("turtle", "cat", "elephant", "horse", "rabbit", "giraffe", "pig", "crocodile", "camel",
           "letter m")  # fmt: skip
DRIVERS = ("rhino", "dog", "cow", "lion", "giraffe", "horse", "cat", "elephant", "rabbit", "fox")


#: Words for drawn pairs, and how the poses of source and driving clip begin.
DRAWN: dict[str, StartPose] = {"creatures": "similar", "creatures-apart": "different"}


@dataclass(frozen=True)
class BenchmarkPair:
    """Files of one question: a character, another one's motion, and the first in that motion.

    Attributes:
        prompt, driving_prompt: a few words for what the source and the driving clip show.
        traits: what pairs may be grouped by, such as ``motion`` and ``start_pose``.
    """

    name: str
    source: Path
    driving: Path
    truth: Path
    prompt: str
    driving_prompt: str
    traits: dict[str, str]

    def read(self, frames: int, size: int) -> tuple[Clip, Clip, Clip]:
        """Source, driving clip and truth, `frames` frames on a canvas of `size` pixels."""
        files = zip(KINDS, (self.source, self.driving, self.truth), strict=True)
        source, driving, truth = (
            read_clip(file, frames=frames, size=size, role=role) for role, file in files
        )
        for role, clip in (("driving clip", driving), ("truth", truth)):
            if len(clip.frames) != frames:
                raise AnaMoDiffError(
                    f"expected {frames} frames in the {role} of pair {self.name}, got "
                    f"{len(clip.frames)}: ask for fewer frames"
                )
        return source, driving, truth


def find_pairs(pairs: str | Path, drawn: Path) -> list[BenchmarkPair]:
    """Pairs of a folder; for a word of `DRAWN`, drawn ones, whose files go under `drawn`.

    Raises:
        AnaMoDiffError: there are none.
    """
    start = DRAWN.get(str(pairs))
    return list(drawn_pairs(drawn, start) if start else folder_pairs(Path(pairs)))


def folder_pairs(folder: Path) -> Iterator[BenchmarkPair]:
    """Pairs `NAME/source.*`, `driving.*`, `truth.*` and `meta.json` with `source_caption`."""
    homes = sorted(path.parent for path in folder.glob("*/driving*"))
    homes = list(dict.fromkeys(home for home in homes if _file(home, "truth")))
    if not homes:
        raise AnaMoDiffError(
            f"expected pairs (NAME/source.mp4, driving.mp4, truth.mp4) in {folder}, found none: "
            "name a folder laid out like that, or creatures for drawn ones"
        )
    for home in homes:
        files = {kind: _file(home, kind) or home / kind for kind in KINDS}
        meta = _meta(home / "meta.json")
        prompt = meta.get("source_caption") or home.name.replace("_", " ")
        traits = {
            "motion": str(meta.get("motion_driving", "")),
            "start_pose": str(meta.get("start_pose", "")),
            "proportions": str(meta.get("proportions", "")),
        }
        other = meta.get("driving_caption") or prompt
        yield BenchmarkPair(home.name, **files, prompt=prompt, driving_prompt=other, traits=traits)


def drawn_pairs(folder: Path, start: StartPose = "similar") -> Iterator[BenchmarkPair]:
    """Fifty drawn pairs, ten sources by five motions, each driven by an unlike species.

    With `start` ``similar`` the source stands about, so that it never shows the motion. With
    ``different`` it moves in another way, and begins as far from the truth's first pose as that
    takes it. Pictures are written under `folder` once, without loss.
    """
    for number, (motion, species) in enumerate(product(MOTIONS, SOURCES)):
        driver = DRIVERS[(number + number // len(SOURCES)) % len(DRIVERS)]
        if driver == species:
            driver = DRIVERS[(DRIVERS.index(driver) + 3) % len(DRIVERS)]
        other = MOTIONS[(MOTIONS.index(motion) + 1 + number % 4) % len(MOTIONS)]
        pair = creatures.draw_pair(
            7000 + number, source_species=species, driving_species=driver, motion=motion,
            source_motion="idle" if start == "similar" else other, start=start,
        )  # fmt: skip
        name = f"{species}-{driver}-{motion}".replace(" ", "_")
        home = folder / name
        for kind in KINDS:
            if not (home / kind).is_dir():
                write_frames(home / kind, from_pixels(getattr(pair, kind).frames))
        yield BenchmarkPair(
            name, *(home / kind for kind in KINDS),
            prompt=pair.source_caption, driving_prompt=pair.driving_caption,
            traits={"motion": motion, "start_pose": start, "proportions": "different"},
        )  # fmt: skip


def _file(home: Path, kind: str) -> Path | None:
    """The clip called `kind` in a pair's folder: a file with any suffix, or a folder of frames."""
    found = sorted(path for path in home.glob(f"{kind}*") if path.stem == kind)
    return found[0] if found else None


def _meta(file: Path) -> dict:
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text()))
    except ValueError as error:
        raise AnaMoDiffError(f"expected JSON in {file}, got {error}: correct or drop it") from error
