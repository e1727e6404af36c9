"""Transfers from clips to run folders: the method with files, resuming and timings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anamodiff.backbone.autoencoder import Encoder
from anamodiff.backbone.find import MINI
from anamodiff.backbone.memory import Memory
from anamodiff.backbone.model import Backbone
from anamodiff.lock import held
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.skeletal import SkeletalNetworks
from anamodiff.lofnet.start import check_start
from anamodiff.options import (
    FRAMES,
    AdaptationOptions,
    GenerationOptions,
    MemoryOptions,
    RunOptions,
    StartFrame,
    TransferOptions,
    TuningOptions,
    resolve,
)
from anamodiff.pipeline import AnaMoDiff, Progress
from anamodiff.run.folder import RunFolder
from anamodiff.run.inert import InertSettings
from anamodiff.run.inputs import (
    GivenClip,
    check_prompt,
    clip_name,
    note_frames_left_out,
    read_pair,
)
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.masks import Masks
from anamodiff.run.models import Models, load_models
from anamodiff.run.outputs import check_ground, check_is_video, check_no_input, is_video, masks_in
from anamodiff.run.report import report
from anamodiff.run.result import Result
from anamodiff.run.stages import CHECKPOINT, WEIGHTS, Stages, TunedRun
from anamodiff.run.unfinished import Watch


class MotionTransfer(Stages):
    """Moves the character of one clip as the character of another moves.

    Adds files, run folders, resuming and timings to the method itself (`method`). Keeps its models,
    so that several transfers load them once. Each run folder gets a page, unless `report` is False.

    Args:
        backbone, lofnet: the models.
        proxy, skeletal: as for `AnaMoDiff`.
        lofnet_folder: where the network was loaded from, for the record of a run.
        memory: what a run does to save graphics memory.
        preset: `paper`, `fast`, or None for what the backbone recommends.
    """

    def __init__(
        self,
        backbone: Backbone,
        lofnet: LOFNet,
        *,
        proxy: Encoder | None = None,
        skeletal: SkeletalNetworks | None = None,
        lofnet_folder: Path | None = None,
        memory: Memory | None = None,
        preset: str | None = None,
    ) -> None:
        RunOptions.check(preset=preset)
        super().__init__(AnaMoDiff(backbone, lofnet, proxy, skeletal), lofnet_folder)
        self.memory = memory or Memory()
        self.preset = preset
        self.inert = InertSettings(backbone.schedule)

    @classmethod
    def load(
        cls,
        backbone: str | Path = "auto",
        lofnet: str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        memory: MemoryOptions | Mapping[str, Any] | None = None,
        preset: str | None = None,
        size: int | None = None,
    ) -> MotionTransfer:
        """Load the models that `load_models` finds, with its arguments.

        Raises:
            AnaMoDiffError: a model is missing or does not fit, or a setting is wrong.
        """
        RunOptions.check(preset=preset, size=size)
        models = load_models(
            backbone, lofnet, device=device, precision=precision, memory=memory, size=size
        )
        return cls.of(models, preset=preset)

    @classmethod
    def of(cls, models: Models, *, preset: str | None = None) -> MotionTransfer:
        """With models that `load_models` or `models_around` gave."""
        return cls(
            models.backbone, models.flow.lofnet, proxy=models.flow.proxy,
            skeletal=models.flow.skeletal, lofnet_folder=models.flow.folder, memory=models.memory,
            preset=preset,
        )  # fmt: skip

    @property
    def lofnet_name(self) -> str | None:
        """What `load` takes for the same network again."""
        if self.method.proxy is not None:
            return MINI
        return None if self.lofnet_folder is None else str(self.lofnet_folder)

    def resolve(
        self,
        *,
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
        tuning: TuningOptions | Mapping[str, Any] | None = None,
        generation: GenerationOptions | Mapping[str, Any] | None = None,
        preset: str | None = None,
    ) -> TransferOptions:
        """The options of all stages: what is given, else what memory, preset and backbone say."""
        return resolve(
            adaptation=adaptation, tuning=tuning, generation=generation,
            memory=self.memory.tuning, preset=preset or self.preset,
            recommended=self.backbone.recommended,
        )  # fmt: skip

    def transfer(
        self,
        source: GivenClip,
        driving: GivenClip,
        *,
        prompt: str,
        output: str | Path | None = None,
        frames: int = FRAMES,
        seed: int = 0,
        start_frame: StartFrame = "first",
        preset: str | None = None,
        resume: bool = False,
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
        tuning: TuningOptions | Mapping[str, Any] | None = None,
        generation: GenerationOptions | Mapping[str, Any] | None = None,
        progress: bool | Progress = True,
        watch: Watch | None = None,
    ) -> Result:
        """Tune, then generate; the arguments are those of the function `anamodiff.transfer`.

        `watch` is called in each step of sampling with the clip as it is expected by then.
        """
        options = self.resolve(
            adaptation=adaptation, tuning=tuning, generation=generation, preset=preset
        )
        check_ground(output, options.generation)
        self.inert.warn(options.tuning, options.generation, tuning, generation)
        with ExitStack() as stack:
            tuned = self._tune(
                stack, source, driving, options, prompt=prompt, output=output, frames=frames,
                seed=seed, start_frame=start_frame, preset=preset or self.preset, resume=resume,
                progress=progress,
            )  # fmt: skip
            output = output if is_video(output) else None
            return self._generate(tuned, options.generation, output, None, progress, watch)

    def tune(
        self,
        source: GivenClip,
        driving: GivenClip,
        *,
        prompt: str,
        output: str | Path | None = None,
        frames: int = FRAMES,
        seed: int = 0,
        start_frame: StartFrame = "first",
        preset: str | None = None,
        resume: bool = False,
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
        tuning: TuningOptions | Mapping[str, Any] | None = None,
        progress: bool | Progress = True,
    ) -> Path:
        """Sections 3.2 to 3.4: flow, warped clip, disentangled tuning; returns the run folder."""
        options = self.resolve(adaptation=adaptation, tuning=tuning, preset=preset)
        self.inert.warn(options.tuning, given_tuning=tuning)
        with ExitStack() as stack:
            tuned = self._tune(
                stack, source, driving, options, prompt=prompt, output=output, frames=frames,
                seed=seed, start_frame=start_frame, preset=preset or self.preset, resume=resume,
                progress=progress,
            )  # fmt: skip
            if self.report:
                report(tuned.folder, self.backbone, tuned.pair or ClipPair.load(tuned.folder.path))
            return tuned.folder.path

    def generate(
        self,
        run: str | Path,
        *,
        output: str | Path | None = None,
        seed: int | None = None,
        preset: str | None = None,
        generation: GenerationOptions | Mapping[str, Any] | None = None,
        progress: bool | Progress = True,
        watch: Watch | None = None,
    ) -> Result:
        """Section 3.5 on a tuned run folder: invert, warp the noise, denoise, match colours."""
        RunOptions.check(seed=seed)
        options = self.resolve(generation=generation, preset=preset).generation
        tuned = TunedRun(RunFolder.load(run))
        check_is_video(output)
        check_no_input(output, tuned.folder.inputs)
        saved = TuningOptions.build(tuned.folder.settings["tuning"])
        self.inert.warn(saved, options, given_sampling=generation)
        with held(tuned.folder.path, "run folder"):
            return self._generate(tuned, options, output, seed, progress, watch)

    def _tune(
        self, stack: ExitStack, source: GivenClip, driving: GivenClip, options: TransferOptions,
        *, prompt: str, output: str | Path | None, frames: int, seed: int, start_frame: StartFrame,
        preset: str | None, resume: bool, progress: bool | Progress,
    ) -> TunedRun:  # fmt: skip
        """Tune in a run folder that stays locked until `stack` ends."""
        check_prompt(prompt)
        check_no_input(output, (source, driving, *masks_in(options.adaptation)))
        given = RunOptions(frames=frames, seed=seed, start_frame=start_frame)
        frames, seed, start_frame = given.frames, given.seed or 0, given.start_frame
        clips = read_pair(source, driving, frames, self.backbone.image_size)
        check_start(start_frame, len(clips[0].frames))
        matte = options.adaptation.matte
        if matte not in ("auto", "none"):
            Masks.read(matte, *clips)  # before the run folder is made
            matte = clip_name(matte)
        settings = {
            "source": clip_name(source), "driving": clip_name(driving), "prompt": prompt,
            "backbone": str(self.backbone.folder), "lofnet": self.lofnet_name,
            "precision": self.backbone.named_precision,
            "size": self.backbone.named_size, "frames": frames, "seed": seed, "preset": preset,
            "start_frame": start_frame,
            "adaptation": asdict(options.adaptation) | {"matte": matte},
            "tuning": asdict(options.tuning),
        }  # fmt: skip
        name = f"{Path(clip_name(source)).stem}-{Path(clip_name(driving)).stem}"
        unnamed: dict[str, Callable[[], Any]] = {
            "precision": lambda: self.backbone.precision_name,
            "size": lambda: self.backbone.image_size,
        }
        run = RunFolder.open(
            output, name, settings, resume=resume, unnamed=unnamed,
            former={"size": self.backbone.unet_size},
        )  # fmt: skip
        stack.callback(run.close)
        if (run.path / WEIGHTS).is_dir():  # resumed after tuning was done
            (run.path / CHECKPOINT).unlink(missing_ok=True)
            return TunedRun(run)
        if (size := run.settings["size"]) != self.backbone.image_size:  # as the run began
            clips = read_pair(source, driving, frames, size)
        with run.named_on_stop(), self.backbone.in_precision(run.settings["precision"]):
            tuned = self._tune_in(run, clips, options, prompt, seed, start_frame, progress)
        note_frames_left_out(clips[1])  # once all has gone well: mistakes are one line
        return tuned
