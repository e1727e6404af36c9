"""Methods of a benchmark: ours, its ablations, its rivals, and clips made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.baseline import JOKR, Baseline, is_rival
from anamodiff.evaluation.pairs import BenchmarkPair
from anamodiff.fields import Options
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.sampling import sample
from anamodiff.options import GenerationOptions, TuningOptions
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.progress import timed
from anamodiff.tuning.loop import tune
from anamodiff.unet3d.lora import is_temporal
from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.find import find_clips


@dataclass(frozen=True)
class Task:
    """One pair for a method: source and driving clip, read on the backbone's canvas.

    Attributes:
        timings: seconds of its stages, which a method may note; ``tuning`` is what it learns from
            this pair.
    """

    pair: BenchmarkPair
    source: Clip
    driving: Clip
    seed: int
    timings: dict[str, float] = field(default_factory=dict)


class Method(Protocol):
    """A method: `run` gives the result's frames f c H W in [-1, 1] on the backbone's canvas."""

    def run(self, mover: MotionTransfer, task: Task) -> Tensor: ...


@dataclass(frozen=True)
class Still:
    """The source's first frame, repeated: the baseline without motion."""

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        subjects = mover.cut(task.source, task.driving, mover.resolve().adaptation)
        zoom, frames = subjects.source.zoom, subjects.source.clip.frames[:1]
        return (zoom.leave(frames) if zoom else frames).expand_as(task.driving.frames)


@dataclass(frozen=True)
class WarpOnly:
    """`W_I`, the decoded warped intermediate: LOFNet without diffusion."""

    start_frame: str | int = "first"

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        options = mover.resolve().adaptation
        subjects = mover.cut(task.source, task.driving, options)
        warped = mover.warp(subjects, options, self.start_frame)
        frames = mover.backbone.decode(warped.warped).cpu()
        return ClipPair.of(warped, subjects).whole(frames)


@dataclass(frozen=True)
class FullMethod:
    """A user's transfer with the backbone's settings, or with others for an ablation.

    Attributes:
        tuning, generation: settings in the place of the backbone's.
        picture: use only the source's first frame (Figure 8).
        start_frame: the source frame that is warped, as for `anamodiff.transfer`.
        preset: as for `anamodiff.transfer`.
    """

    kind: ClassVar[str] = "AnaMoDiff"  # in results on disk

    tuning: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    picture: bool = False
    start_frame: str | int = "first"
    preset: str | None = None

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        source = task.source
        if self.picture:
            source = source.first()
        with TemporaryDirectory(prefix="anamodiff-") as folder:
            result = mover.transfer(
                source, task.driving, prompt=task.pair.prompt, output=Path(folder, "run"),
                frames=len(task.driving.frames), seed=task.seed, start_frame=self.start_frame,
                preset=self.preset, tuning=self.tuning, generation=self.generation,
                progress=False,
            )  # fmt: skip
        task.timings.update(result.timings)
        return result.canvas


@dataclass(frozen=True)
class TuneAVideo:
    """Tune-A-Video: tuned on the driving clip, inverted, and sampled with the source's prompt.

    As published, the full weights of the queries and the temporal attention are trained, at one
    rate, and inversion has an empty prompt. The published iterations and learning rate (500, 3e-5)
    are kept in their ratio to the paper's (250, 5e-4).

    Attributes:
        iterations, lr: as multiples of ours.
        guidance: classifier-free guidance scale.
    """

    iterations: float = 2.0
    lr: float = 0.06
    guidance: float = 7.5

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        backbone, pair, seed = mover.backbone, task.pair, task.seed
        resolved = mover.resolve()
        ours = resolved.tuning
        options = replace(
            ours, warped_weight=0.0, lr=self.lr * ours.lr, temporal_lr=1.0,
            iterations=round(self.iterations * ours.iterations),
            window=len(task.driving.frames),
        )  # fmt: skip
        steps = resolved.generation.steps
        subjects = mover.cut(task.source, task.driving, resolved.adaptation)
        latents = backbone.encode(subjects.driving.clip.frames)
        unet = mover.method.inflate(options).to(backbone.precision.tuning)
        train_as_published(unet)
        driving, wanted, empty = backbone.embed([pair.driving_prompt, pair.prompt, ""]).split(1)
        with timed(task.timings, "tuning"):
            tune(unet, latents, latents, driving, backbone.schedule, options, seed=seed)
        unet.to(backbone.precision.sampling)
        clip = latents.transpose(0, 1)[None]  # b c f h w
        noise = ddim_invert(unet, clip, embedding=empty, schedule=backbone.schedule, steps=steps)
        sampled = sample(
            unet, noise, embedding=wanted, negative=empty, guidance=self.guidance,
            schedule=backbone.schedule, steps=steps,
        )  # fmt: skip
        return backbone.decode(sampled[0].transpose(0, 1)).cpu()


@dataclass(frozen=True)
class Folder:
    """Clips made elsewhere, files or folders of frames named after the pairs."""

    path: Path

    def run(self, mover: MotionTransfer, task: Task) -> Tensor:
        name, wanted = task.pair.name, task.driving.frames
        files = [clip for clip in find_clips(self.path) if clip.stem == name]
        if not files:
            raise AnaMoDiffError(
                f"expected a clip named {name} in {self.path}, found none: add {name}.mp4"
            )
        clip = read_clip(files[0], frames=len(wanted), size=wanted.shape[-1], role="result")
        if clip.frames.shape != wanted.shape:
            raise AnaMoDiffError(
                f"expected {len(wanted)} frames in {files[0]}, got {len(clip.frames)}: "
                "make it as long as the driving clip"
            )
        return clip.frames


