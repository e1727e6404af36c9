"""`AnaMoDiffPipeline`: motion transfer in the conventions of diffusers' pipelines.

    >>> pipeline = AnaMoDiffPipeline.from_pretrained("mini")
    >>> frames = pipeline("source.gif", "driving.gif", "a turtle").frames[0]

Also with diffusers alone: `DiffusionPipeline.from_pretrained(FOLDER, custom_pipeline=P,
trust_remote_code=True)`, where P is this file's folder. It computes nothing: `MotionTransfer` does,
with the pipeline's own components, and gives the frames of `anamodiff.transfer`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    SchedulerMixin,
    UNet2DConditionModel,
)
from diffusers.utils import BaseOutput
from diffusers.video_processor import VideoProcessor
from PIL.Image import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.errors import AnaMoDiffError
from anamodiff.integrations.models import COMPONENTS, folder_of, mover_of
from anamodiff.options import (
    FRAMES,
    AdaptationOptions,
    GenerationOptions,
    StartFrame,
    TuningOptions,
)
from anamodiff.pipeline import Progress
from anamodiff.resources import find
from anamodiff.run.inputs import check_request
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.progress import ProgressBars
from anamodiff.run.result import Result
from anamodiff.video.arrays import clip_of_frames
from anamodiff.video.clip import Clip
from anamodiff.video.sampling import DEFAULT_FPS

OUTPUT_TYPES = ("pil", "np", "pt")
#: Called with the pipeline, the number of a sampling step, its timestep, and no tensors.
StepCallback = Callable[[Any, int, int, dict[str, Any]], Any]
# What lies beside a backbone and belongs to it.
BESIDE = ("anamodiff.json", "lofnet")


@dataclass
class AnaMoDiffPipelineOutput(BaseOutput):
    """What `AnaMoDiffPipeline` gives.

    Attributes:
        frames: one clip: a list of one list of pictures, an array ``1 f h w c`` or a tensor
            ``1 f c h w``, both in [0, 1]; in the source's size.
        fps: frames a second, for `export_to_video`.
        run: the run folder, with videos, settings and the tuned weights, of which any pipeline of
            Stable Diffusion 1.x reads the LoRA (`load_lora_weights(run / "weights")`).
    """

    frames: list[list[Image]] | np.ndarray | Tensor
    fps: float
    run: Path


class AnaMoDiffPipeline(DiffusionPipeline):
    """Moves the character of one clip as the character of another moves.

    Args:
        vae, text_encoder, tokenizer, unet: of Stable Diffusion 1.x; tuning leaves them as they are.
        scheduler: gives the noise schedule; the sampler is `generation.solver`.
        lofnet: folder of a flow network, or `mini`, as for `anamodiff.transfer`.
        precision: as for `anamodiff.transfer`; None is the number format of the UNet.
        memory: as for `anamodiff.transfer`, in place of `enable_model_cpu_offload`.
        size: as for `anamodiff.transfer`.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        lofnet: str | None = None,
        precision: str | None = None,
        memory: dict[str, Any] | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )
        lofnet = None if lofnet is None else str(lofnet)
        self.register_to_config(lofnet=lofnet, precision=precision, memory=memory, size=size)
        self._built: tuple[dict[str, Any], MotionTransfer] | None = None

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> AnaMoDiffPipeline:
        """As for any pipeline; `mini` is the embedded backbone."""
        if str(pretrained_model_name_or_path) == "mini":
            pretrained_model_name_or_path = find("checkpoints/mini")
        return super().from_pretrained(str(pretrained_model_name_or_path), **kwargs)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """As for any pipeline, with what lies beside the backbone: settings and flow network."""
        super().save_pretrained(save_directory, **kwargs)
        for path in (folder_of(self.components) / name for name in BESIDE):
            target = Path(save_directory) / path.name
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif path.is_file():
                shutil.copyfile(path, target)

    def to(self, *args: Any, **kwargs: Any) -> AnaMoDiffPipeline:
        """As for any pipeline."""
        self._built = None
        return super().to(*args, **kwargs)

    @property
    def mover(self) -> MotionTransfer:
        """What computes: around the components, and anew where one is replaced or moved."""
        parts = {name: getattr(self, name) for name in COMPONENTS}
        if self._built is None or any(parts[n] is not part for n, part in self._built[0].items()):
            config: Any = self.config
            mover = mover_of(
                parts, lofnet=config.lofnet, precision=config.precision, memory=config.memory,
                size=config.size,
            )  # fmt: skip
            self._built = parts, mover
        return self._built[1]

    def __call__(
        self,
        source: str | Path | Clip | Any,
        driving: str | Path | Clip | Any,
        prompt: str | Sequence[str],
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        callback_on_step_end: StepCallback | None = None,
        output_type: str = "pil",
        *,
        negative_prompt: str | None = None,
        num_frames: int = FRAMES,
        fps: float = DEFAULT_FPS,
        start_frame: StartFrame = "first",
        preset: str | None = None,
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
        tuning: TuningOptions | Mapping[str, Any] | None = None,
        generation: GenerationOptions | Mapping[str, Any] | None = None,
        output: str | Path | None = None,
        resume: bool = False,
        callback_on_step_end_tensor_inputs: Sequence[str] = (),
        return_dict: bool = True,
    ) -> AnaMoDiffPipelineOutput | tuple[Any]:
        """Tune on a pair of clips, then generate.

        Args:
            source: the character: a file or folder, a clip of `read_clip`, or frames in memory:
                pictures of Pillow, an array ``f h w c`` or a tensor ``f c h w`` in [0, 1].
            driving: the motion, likewise, of at least two frames.
            prompt: a few words for what the source shows; a list may hold one.
            num_inference_steps, guidance_scale, negative_prompt: in place of `generation.steps`,
                `.guidance` and `.negative_prompt`; None takes what suits the backbone.
            generator: its initial seed is the transfer's seed; None draws one from torch's own.
            callback_on_step_end: called after each step of sampling, with the pipeline, the step,
                its timestep and an empty dictionary. What it raises ends the transfer.
            output_type: `pil`, `np` or `pt`.
            num_frames: length of the result, sampled evenly from the driving clip.
            fps: rate of driving frames that are in memory.
            start_frame, preset, adaptation, tuning, generation, output, resume: as for
                `anamodiff.transfer`; `tuning` has what is learnt before sampling.
            callback_on_step_end_tensor_inputs: must be empty, for a callback changes nothing.
            return_dict: False gives a tuple of the frames.

        Raises:
            AnaMoDiffError: an input cannot be used; the message says what to do.
        """
        check_output_type(output_type)
        if callback_on_step_end_tensor_inputs:
            raise AnaMoDiffError(
                "expected no callback_on_step_end_tensor_inputs, got "
                f"{list(callback_on_step_end_tensor_inputs)}: leave them out"
            )
        stages = {
            "adaptation": adaptation,
            "tuning": tuning,
            "generation": with_given(
                generation, steps=num_inference_steps, guidance=guidance_scale,
                negative_prompt=negative_prompt,
            ),
        }  # fmt: skip
        # A caller's `no_grad` or `inference_mode` is meant for sampling; tuning is in here, too.
        with torch.inference_mode(False), torch.enable_grad():
            size = self.mover.backbone.image_size
            source = as_given(source, fps, num_frames, size, 1, "source")
            driving = as_given(driving, fps, num_frames, size, 2, "driving clip")
            request = {
                "prompt": one_of(prompt, "prompt"), "output": output, "resume": resume,
                "frames": num_frames, "seed": seed_of(generator), "start_frame": start_frame,
                "preset": preset, **stages,
            }  # fmt: skip
            check_request(source, driving, **request)
            quiet = getattr(self, "_progress_bar_config", {}).get("disable", False)
            with ProgressBars(not quiet) as bars:
                options = self.mover.resolve(preset=preset, **stages).generation
                progress = self._progress(bars, callback_on_step_end, options)
                result = self.mover.transfer(source, driving, **request, progress=progress)
        frames = as_output(result, output_type)
        if not return_dict:
            return (frames,)
        return AnaMoDiffPipelineOutput(frames=frames, fps=result.fps, run=result.run)

    def _progress(
        self, bars: ProgressBars, callback: StepCallback | None, options: GenerationOptions
    ) -> Progress:
        """Shows bars and, in sampling, calls back."""
        schedule = self.mover.backbone.schedule
        timesteps = schedule.visited(options.steps, options.denoise_from)

        def progress(stage: str, done: int, total: int, loss: float | None) -> None:
            bars(stage, done, total, loss)
            if callback is not None and stage == "sampling" and done > 0:
                callback(self, done - 1, timesteps[done - 1], {})

        return progress


