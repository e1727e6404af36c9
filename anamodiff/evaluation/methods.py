"""Ways to answer a benchmark pair: ours, its ablations, the baselines, and clips made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.pairs import BenchmarkPair
from anamodiff.inversion import GenerationOptions, ddim_invert, sample
from anamodiff.pipeline import MotionTransfer
from anamodiff.tuning import tune
from anamodiff.video import Clip, find_clips, read_clip


@dataclass(frozen=True)
class Question:
    """A pair, read: source and driving clip on the backbone's canvas."""

    pair: BenchmarkPair
    source: Clip
    driving: Clip
    seed: int


class Method(Protocol):
    """Answers a question with frames f c H W in [-1, 1] on the backbone's canvas."""

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor: ...


@dataclass(frozen=True)
class Still:
    """The source's first frame, held: what any motion must beat."""

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor:
        return question.source.frames[:1].expand_as(question.driving.frames)


@dataclass(frozen=True)
class WarpOnly:
    """`W_I`, the decoded warped intermediate: LOFNet without diffusion."""

    start_frame: str | int = "first"

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor:
        scene = mover.warp(question.source, question.driving, start_frame=self.start_frame)
        return mover.backbone.decode(scene.warped).cpu()


@dataclass(frozen=True)
class AnaMoDiff:
    """The whole method with the backbone's settings, or with others for an ablation.

    Attributes:
        picture: only the source's first frame is seen (Figure 8).
        start_frame: the source frame that is moved, as for `anamodiff.transfer`.
        preset: a name of `anamodiff.presets`, in the place of what the backbone recommends.
    """

    tuning: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    picture: bool = False
    start_frame: str | int = "first"
    preset: str | None = None

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor:
        mover = mover.with_preset(self.preset) if self.preset else mover
        source = question.source
        if self.picture:
            source = replace(source, frames=source.frames[:1])
        tuning = mover.tuning_options(self.tuning)
        generation = mover.backbone.options(GenerationOptions, self.generation, "generation")
        prompt, seed = question.pair.prompt, question.seed
        scene = mover.warp(source, question.driving, start_frame=self.start_frame)
        unet, _ = mover.fit(scene, prompt, tuning, seed=seed)
        latents = mover.sample(unet, scene, prompt, generation, seed=seed)
        return mover.develop(latents, scene, generation)


@dataclass(frozen=True)
class TuneAVideo:
    """Tune-A-Video: tuned on the driving clip, inverted, and sampled with the source's prompt.

    It trains the queries and the temporal attention whole. Iterations and rate are to ours as the
    published ones (500, 3e-5) are to the paper's (250, 5e-4).
    """

    iterations: float = 2.0
    lr: float = 0.06
    guidance: float = 7.5

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor:
        backbone, pair, seed = mover.backbone, question.pair, question.seed
        ours = mover.tuning_options(None)
        options = replace(
            ours, warped_weight=0.0, lr=self.lr * ours.lr,
            iterations=round(self.iterations * ours.iterations),
            window=len(question.driving.frames),
        )  # fmt: skip
        steps = backbone.options(GenerationOptions, None, "generation").steps
        latents = backbone.encode(question.driving.frames)
        unet = mover.inflate(options.group_norm)
        train_as_published(unet)
        driving, wanted, negative = backbone.embed([pair.driving_prompt, pair.prompt, ""]).split(1)
        tune(unet, latents, latents, driving, backbone.schedule, options, seed=seed)
        unet.to(backbone.dtype)
        clip = latents.transpose(0, 1)[None]  # b c f h w
        noise = ddim_invert(unet, clip, embedding=driving, schedule=backbone.schedule, steps=steps)
        sampled = sample(
            unet, noise, embedding=wanted, negative=negative, guidance=self.guidance,
            schedule=backbone.schedule, steps=steps,
        )  # fmt: skip
        return backbone.decode(sampled[0].transpose(0, 1)).cpu()


@dataclass(frozen=True)
class Folder:
    """Clips made elsewhere: a file or folder of frames named after each pair."""

    path: Path

    def answer(self, mover: MotionTransfer, question: Question) -> Tensor:
        name, wanted = question.pair.name, question.driving.frames
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


def _noise(low: int) -> AnaMoDiff:
    """The noise range of `D_W`, from `low` to 1000 (Figure 7)."""
    return AnaMoDiff(tuning={"noise_min": low, "noise_max": 1000})


METHODS: dict[str, Method] = {
    "anamodiff": AnaMoDiff(),
    "still": Still(),
    "warp-only": WarpOnly(),
    "tune-a-video": TuneAVideo(),
    # Without Z_WI in the loss, nothing of it may enter where denoising starts either.
    "no-warped": AnaMoDiff(tuning={"warped_weight": 0.0}, generation={"denoise_from": 1000}),
    "noise-0": _noise(0),
    "noise-400": _noise(400),
    "noise-800": _noise(800),
    "noise-850": _noise(850),
    "noise-900": _noise(900),
    "preset-paper": AnaMoDiff(preset="paper"),
    "preset-fast": AnaMoDiff(preset="fast"),
    "one-frame": AnaMoDiff(picture=True),
    "auto-start": AnaMoDiff(start_frame="auto"),
    "warp-auto-start": WarpOnly(start_frame="auto"),
}


def split_names(methods: str | Sequence[str], more: str | None = None) -> list[str]:
    """Names of methods from one text with commas, or several names, and perhaps a second text."""
    words = methods.split(",") if isinstance(methods, str) else list(methods)
    return [*words, *(more.split(",") if more else [])]


def choose_methods(words: list[str]) -> dict[str, Method]:
    """Methods by name; `NAME=FOLDER` adds clips made elsewhere under a name.

    Raises:
        AnaMoDiffError: an unknown name, a folder that is not there, or nothing chosen.
    """
    chosen: dict[str, Method] = {}
    for word in words:
        name, is_folder, path = word.partition("=")
        if is_folder and not (name.isidentifier() or name.replace("-", "_").isidentifier()):
            raise AnaMoDiffError(
                f"expected a name of letters, digits and dashes before =, got {name!r}"
            )
        if is_folder and not Path(path).is_dir():
            raise AnaMoDiffError(f"expected a folder of clips for method {name}, got {path}")
        if is_folder and name in METHODS:
            raise AnaMoDiffError(f"expected a new name for {path}, {name} is a method of ours")
        if not is_folder and name not in METHODS:
            raise AnaMoDiffError(
                f"expected methods among {', '.join(METHODS)}, or NAME=FOLDER, got {name!r}"
            )
        chosen[name] = Folder(Path(path)) if is_folder else METHODS[name]
    if not chosen:
        raise AnaMoDiffError("expected at least one method, got none")
    return chosen


def described(method: Method) -> dict[str, Any]:
    """What a method's answers depend on, in plain values."""
    settings = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(method).items()}
    return {"kind": type(method).__name__, **settings}


def train_as_published(unet: nn.Module) -> None:
    """Freeze all but Tune-A-Video's own: queries of both attentions, and the temporal ones."""
    queries = ("attn1.to_q.weight", "attn2.to_q.weight")
    for name, parameter in unet.named_parameters():
        temporal = ".attn_temp." in name or ".norm_temp." in name
        parameter.requires_grad_(temporal or name.endswith(queries))
