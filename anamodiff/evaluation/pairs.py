"""Benchmark pairs, from a folder or drawn: a source, a driving clip, and the ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from anamodiff.creatures import ground
from anamodiff.creatures.pair import Pair
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.drawn import DRAWN_SETS, OUTDOORS, plans
from anamodiff.resources import expanded
from anamodiff.run.outputs import check_no_input

if TYPE_CHECKING:
    from anamodiff.evaluation.tracklets import KnownJoints
    from anamodiff.video.clip import Clip

T = TypeVar("T")

#: The clips of a pair, by the names of their files.
CLIPS = ("source", "driving", "truth")


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
        from anamodiff.video.clip import read_clip

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
    """Pairs of a folder, or one of the `DRAWN_SETS`; or of several of them, with commas between.

    Of several sets the pairs have names ``SET--NAME`` and the trait ``set``.

    Args:
        pairs: the folder, or the set's name.
        drawn: folder where the frames of drawn pairs are kept.
        limit: only so many of each set, spread evenly; None for all.

    Raises:
        AnaMoDiffError: there are none, or two sets have one name.
    """
    sets = split_sets(pairs)
    if len(sets) == 1:
        return _pairs_of(sets[0], drawn, limit)
    labels = [name if name in DRAWN_SETS else Path(name).resolve().name for name in sets]
    if len(set(labels)) < len(labels):
        raise AnaMoDiffError(
            f"expected sets of different names, got {', '.join(sets)}: rename a folder"
        )
    return [
        replace(pair, name=f"{label}--{pair.name}", traits=pair.traits | {"set": label})
        for label, name in zip(labels, sets, strict=True)
        for pair in _pairs_of(name, drawn / label, limit)
    ]


def split_sets(pairs: str | Path) -> list[str]:
    """Names of sets and folders with commas between them; a folder's name may have some itself."""
    text = str(pairs)
    return [text] if Path(text).is_dir() else [name for name in text.split(",") if name] or [text]


def check_sets(pairs: str | Path, output: str | Path | None = None) -> None:
    """Refuse, without reading clips, what `find_pairs` would find no pairs in.

    And a folder of results whose files would lie among theirs.
    """
    sets = [Path(name) for name in split_sets(pairs) if name not in DRAWN_SETS]
    for path in sets:
        _folders(path)
    check_apart(output, sets)


def check_apart(output: str | Path | None, inputs: Iterable[Path]) -> None:
    """Refuse a folder of results that is, or lies in, one of the folders of clips."""
    if output is None:
        return
    folder = expanded(output)
    for own in filter(Path.is_dir, inputs):
        check_no_input(folder / "pairs", (own,))  # where results lie
        if folder.resolve().is_relative_to(own.resolve()):
            raise AnaMoDiffError(
                f"expected an --output that is none of the inputs, got {output}, which is or lies "
                f"in {own}, a folder of clips: name another"
            )


def _pairs_of(name: str, drawn: Path, limit: int | None) -> list[BenchmarkPair]:
    if name in DRAWN_SETS:
        return list(drawn_pairs(drawn, name, limit))
    return _spread(list(folder_pairs(Path(name))), limit)


def folder_pairs(folder: Path) -> Iterator[BenchmarkPair]:
    """Pairs `NAME/source.*`, `driving.*`, `truth.*` and `meta.json` with `source_caption`."""
    for path in _folders(folder):
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


def _folders(folder: Path) -> list[Path]:
    """The folders of pairs in a folder, which has to hold some."""
    found = sorted(path.parent for path in folder.glob("*/driving*"))
    found = list(dict.fromkeys(path for path in found if _file(path, "truth")))
    if not found:
        raise AnaMoDiffError(
            f"expected pairs (NAME/source.mp4, driving.mp4, truth.mp4) in {folder}, found none: "
            "name a folder laid out like that, or creatures for drawn ones"
        )
    return found


def drawn_pairs(
    folder: Path, name: str = "creatures", limit: int | None = None
) -> Iterator[BenchmarkPair]:
    """The pairs of one of the `DRAWN_SETS`; what they are is in `drawn.plans`.

    Those of `OUTDOORS` are filmed on textured grounds with a drifting camera; the truth stays on
    white. Frames are written losslessly under `folder`, unless they are there. `limit` draws only
    so many, spread evenly.
    """
    from anamodiff.video.clip import write_frames
    from anamodiff.video.letterbox import from_pixels

    outdoors = name == OUTDOORS
    for plan in _spread(plans(name), limit):
        pair = plan.draw()
        clips = {clip: getattr(pair, clip).frames for clip in CLIPS}
        if outdoors:
            clips = _filmed(pair, plan.number)
        files = {clip: folder / plan.name / clip for clip in clips}
        for clip, path in files.items():
            if not path.is_dir():
                write_frames(path, from_pixels(clips[clip]))
        yield BenchmarkPair(
            plan.name, **files, prompt=pair.source_caption, driving_prompt=pair.driving_caption,
            traits={
                "motion": plan.motion, "start_pose": plan.start, "proportions": "different",
            },
            joints=known_joints(pair, at_a_distance=outdoors),
        )  # fmt: skip


def known_joints(pair: Pair, *, at_a_distance: bool) -> KnownJoints:
    """Joints of a drawn pair's truth and driving clip.

    Args:
        at_a_distance: as outdoor pairs show them; those of the driving clip without its camera.
    """
    from anamodiff.evaluation.tracklets import KnownJoints

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