def check_output_type(output_type: str) -> None:
    """Refuse what cannot be given, before any work."""
    if output_type not in OUTPUT_TYPES:
        raise AnaMoDiffError(
            f"expected output_type {', '.join(OUTPUT_TYPES)}, got {output_type!r}: choose one"
        )


def as_output(result: Result, output_type: str) -> Any:
    """The result's frames as diffusers' video pipelines give them, a batch of one clip."""
    video = result.frames.movedim(0, 1)[None]  # b c f h w
    return VideoProcessor().postprocess_video(video, output_type)


def as_given(given: Any, fps: float, frames: int, size: int, minimum: int, role: str) -> Any:
    """What `MotionTransfer` takes: files and clips as they are, frames in memory as a clip."""
    if isinstance(given, (str, Path, Clip)):
        return given
    return clip_of_frames(given, fps, frames=frames, size=size, minimum=minimum, role=role)


def with_given(
    generation: GenerationOptions | Mapping[str, Any] | None, **given: Any
) -> GenerationOptions | dict[str, Any] | None:
    """Options of generation with those that have names of their own in diffusers."""
    own = asdict(generation) if isinstance(generation, GenerationOptions) else generation or {}
    return {**own, **{name: value for name, value in given.items() if value is not None}}


def one_of(given: Any, role: str) -> Any:
    """The only one of a batch."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return given
    if len(given) != 1:
        raise AnaMoDiffError(
            f"expected one {role}, got {len(given)}: call the pipeline once for each pair of clips"
        )
    return given[0]


def seed_of(generator: torch.Generator | Sequence[torch.Generator] | None) -> int:
    """The seed of a transfer: a generator's own, else one of torch's global generator."""
    only: torch.Generator | None = one_of(generator, "generator")
    return int(torch.randint(2**31, ())) if only is None else only.initial_seed()
