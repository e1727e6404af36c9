"""Benchmark pairs, from a folder or drawn: a source, a driving clip, and the ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

from anamodiff import creatures
from anamodiff.creatures import ground
from anamodiff.creatures.pair import Pair, StartPose
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.tracklets import KnownJoints
from anamodiff.video.clip import Clip, read_clip, write_frames
from anamodiff.video.letterbox import from_pixels

T = TypeVar("T")

#: The clips of a pair, by the names of their files.
CLIPS = ("source", "driving", "truth")
#: The paper moves ten sources by five motions each.
DRAWN_MOTIONS = ("walk", "gallop", "jump", "graze", "rear")
DRAWN_SOURCES = (
    "turtle", "cat", "elephant", "horse", "rabbit", "giraffe", "pig", "crocodile", "camel",
    "letter m",
)  # fmt: skip
DRAWN_DRIVING = (
    "rhino", "dog", "cow", "lion", "giraffe", "horse", "cat", "elephant", "rabbit", "fox",
)  # fmt: skip
FIRST_SEED = 7000
#: The set whose clips are filmed on textured grounds.
OUTDOORS = "creatures-outdoors"
#: Names of the sets of drawn pairs, and how the first poses of source and driving clip compare.
DRAWN_SETS: dict[str, StartPose] = {
    "creatures": "similar", "creatures-apart": "different", OUTDOORS: "similar",
}  # fmt: skip


@dataclass(frozen=True)
class BenchmarkPair:
    """Files of a pair: a character, another one's motion, and the first one in that motion.

    Attributes:
        prompt, driving_prompt: a few words for what the source and the driving clip show.
        traits: what pairs may be grouped by, such as ``motion`` and ``start_pose``.
        plain_source: the source on white, to compare colours with, where `source` is not.
        joints: where the joints of drawn characters are; None where nobody knows.
    """

    name: str
    source: Path
    driving: Path
    truth: Path
    prompt: str
    driving_prompt: str
    traits: dict[str, str]
    plain_source: Path | None = None
    joints: KnownJoints | None = field(default=None, repr=False, compare=False)

    def read(self, frames: int, size: int) -> tuple[Clip, Clip, Clip]:
        """Source, driving clip and truth, `frames` frames on a canvas of `size` pixels.

        Raises:
            AnaMoDiffError: driving clip or truth has fewer frames, or a file cannot be read.
        """
        files = zip(CLIPS, (self.source, self.driving, self.truth), strict=True)
        source, driving, truth = (
            read_clip(file, frames=frames, size=size, role=role) for role, file in files
        )
        for role, clip in (("driving clip", driving), ("truth", truth)):
            if len(clip.frames) != frames:
                raise AnaMoDiffError(
                    f"expected {frames} frames in the {role} of pair {self.name}, got "
                    f"{len(clip.frames)}: use fewer frames"
                )
        return source, driving, truth


def find_pairs(pairs: str | Path, drawn: Path, limit: int | None = None) -> list[BenchmarkPair]:
    """Pairs of a folder, or one of the `DRAWN_SETS`.

    Args:
        pairs: the folder, or the set's name.
        drawn: folder where the frames of drawn pairs are kept.
        limit: only so many, spread evenly; None for all.

    Raises:
        AnaMoDiffError: there are none.
    """
    start = DRAWN_SETS.get(str(pairs))
    if start is not None:
        return list(drawn_pairs(drawn, start, limit, outdoors=str(pairs) == OUTDOORS))
    return _spread(list(folder_pairs(Path(pairs))), limit)


def folder_pairs(folder: Path) -> Iterator[BenchmarkPair]:
    """Pairs `NAME/source.*`, `driving.*`, `truth.*` and `meta.json` with `source_caption`."""
    folders = sorted(path.parent for path in folder.glob("*/driving*"))
    folders = list(dict.fromkeys(path for path in folders if _file(path, "truth")))
    if not folders:
        raise AnaMoDiffError(
            f"expected pairs (NAME/source.mp4, driving.mp4, truth.mp4) in {folder}, found none: "
            "name a folder laid out like that, or creatures for drawn ones"
        )
    for path in folders:
        files = {name: _file(path, name) or path / name for name in CLIPS}
        meta = _meta(path / "meta.json")
        prompt = meta.get("source_caption") or path.name.replace("_", " ")
        traits = {
            "motion": str(meta.get("motion_driving", "")),
            "start_pose": str(meta.get("start_pose", "")),
            "proportions": str(meta.get("proportions", "")),
        }
        other = meta.get("driving_caption") or prompt
        yield BenchmarkPair(path.name, **files, prompt=prompt, driving_prompt=other, traits=traits)


def drawn_pairs(
    folder: Path, start: StartPose = "similar", limit: int | None = None, *, outdoors: bool = False
) -> Iterator[BenchmarkPair]:
    """Fifty drawn pairs: ten sources by five motions, each driven by another species.

    With `start` ``similar`` the source stands, so that it never shows the motion. With
    ``different`` it moves in another way, and starts in the pose that is furthest from the truth's
    first one. `outdoors` films both on textured grounds with a drifting camera; the truth stays on
    white. Frames are written losslessly under `folder`, unless they are there. `limit` draws only
    so many, spread evenly.
    """
    numbered = list(enumerate(product(DRAWN_MOTIONS, DRAWN_SOURCES)))
    for number, (motion, species) in _spread(numbered, limit):
        driver = DRAWN_DRIVING[(number + number // len(DRAWN_SOURCES)) % len(DRAWN_DRIVING)]
        if driver == species:
            driver = DRAWN_DRIVING[(DRAWN_DRIVING.index(driver) + 3) % len(DRAWN_DRIVING)]
        other = DRAWN_MOTIONS[(DRAWN_MOTIONS.index(motion) + 1 + number % 4) % len(DRAWN_MOTIONS)]
        pair = creatures.draw_pair(
            FIRST_SEED + number, source_species=species, driving_species=driver, motion=motion,
            source_motion="idle" if start == "similar" else other, start=start,
        )  # fmt: skip
        name = f"{species}-{driver}-{motion}".replace(" ", "_")
        clips = {clip: getattr(pair, clip).frames for clip in CLIPS}
        if outdoors:
            clips = _filmed(pair, number)
        files = {clip: folder / name / clip for clip in clips}
        for clip, path in files.items():
            if not path.is_dir():
                write_frames(path, from_pixels(clips[clip]))
        yield BenchmarkPair(
            name, **files, prompt=pair.source_caption, driving_prompt=pair.driving_caption,
            traits={"motion": motion, "start_pose": start, "proportions": "different"},
            joints=known_joints(pair, at_a_distance=outdoors),
        )  # fmt: skip


def known_joints(pair: Pair, *, at_a_distance: bool) -> KnownJoints:
    """Joints of a drawn pair's truth and driving clip.

    Args:
        at_a_distance: as outdoor pairs show them; those of the driving clip without its camera.
    """
    clips = (pair.driving, pair.truth)
    # Letters, flags and the like have joints of their own kinds only.
    places = [one.joints if np.isnan(one.skeleton).all() else one.skeleton for one in clips]
    places.append(pair.truth.skeleton)
    if at_a_distance:
        places = [ground.joints_at_a_distance(place, pair.truth) for place in places]
    return KnownJoints(*places, pair.truth.visibility)


def _filmed(pair: Pair, number: int) -> dict[str, ground.Pictures]:
    """The clips of a pair, source and driving clip on textures."""
    kinds = len(ground.KINDS)
    own = ground.KINDS[number % kinds]
    other = ground.KINDS[(number + 1 + number // kinds % (kinds - 1)) % kinds]
    return {
        "source": ground.outdoors(pair.source, own, 2 * number),
        "driving": ground.outdoors(pair.driving, other, 2 * number + 1),
        "truth": ground.at_a_distance(pair.truth),
        "plain_source": ground.at_a_distance(pair.source),
    }


def _spread(items: list[T], limit: int | None) -> list[T]:
    """All items, or `limit` of them, spread evenly."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def _file(folder: Path, clip: str) -> Path | None:
    """A clip in a pair's folder: a file with any suffix, or a folder of frames."""
    found = sorted(path for path in folder.glob(f"{clip}*") if path.stem == clip)
    return found[0] if found else None


def _meta(file: Path) -> dict:
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise AnaMoDiffError(f"expected JSON in {file}, got {error}: correct or drop it") from error
