"""All measures of one result that can be made of what is known about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anamodiff.creatures.skeleton import SEEN
from anamodiff.evaluation import metrics
from anamodiff.evaluation.catalogue import in_order
from anamodiff.evaluation.clip_model import (
    Embedder,
    appearance_consistency,
    clip_identity,
    clip_image,
    clip_pairs,
    clip_text,
    describe,
    sum_over_ten,
    temporal_consistency,
    times_ten,
)
from anamodiff.evaluation.instruments import Instruments
from anamodiff.evaluation.motion import Directions, body_sides, motion_fidelity, pck
from anamodiff.evaluation.tracklets import (
    BY_JOINTS,
    EXACT,
    KnownJoints,
    PointTracker,
    TrackerKind,
    Tracklets,
)
from anamodiff.lofnet.skeletal import CERTAIN

AGAINST_TRUTH = {
    "foreground_iou": metrics.foreground_iou,
    "masked_ssim": metrics.masked_ssim,
    "masked_psnr": metrics.masked_psnr,
    "truth_distance": metrics.truth_distance,
    "flicker": metrics.flicker,
}
CONSISTENCY = ("appearance_consistency", "temporal_consistency")
SURE = 0.5  # least confidence of a joint found in the truth for it to count


@dataclass(frozen=True)
class Case:
    """A result and what it is measured against; frames f c h w, RGB in [-1, 1].

    Result, truth and driving clip have equally many frames, result and truth one shape; the
    source's frames may be of any number and size. `joints` are those of a drawn pair. `cut` is the
    same with textured grounds replaced by white, for what looks at the characters alone; None where
    all grounds are plain.
    """

    frames: Tensor
    source: Tensor | None = None
    truth: Tensor | None = None
    prompt: str | None = None
    driving: Tensor | None = None
    joints: KnownJoints | None = None
    cut: Case | None = None


@dataclass
class Measured:
    """What `measure` found.

    Attributes:
        values: by name; NaN where there is nothing to measure.
        tools: what a measure was made with, by its name: tracker, detector, model.
        skipped: why a measure is missing, by its name.
        remarks: on values that need one, likewise.
    """

    values: dict[str, float] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)


def measure(case: Case, instruments: Instruments | None = None) -> Measured:
    """All measures that can be made of the case with the instruments; without any, of pixels."""
    with_ = instruments or Instruments()
    found = Measured()
    cut = case.cut or case
    if cut.truth is not None:
        found.values |= {name: of(cut.frames, cut.truth) for name, of in AGAINST_TRUTH.items()}
    if case.truth is not None:
        _add_lpips(found, case.frames, case.truth, with_)
    if cut.source is not None:
        found.values["colour_distance"] = metrics.colour_distance(cut.frames, cut.source)
    if with_.tracker is not None:
        _add_fidelity(found, cut, with_.tracker)
        if cut.truth is not None:
            _add_pck(found, cut, cut.truth, with_.tracker)
    if with_.embedder is not None:
        _add_clip(found, case, with_.embedder)
    elif "clip" in with_.missing:
        found.skipped |= dict.fromkeys(CONSISTENCY, with_.missing["clip"])
    found.values = in_order(found.values)
    return found


def _add_lpips(found: Measured, frames: Tensor, truth: Tensor, instruments: Instruments) -> None:
    if instruments.lpips is not None:
        found.values["lpips"] = instruments.lpips.distance(frames, truth)
        found.tools["lpips"] = instruments.lpips.name
    elif "lpips" in instruments.missing:
        found.skipped["lpips"] = instruments.missing["lpips"]


def _add_fidelity(found: Measured, case: Case, tracker: PointTracker) -> None:
    """Motion Fidelity to the truth and to the driving clip."""
    # What follows the result's points is chosen without looking at them, alike for all methods.
    character = next((x for x in (case.truth, case.source) if x is not None), case.frames)
    kind = _kind(tracker, character)
    references: dict[str, Tracklets] = {}
    if case.truth is not None:
        known = case.joints and Tracklets.of_joints(case.joints.truth)
        references["truth"] = known or tracker.follow(case.truth, kind)
    if case.driving is not None:
        known = case.joints and Tracklets.of_joints(case.joints.driving)
        references["driving"] = known or tracker.follow(case.driving, _kind(tracker, case.driving))
    if not references:
        return
    own = tracker.follow(case.frames, kind)
    ours = Directions.of(own)
    for role, reference in references.items():
        name = f"motion_fidelity_{role}"
        value = found.values[name] = motion_fidelity(own, reference)
        found.tools[name] = f"result: {own.tracker}; {_WORDS[role]}: {reference.tracker}"
        if math.isnan(value):
            lost = "result" if ours.lost else Directions.of(reference).lost and _WORDS[role]
            why = f"no point of the {lost} could be followed" if lost else (
                f"nothing moves in the {_WORDS[role]}"
            )  # fmt: skip
            found.remarks[name] = f"{why}: there is no value"
        elif not len(ours):
            found.remarks[name] = "nothing moves in the result: the value is 0"


_WORDS = {"truth": "truth", "driving": "driving clip"}


def _kind(tracker: PointTracker, frames: Tensor) -> TrackerKind:
    """Joints where they are asked for and surely found, else optical flow."""
    if tracker.kind == "joints" and tracker.joints(frames).certainty() >= CERTAIN:
        return "joints"
    return "flow"


def _add_pck(found: Measured, case: Case, truth: Tensor, tracker: PointTracker) -> None:
    wanted = _named_joints(case, truth, tracker)
    if wanted is None:
        found.skipped["pck"] = "the truth shows no named joints"
        return
    places, counted, by = wanted
    own = tracker.joints(case.frames).place
    value = found.values["pck"] = pck(own, places, counted, body_sides(truth))
    detector = f"{BY_JOINTS} {tracker.version}"
    found.tools["pck"] = f"result: {detector}; truth: {by or detector}"
    if math.isnan(value):
        found.remarks["pck"] = "no named joint is seen in the truth: there is no value"


def _named_joints(
    case: Case, truth: Tensor, tracker: PointTracker
) -> tuple[Tensor, Tensor, str | None] | None:
    """The truth's joints ``f j 2``, which of them count, ``f j``, and how they are known; None
    where it has none."""
    if case.joints is not None:
        counted = torch.from_numpy(case.joints.visibility == SEEN)
        return (torch.from_numpy(case.joints.named), counted, EXACT) if counted.any() else None
    joints = tracker.joints(truth)
    if joints.certainty() < CERTAIN:
        return None
    seen = joints.presence.argmax(dim=-1) == SEEN
    return joints.place, seen & (joints.confidence >= SURE) & (joints.trust() > 0), None


def _add_clip(found: Measured, case: Case, embedder: Embedder) -> None:
    own = embedder.embed_frames(case.frames)
    image = clip_image(own)
    found.values |= {
        "clip_image": image,
        "clip_image_times_ten": times_ten(image),
        "clip_image_sum_over_ten": sum_over_ten(image, itself=True),
        "clip_pairs": clip_pairs(own),
        "temporal_consistency": temporal_consistency(own),
    }
    if case.prompt is not None:
        text = clip_text(own, embedder.embed_text(describe(case.prompt)))
        found.values["clip_text"] = text
        found.values["clip_text_times_ten"] = times_ten(text)
        found.values["clip_text_sum_over_ten"] = sum_over_ten(text, itself=False)
    if case.source is not None:
        source = embedder.embed_frames(case.source)
        found.values["clip_identity"] = clip_identity(own, source)
        found.values["appearance_consistency"] = appearance_consistency(own, source[:1])
    found.tools |= {name: embedder.name for name in CONSISTENCY if name in found.values}
