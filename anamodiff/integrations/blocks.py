"""The two halves of a transfer as modular blocks of diffusers.

    >>> pipeline = AnaMoDiffBlocks().init_pipeline(FOLDER)
    >>> pipeline.load_components()
    >>> state = pipeline(source="source.gif", driving="driving.gif", prompt="a turtle")

What goes from the first to the second is the run folder, as between `anamodiff tune` and `anamodiff
generate`: with `run=...` given, the second block alone makes further results of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.modular_pipelines import (
    ModularPipeline,
    ModularPipelineBlocks,
    PipelineState,
    SequentialPipelineBlocks,
)
from diffusers.modular_pipelines.modular_pipeline_utils import (
    ComponentSpec,
    InputParam,
    OutputParam,
)
from transformers import CLIPTextModel, CLIPTokenizer

from anamodiff.integrations.models import COMPONENTS, mover_of
from anamodiff.integrations.pipeline import (
    as_given,
    as_output,
    check_output_type,
    one_of,
    seed_of,
    with_given,
)
from anamodiff.options import FRAMES
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.sampling import DEFAULT_FPS

TYPES = (AutoencoderKL, UNet2DConditionModel, CLIPTextModel, CLIPTokenizer, DDIMScheduler)
_SHARED = [
    InputParam("generator", torch.Generator, description="its initial seed is the transfer's"),
    InputParam("preset", str, description="paper or fast"),
    InputParam("progress", bool, default=True, description="show bars, or a function"),
    InputParam("lofnet", str, description="folder of a flow network, or mini"),
    InputParam("precision", str, description="by default that of the weights"),
    InputParam("memory", dict, description="how to save graphics memory"),
    InputParam("size", int, description="pixels along a frame's side; by default what suits"),
]


class _Step(ModularPipelineBlocks):
    """A half of a transfer."""

    model_name = "anamodiff"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """Those of Stable Diffusion 1.x."""
        return [ComponentSpec(name, kind) for name, kind in zip(COMPONENTS, TYPES, strict=True)]

    def run(self, mover: MotionTransfer, block: Any) -> None:
        """Read inputs from the block's state and put outputs there."""
        raise NotImplementedError

    def __call__(
        self, components: ModularPipeline, state: PipelineState
    ) -> tuple[ModularPipeline, PipelineState]:
        """Compute with the pipeline's components."""
        block: Any = self.get_block_state(state)
        # Modular pipelines run without gradients, which tuning needs.
        with torch.inference_mode(False), torch.enable_grad():
            mover = mover_of(
                {name: getattr(components, name) for name in COMPONENTS},
                lofnet=block.lofnet, precision=block.precision, memory=block.memory,
                size=block.size,
            )  # fmt: skip
            self.run(mover, block)
        self.set_block_state(state, block)
        return components, state


class AnaMoDiffTuneStep(_Step):
    """Sections 3.2 to 3.4: the warped clip, and the UNet tuned on both."""

    @property
    def description(self) -> str:
        """One sentence for diffusers."""
        return "Warps the source along the driving motion and tunes the UNet on both clips."

    @property
    def inputs(self) -> list[InputParam]:
        """What `AnaMoDiffPipeline` takes for tuning."""
        return [
            InputParam("source", required=True, description="the character: a file or frames"),
            InputParam("driving", required=True, description="the motion: a file or frames"),
            InputParam("prompt", str, required=True, description="what the source shows"),
            InputParam("num_frames", int, default=FRAMES, description="length of the result"),
            InputParam("fps", float, default=DEFAULT_FPS, description="rate of frames in memory"),
            InputParam("start_frame", default="first", description="source frame that is moved"),
            InputParam("adaptation", description="options, or a mapping of some"),
            InputParam("tuning", description="options, or a mapping of some"),
            InputParam("output_folder", description="the new run folder"),
            *_SHARED,
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """The run folder, and the seed that it was tuned with."""
        return [
            OutputParam("run", Path, description="the run folder with the tuned weights"),
            OutputParam("seed", int, description="of tuning, and of sampling if none is named"),
        ]

    def run(self, mover: MotionTransfer, block: Any) -> None:
        """`MotionTransfer.tune`."""
        size, frames = mover.backbone.image_size, block.num_frames
        block.seed = seed_of(block.generator)
        block.run = mover.tune(
            as_given(block.source, block.fps, frames, size, 1, "source"),
            as_given(block.driving, block.fps, frames, size, 2, "driving clip"),
            prompt=one_of(block.prompt, "prompt"), output=block.output_folder, frames=frames,
            seed=block.seed, start_frame=block.start_frame, preset=block.preset,
            adaptation=block.adaptation, tuning=block.tuning, progress=block.progress,
        )  # fmt: skip


class AnaMoDiffGenerateStep(_Step):
    """Section 3.5: inversion, sampling, colours."""

    @property
    def description(self) -> str:
        """One sentence for diffusers."""
        return "Inverts the source, warps its noise and denoises it with the tuned UNet."

    @property
    def inputs(self) -> list[InputParam]:
        """What `AnaMoDiffPipeline` takes for sampling, and a tuned run folder."""
        return [
            InputParam("run", Path, required=True, description="a run folder that was tuned"),
            InputParam("seed", int, description="of sampling; by default that of tuning"),
            InputParam("num_inference_steps", int, description="generation.steps"),
            InputParam("guidance_scale", float, description="generation.guidance"),
            InputParam("negative_prompt", str, description="generation.negative_prompt"),
            InputParam("generation", description="options, or a mapping of some"),
            InputParam("output_type", str, default="pil", description="pil, np or pt"),
            *_SHARED[1:],
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """The clip and its rate."""
        return [
            OutputParam("frames", description="one clip, as AnaMoDiffPipeline gives it"),
            OutputParam("frame_rate", float, description="frames a second"),
        ]

    def run(self, mover: MotionTransfer, block: Any) -> None:
        """`MotionTransfer.generate`."""
        check_output_type(block.output_type)
        generation = with_given(
            block.generation, steps=block.num_inference_steps, guidance=block.guidance_scale,
            negative_prompt=block.negative_prompt,
        )  # fmt: skip
        result = mover.generate(
            block.run, seed=block.seed, preset=block.preset, generation=generation,
            progress=block.progress,
        )  # fmt: skip
        block.frames, block.frame_rate = as_output(result, block.output_type), result.fps


class AnaMoDiffBlocks(SequentialPipelineBlocks):
    """A whole transfer."""

    block_classes = [AnaMoDiffTuneStep, AnaMoDiffGenerateStep]
    block_names = ["tune", "generate"]

    @property
    def description(self) -> str:
        """One sentence for diffusers."""
        return "Moves the character of one clip as the character of another moves."
