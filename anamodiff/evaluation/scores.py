"""Measures of one result: with the truth, the source, a prompt, CLIP (`anamodiff evaluate`)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from anamodiff.backbone.model import choose_device
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation import metrics
from anamodiff.evaluation.clip_model import (
    DEFAULT_CLIP_MODEL,
    Embedder,
    clip_identity,
    clip_image,
    clip_pairs,
    clip_text,
    describe,
    find_clip_model,
    sum_over_ten,
    times_ten,
)
from anamodiff.options import FRAMES
from anamodiff.resources import expanded
from anamodiff.run.folder import CONFIG, RunFolder, check_writable, write_text
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.outputs import check_no_input
from anamodiff.video.clip import read_clip

LARGEST = 512  # pixels: the paper's frames
# Each measure by name: its title, and what it compares.
TITLES = {
    "foreground_iou": ("foreground IoU", "motion: with the truth's foreground; 1 is best"),
    "masked_ssim": ("SSIM inside", "in the union of the foregrounds; 1 is best"),
    "masked_psnr": ("PSNR inside", "likewise, in dB; higher is better"),
    "truth_distance": ("truth distance", "Lab, where both foregrounds are; 0 is best"),
    "flicker": ("flicker", "changes unlike the truth's, in levels of 255; 0 is best"),
    "colour_distance": ("colour distance", "Lab, to the source's colours; 0 is best"),
    "clip_image": ("CLIP-Image", "first frame with each later one, mean cosine"),
    "clip_image_times_ten": ("CLIP-Image, mean x 10", "the same, times ten"),
    "clip_image_sum_over_ten": (
        "CLIP-Image, sum over ten frames",
        "first frame with each of ten, itself included",
    ),
    "clip_text": ("CLIP-Text", "each frame with the text, mean cosine"),
    "clip_text_times_ten": ("CLIP-Text, mean x 10", "the same, times ten"),
    "clip_text_sum_over_ten": ("CLIP-Text, sum over ten frames", "ten frames with the text"),
    "clip_pairs": ("CLIP all pairs", "each two distinct frames, mean cosine"),
    "clip_identity": ("CLIP identity", "each frame with each of the source's, mean cosine"),
}
AGAINST_TRUTH = {
    "foreground_iou": metrics.foreground_iou,
    "masked_ssim": metrics.masked_ssim,
    "masked_psnr": metrics.masked_psnr,
    "truth_distance": metrics.truth_distance,
    "flicker": metrics.flicker,
}


@dataclass(frozen=True)
class Case:
    """A result and what it is measured against; frames f c h w, RGB in [-1, 1].

    Result and truth have one shape; the source's frames may be of any number and size.
    """

    frames: Tensor
    source: Tensor | None = None
    truth: Tensor | None = None
    prompt: str | None = None


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
        output: the JSON file, if one was written.
    """

    measures: dict[str, float]
    frames: int
    size: int
    clip_model: str | None
    text: str | None
    skipped: tuple[str, ...]
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
            title, words = TITLES[name]
            lines.append(f"  {title:<{width}}  {value:>8.4f}  {words}")
        return lines + [f"not measured: {line}" for line in self.skipped]

    def save(self, path: str | Path) -> Path:
        """Write the measures and what they were made of as JSON; null for what is not finite."""
        path = expanded(path)
        finite = {k: v if math.isfinite(v) else None for k, v in self.measures.items()}
        facts = {
            "measures": finite, "frames": self.frames, "size": self.size,
            "clip_model": self.clip_model, "text": self.text, "not_measured": self.skipped,
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return path


def evaluate(
    result: str | Path,
    *,
    source: str | Path | None = None,
    truth: str | Path | None = None,
    prompt: str | None = None,
    clip_model: str = "auto",
    output: str | Path | None = None,
    frames: int = FRAMES,
    size: int | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure a result with whatever is given: the truth, the source, a prompt, a CLIP model.

    Args:
        result: a video file, a folder of frames, or a run folder that `transfer` wrote, whose
            source and prompt are used where no others are given.
        source: clip or picture of the character, for colours and identity.
        truth: ground truth, a clip of the same character in that motion; frames are paired by
            playing time.
        prompt: a few words for the source, such as "a turtle", for CLIP-Text.
        clip_model: folder or hub id; `none` leaves CLIP's measures out, `auto` takes
            `DEFAULT_CLIP_MODEL` if it is cached or can be fetched and else leaves them out.
        output: a .json file for the figures.
        frames: how many are sampled from result and source, evenly; all of a shorter one.
        size: pixels of the square canvas on which all are compared; None: the result's longer
            side (a run's: the backbone's size), at most 512.
        device: `auto`, or a torch device, for CLIP.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    path = None if output is None else _check_output(output)
    check_no_input(path, (result, source, truth))
    place = choose_device(device)
    case = read_case(result, source=source, truth=truth, prompt=prompt, frames=frames, size=size)
    embedder, reason = choose_embedder(clip_model, place)
    found = Evaluation(
        measures=measure(case, embedder),
        frames=len(case.frames),
        size=case.frames.shape[-1],
        clip_model=embedder and embedder.name,
        text=describe(case.prompt) if embedder and case.prompt else None,
        skipped=_skipped(case, reason),
        output=path,
    )
    if path is not None:
        found.save(path)
    return found


def measure(case: Case, embedder: Embedder | None = None) -> dict[str, float]:
    """All measures, by name, that can be computed of the case with the CLIP model."""
    measures: dict[str, float] = {}
    if case.truth is not None:
        measures |= {name: how(case.frames, case.truth) for name, how in AGAINST_TRUTH.items()}
    if case.source is not None:
        measures["colour_distance"] = metrics.colour_distance(case.frames, case.source)
    return measures | (_clip_measures(case, embedder) if embedder else {})


def _clip_measures(case: Case, embedder: Embedder) -> dict[str, float]:
    own = embedder.embed_frames(case.frames)
    image = clip_image(own)
    measures = {
        "clip_image": image,
        "clip_image_times_ten": times_ten(image),
        "clip_image_sum_over_ten": sum_over_ten(image, itself=True),
    }
    if case.prompt is not None:
        text = clip_text(own, embedder.embed_text(describe(case.prompt)))
        measures["clip_text"] = text
        measures["clip_text_times_ten"] = times_ten(text)
        measures["clip_text_sum_over_ten"] = sum_over_ten(text, itself=False)
    measures["clip_pairs"] = clip_pairs(own)
    if case.source is not None:
        source = embedder.embed_frames(case.source)
        measures["clip_identity"] = clip_identity(own, source)
    return measures


def read_case(
    result: str | Path,
    *,
    source: str | Path | None = None,
    truth: str | Path | None = None,
    prompt: str | None = None,
    frames: int = FRAMES,
    size: int | None = None,
) -> Case:
    """Read a result and the clips it is measured against on one square canvas; see `evaluate`."""
    own = known = None
    if (expanded(result) / CONFIG).is_file():
        result, own, known = _read_run(expanded(result))
        size = size or own.shape[-1]
    first = read_clip(result, frames=2, minimum=2, role="result")
    size = size or min(LARGEST, max(first.frames.shape[-2:]))
    paired = {"frames": min(frames, first.total), "size": size, "minimum": 2}
    if source is not None:
        total = read_clip(source, frames=1, role="source").total
        own = read_clip(source, frames=min(frames, total), size=size, role="source").frames
    return Case(
        frames=read_clip(result, role="result", **paired).frames,
        source=own,
        truth=None if truth is None else read_clip(truth, role="truth", **paired).frames,
        prompt=prompt or known,
    )


def _read_run(folder: Path) -> tuple[Path, Tensor, str]:
    """A run's folder of frames, its source's frames, and its prompt."""
    pictures = folder / "frames"  # not the video, which is lossy
    if not pictures.is_dir():
        raise AnaMoDiffError(
            f"expected a finished run, got {folder} without frames/: run anamodiff generate "
            f"--run {folder} first"
        )
    # Not the source's path, which may have been relative, or the file is gone.
    source = ClipPair.load(folder).warped.source
    return pictures, source, RunFolder.load(folder).settings["prompt"]


def choose_embedder(name: str, device: torch.device) -> tuple[Embedder | None, str | None]:
    """The CLIP model of a name or, for `none` and where `auto` finds none, None and the reason."""
    if name == "none":
        return None, "CLIP's measures: --clip-model none"
    if name != "auto":
        return Embedder.load(name, device=device), None
    try:
        find_clip_model(DEFAULT_CLIP_MODEL)
    except AnaMoDiffError:
        return None, (
            f"CLIP's measures: {DEFAULT_CLIP_MODEL} is neither cached nor to be fetched here; "
            "name a folder with --clip-model"
        )
    return Embedder.load(DEFAULT_CLIP_MODEL, device=device), None


def _skipped(case: Case, reason: str | None) -> tuple[str, ...]:
    """What was not measured, and why, a line each."""
    lines = [reason] if reason else []
    if case.truth is None:
        lines.append("what compares with the truth: no --truth")
    if case.source is None:
        lines.append(f"colour distance{'' if reason else ' and CLIP identity'}: no --source")
    if case.prompt is None and not reason:
        lines.append("CLIP-Text: no --prompt")
    return tuple(lines)


def _check_output(output: str | Path) -> Path:
    """Refuse an output that is no JSON file before anything is computed."""
    path = expanded(output)
    if path.suffix.lower() != ".json" or path.is_dir():
        raise AnaMoDiffError(
            f"expected a JSON file for --output, got {path}: name one such as figures.json"
        )
    check_writable(path)
    return path
