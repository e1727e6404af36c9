"""Measures of one result: with the truth, the source, a prompt, CLIP (`anamodiff evaluate`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from anamodiff.backbone.model import choose_device
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.catalogue import TITLES, title
from anamodiff.evaluation.clip_model import describe
from anamodiff.evaluation.grounds import PlainGrounds
from anamodiff.evaluation.inputs import check_evaluation
from anamodiff.evaluation.instruments import Instruments
from anamodiff.evaluation.measure import CONSISTENCY, Case, Measured, measure
from anamodiff.evaluation.tracklets import TrackerKind
from anamodiff.options import FRAMES
from anamodiff.resources import expanded
from anamodiff.run.folder import CONFIG, RunFolder, write_text
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.clip import Clip, read_clip

LARGEST = 512  # pixels: the paper's frames


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        measures: values by name, such as `foreground_iou`; NaN where there was no foreground.
        frames: how many frames of the result were measured.
        size: pixels along the side of the square frames.
        clip_model: name or folder of the CLIP model; None without one.
        text: what CLIP-Text compared the frames with; None without a prompt.
        skipped: what was not measured, and why, a line each.
        tools: what a measure was made with, such as the tracker of Motion Fidelity, by its name.
        remarks: on values that need one, likewise.
        output: the JSON file, if one was written.
    """

    measures: dict[str, float]
    frames: int
    size: int
    clip_model: str | None
    text: str | None
    skipped: tuple[str, ...]
    tools: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    output: Path | None = None

    @property
    def lines(self) -> list[str]:
        """The table of all measures, with what they were made of."""
        lines = [f"measured: {self.frames} frames of {self.size}x{self.size} pixels"]
        if self.clip_model is not None:
            lines.append(f"CLIP model: {self.clip_model}")
        if self.text is not None:
            lines.append(f'CLIP-Text\'s text: "{self.text}"')
        width = max((len(TITLES[name][0]) for name in self.measures), default=0)
        for name, value in self.measures.items():
            words = TITLES[name][1]
            lines.append(f"  {title(name):<{width}}  {value:>8.4f}  {words}")
        notes = [
            f"{title(name)}: {words}"
            for name, words in (*self.tools.items(), *self.remarks.items())
            if name not in CONSISTENCY  # their model is named above
        ]
        return lines + notes + [f"not measured: {line}" for line in self.skipped]

    def save(self, path: str | Path) -> Path:
        """Write the measures and what they were made of as JSON; null for what is not finite."""
        path = expanded(path)
        finite = {k: v if math.isfinite(v) else None for k, v in self.measures.items()}
        facts = {
            "measures": finite, "frames": self.frames, "size": self.size,
            "clip_model": self.clip_model, "text": self.text, "not_measured": self.skipped,
            "measured_with": dict(self.tools), "remarks": dict(self.remarks),
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return path


def evaluate(
    result: str | Path,
    *,
    source: str | Path | None = None,
    truth: str | Path | None = None,
    driving: str | Path | None = None,
    prompt: str | None = None,
    clip_model: str = "auto",
    tracker: TrackerKind = "flow",
    output: str | Path | None = None,
    frames: int = FRAMES,
    size: int | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure a result with whatever is given: truth, source, driving clip, prompt, a CLIP model.

    Args:
        result: a video file, a folder of frames, or a run folder that `transfer` wrote, whose
            source, driving clip and prompt are used where no others are given.
        source: clip or picture of the character, for colours and identity.
        truth: ground truth, a clip of the same character in that motion; frames are paired by
            playing time.
        driving: the clip whose motion the result is to have, for Motion Fidelity; likewise.
        prompt: a few words for the source, such as "a turtle", for CLIP-Text.
        clip_model: folder or hub id; `none` leaves CLIP's measures out, `auto` takes
            `DEFAULT_CLIP_MODEL` if it is cached or can be fetched and else leaves them out.
        tracker: what Motion Fidelity's points are followed by: optical flow, or the joint detector
            where it is sure of the characters.
        output: a .json file for the figures.
        frames: how many are sampled from result and source, evenly; all of a shorter one.
        size: pixels of the square canvas on which all are compared; None: the result's longer
            side (a run's: the backbone's size), at most 512.
        device: `auto`, or a torch device, for CLIP, LPIPS and the joint detector.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    check_evaluation(result, source, truth, driving, output)
    path = None if output is None else expanded(output)
    place = choose_device(device)
    case = read_case(
        result, source=source, truth=truth, driving=driving, prompt=prompt, frames=frames,
        size=size, device=place,
    )  # fmt: skip
    instruments = Instruments.load(clip_model, place, tracker)
    embedder = instruments.embedder
    measured = measure(case, instruments)
    found = Evaluation(
        measures=measured.values,
        frames=len(case.frames),
        size=case.frames.shape[-1],
        clip_model=embedder and embedder.name,
        text=describe(case.prompt) if embedder and case.prompt else None,
        skipped=_skipped(case, measured, instruments.missing.get("clip")),
        tools=measured.tools,
        remarks=measured.remarks,
        output=path,
    )
    if path is not None:
        found.save(path)
    return found


def read_case(
    result: str | Path,
    *,
    source: str | Path | None = None,
    truth: str | Path | None = None,
    driving: str | Path | None = None,
    prompt: str | None = None,
    frames: int = FRAMES,
    size: int | None = None,
    device: torch.device | None = None,
) -> Case:
    """Read a result and the clips it is measured against on one square canvas; see `evaluate`."""
    own = known = motion = None
    clips: dict[str, Clip] = {}
    if (expanded(result) / CONFIG).is_file():
        result, own, motion, known = _read_run(expanded(result))
        size = size or own.shape[-1]
    first = read_clip(result, frames=2, minimum=2, role="result")
    size = size or min(LARGEST, max(first.frames.shape[-2:]))
    paired = {"frames": min(frames, first.total), "size": size, "minimum": 2}
    if source is not None:
        total = read_clip(source, frames=1, role="source").total
        clips["source"] = read_clip(source, frames=min(frames, total), size=size, role="source")
        own = clips["source"].frames
    clips["frames"] = shown = read_clip(result, role="result", **paired)
    if driving is not None:
        clips["driving"] = read_clip(driving, role="driving clip", **paired)
        motion = clips["driving"].frames
    elif motion is not None:  # one frame of it for each of the run's
        motion = motion[list(shown.indices)] if len(motion) == shown.total else None
    if truth is not None:
        clips["truth"] = read_clip(truth, role="truth", **paired)
    case = Case(
        frames=shown.frames,
        source=own,
        truth=None if truth is None else clips["truth"].frames,
        prompt=prompt or known,
        driving=motion,
    )
    return replace(case, cut=PlainGrounds(device or torch.device("cpu")).case(case, clips))


def _read_run(folder: Path) -> tuple[Path, Tensor, Tensor, str]:
    """A run's folder of frames, its source's and driving clip's frames, and its prompt."""
    pictures = folder / "frames"  # not the video, which is lossy
    if not pictures.is_dir():
        raise AnaMoDiffError(
            f"expected a finished run, got {folder} without frames/: run anamodiff generate "
            f"--run {folder} first"
        )
    # Not the clips' paths, which may have been relative, or the files are gone.
    warped = ClipPair.load(folder).warped
    return pictures, warped.source, warped.driving, RunFolder.load(folder).settings["prompt"]


def _skipped(case: Case, measured: Measured, no_clip: str | None) -> tuple[str, ...]:
    """What was not measured, and why, a line each."""
    lines = []
    if no_clip:
        lines.append(f"CLIP's measures, appearance and temporal consistency: {no_clip}")
    if case.truth is None:
        lines.append("what compares with the truth: no --truth")
    if case.source is None:
        others = "" if no_clip else ", appearance consistency and CLIP identity"
        lines.append(f"colour distance{others}: no --source")
    if case.driving is None:
        lines.append("Motion Fidelity to the driving clip: no --driving")
    if case.prompt is None and not no_clip:
        lines.append("CLIP-Text: no --prompt")
    reasons = measured.skipped.items()
    return (*lines, *(f"{title(name)}: {why}" for name, why in reasons if name not in CONSISTENCY))