def _from_noise(**tuning: Any) -> FullMethod:
    """From noise alone, as in the paper: all timesteps are sampled, and the source learnt at all.

    No detail comes from the warped clip, for these methods are about what noise alone keeps.

    A backbone whose own sampling starts later may recommend narrower ranges.
    """
    source = {"source_noise_min": 0, "source_noise_max": 1000}
    return FullMethod(tuning=source | tuning, generation={"denoise_from": 1000, "detail": 0.0})


def _noise(low: int) -> FullMethod:
    """Timesteps of `D_W` from `low` to 1000 (Figure 7)."""
    return _from_noise(noise_min=low, noise_max=1000)


METHODS: dict[str, Method] = {
    "anamodiff": FullMethod(),
    "still": Still(),
    "warp-only": WarpOnly(),
    "tune-a-video": TuneAVideo(),
    "tps": Baseline("tps"),
    "fomm": Baseline("fomm"),
    "jokr": JOKR(),
    "no-warped": FullMethod(tuning={"warped_weight": 0.0}),
    "no-tuning": FullMethod(tuning={"iterations": 0}),
    # Figure 7: nothing of Z_WI, neither in the loss nor where denoising starts.
    "no-warped-from-noise": _from_noise(warped_weight=0.0),
    "noise-0": _noise(0),
    "noise-400": _noise(400),
    "noise-800": _noise(800),
    "noise-850": _noise(850),
    "noise-900": _noise(900),
    "preset-paper": FullMethod(preset="paper"),
    "preset-fast": FullMethod(preset="fast"),
    "one-frame": FullMethod(picture=True),
    "auto-start": FullMethod(start_frame="auto"),
    "warp-auto-start": WarpOnly(start_frame="auto"),
}


def split_names(methods: str | Sequence[str], more: str | None = None) -> list[str]:
    """Names of methods, from one text with commas or several names; `more` is such a text too."""
    words = methods.split(",") if isinstance(methods, str) else list(methods)
    return [*words, *(more.split(",") if more else [])]


def choose_methods(words: list[str]) -> dict[str, Method]:
    """Methods by name, and `NAME=PATH`: clips made elsewhere, a rival, or other settings of ours.

    The path is a folder of clips, a rival's weights (a folder of `scripts/train_baseline.py`, or a
    published checkpoint), or a JSON file of settings laid out as a backbone's `anamodiff.json`:
    `{"tuning": {...}, "generation": {...}}`.

    Raises:
        AnaMoDiffError: an unknown name, a path that is not there, settings that are not right, or
            nothing chosen.
    """
    chosen: dict[str, Method] = {}
    for word in words:
        name, has_path, path = word.partition("=")
        if has_path and not (name.isidentifier() or name.replace("-", "_").isidentifier()):
            raise AnaMoDiffError(
                f"expected a name of letters, digits and dashes before =, got {name!r}"
            )
        if has_path and name in METHODS:
            raise AnaMoDiffError(f"expected a new name for {path}, {name} is a method of ours")
        if not has_path and name not in METHODS:
            raise AnaMoDiffError(
                f"expected methods among {', '.join(METHODS)}, or NAME=PATH, got {name!r}"
            )
        method = _from_path(name, Path(path)) if has_path else METHODS[name]
        if isinstance(method, Baseline):
            method.facts()  # says at once where there are no weights
        chosen[name] = method
    if not chosen:
        raise AnaMoDiffError("expected at least one method, got none")
    return chosen


def _from_path(name: str, path: Path) -> Method:
    """Clips of a folder, a rival's weights, or this method with the settings of a JSON file."""
    if is_rival(path):
        return Baseline(weights=path)
    if path.is_dir():
        return Folder(path)
    if path.suffix != ".json" or not path.is_file():
        raise AnaMoDiffError(
            f"expected a folder of clips, a rival's weights, or a JSON file of settings for method "
            f"{name}, got {path}"
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise AnaMoDiffError(f"expected JSON in {path}, got {error}: correct it") from error
    stages: dict[str, type[Options]] = {"tuning": TuningOptions, "generation": GenerationOptions}
    if not isinstance(settings, dict) or not settings.keys() <= stages.keys():
        raise AnaMoDiffError(
            f'expected {{"tuning": {{...}}, "generation": {{...}}}} in {path}, got '
            f"{', '.join(settings) if isinstance(settings, dict) else settings!r}"
        )
    checked = {key: stages[key].checked(value) for key, value in settings.items()}
    return FullMethod(tuning=checked.get("tuning", {}), generation=checked.get("generation", {}))


def described(method: Method) -> dict[str, Any]:
    """Kind and settings of a method, as plain values for a result's record."""
    settings = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(method).items()}
    facts = method.facts() if isinstance(method, Baseline) else {}
    return {"kind": getattr(method, "kind", type(method).__name__), **settings, **facts}


def train_as_published(unet: nn.Module) -> None:
    """Freeze all but what Tune-A-Video trains: `attn1.to_q`, `attn2.to_q`, temporal attention."""
    queries = ("attn1.to_q.weight", "attn2.to_q.weight")
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(is_temporal(name) or name.endswith(queries))
