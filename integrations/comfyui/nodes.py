"""Nodes: load model and clip, preview, transfer, save. All of them call the library's one path."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension, io, ui
from torch import Tensor

import anamodiff  # diffusers is imported when a node first runs, so that ComfyUI starts quickly
from anamodiff.options import FRAMES, PRESETS
from anamodiff.video.clip import write_video
from anamodiff.video.letterbox import from_pixels
from anamodiff.video.suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES

from . import host
from .images import to_clip, to_images

CATEGORY = "AnaMoDiff"
Model = io.Custom("ANAMODIFF_MODEL")
AUTO = "auto"
POSES = ("auto", "skeleton", "points")
FORMATS = (".mp4", ".gif", ".webm")
DEFAULT_FPS = 10.0


def start_of(number: int) -> str | int:
    """`start_frame`: -1 on the node is the one whose pose is nearest."""
    return "auto" if number < 0 else number or "first"


def frame_inputs() -> list[Any]:
    """What a preview and a transfer are both given."""
    return [
        Model.Input("model"),
        io.Image.Input("source", tooltip="The character: one image, or the frames of a clip."),
        io.Image.Input("driving", tooltip="The motion: the frames of a clip, two at least."),
        io.Float.Input(
            "fps", default=DEFAULT_FPS, min=0.01, max=1000.0, step=0.01,
            tooltip="Frames a second of the driving clip.",
        ),
        io.Int.Input(
            "frames", default=FRAMES, min=2, max=600,
            tooltip="Frames of the result, sampled evenly from the driving clip.",
        ),
        io.Int.Input(
            "start_frame", default=0, min=-1, max=599,
            tooltip="Source frame that is moved; -1 takes the one whose pose is nearest.",
        ),
        io.Combo.Input(
            "pose", options=list(POSES), default="auto",
            tooltip="What carries the motion: a skeleton of joints, key points, or what suits.",
        ),
    ]  # fmt: skip


class LoadModel(io.ComfyNode):
    """`MotionTransfer.load`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs, for ComfyUI."""
        return io.Schema(
            node_id="AnaMoDiffLoadModel",
            display_name="AnaMoDiff Load Model",
            category=CATEGORY,
            description="Loads a diffusion model with the networks of motion.",
            inputs=[
                io.String.Input(
                    "backbone", default=AUTO,
                    tooltip="auto, mini (embedded), a folder or file of Stable Diffusion 1.x, or a "
                    "hub id.",
                ),
                io.Combo.Input(
                    "precision", options=[AUTO, "fp32", "fp16", "bf16"], default=AUTO,
                    tooltip="Number format.",
                ),
                io.Combo.Input(
                    "vram", options=[AUTO, "8", "12", "16", "24"], default=AUTO,
                    tooltip="Graphics memory to make do with, in GiB; auto is what is free.",
                ),
                io.String.Input(
                    "lofnet", default="", optional=True, advanced=True,
                    tooltip="Folder of a flow network of your own; empty takes what suits.",
                ),
                io.Int.Input(
                    "size", default=0, min=0, max=4096, optional=True, advanced=True,
                    tooltip="Pixels along the side of the square that the model works at; 0 takes "
                    "what suits, 256 with mini, which is quicker at 128.",
                ),
            ],
            outputs=[Model.Output(display_name="model")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, backbone: str, precision: str, vram: str, lofnet: str = "", size: int = 0
    ) -> io.NodeOutput:
        """The model."""
        memory = {"vram": vram if vram == AUTO else int(vram)}
        with host.gradients():
            mover = anamodiff.MotionTransfer.load(
                backbone.strip() or AUTO, lofnet.strip() or None, precision=precision,
                memory=memory, size=size or None,
            )  # fmt: skip
        return io.NodeOutput(mover)


class LoadClip(io.ComfyNode):
    """`read_clip`, for what ComfyUI's own loaders do not take: gifs, transparent ones, strips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs, for ComfyUI."""
        return io.Schema(
            node_id="AnaMoDiffLoadClip",
            display_name="AnaMoDiff Load Clip",
            category=CATEGORY,
            description="Reads a video, gif, animated webp or picture of ComfyUI's input folder.",
            inputs=[
                io.Combo.Input(
                    "file", options=host.input_files(VIDEO_SUFFIXES | PICTURE_SUFFIXES),
                    upload=io.UploadType.video, tooltip="A file of the input folder.",
                ),
                io.Int.Input(
                    "frames", default=0, min=0, max=600,
                    tooltip="Frames, sampled evenly; 0 takes all, at most 600.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images"), io.Float.Output(display_name="fps")],
        )  # fmt: skip

    @classmethod
    def execute(cls, file: str, frames: int) -> io.NodeOutput:
        """Images and their rate."""
        clip = anamodiff.read_clip(host.input_path(file), frames=frames or None)
        return io.NodeOutput(to_images(clip.frames), float(clip.fps))

    @classmethod
    def fingerprint_inputs(cls, file: str, frames: int) -> float:
        """A file that has changed is read again."""
        return host.input_path(file).stat().st_mtime

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """Whether the file is there."""
        return True if host.is_input(file) else f"expected a file of the input folder, got {file}"


class Preview(io.ComfyNode):
    """What a transfer will look like, before anything is tuned."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs, for ComfyUI."""
        return io.Schema(
            node_id="AnaMoDiffPreview",
            display_name="AnaMoDiff Preview",
            category=CATEGORY,
            description="Joints of both clips, and the source warped along the motion.",
            inputs=frame_inputs(),
            outputs=[
                io.Image.Output("warped", display_name="warped"),
                io.Image.Output("target", display_name="warped with joints"),
                io.Image.Output("source_joints", display_name="source with joints"),
                io.Image.Output("driving_joints", display_name="driving with joints"),
                io.Float.Output("rate", display_name="fps"),
            ],
        )

    @classmethod
    def execute(
        cls, model: anamodiff.MotionTransfer, source: Tensor, driving: Tensor, fps: float,
        frames: int, start_frame: int, pose: str,
    ) -> io.NodeOutput:  # fmt: skip
        """Images of each."""
        from anamodiff.run.preview import preview

        size = model.backbone.image_size
        with host.gradients():
            made = preview(
                model,
                to_clip(source, fps, frames, size, 1, "source"),
                to_clip(driving, fps, frames, size, 2, "driving clip"),
                frames=frames, start_frame=start_of(start_frame), adaptation={"pose": pose},
            )  # fmt: skip
        shown = (made.warped, made.target, made.source, made.driving)
        return io.NodeOutput(*map(to_images, shown), float(made.fps))


class Transfer(io.ComfyNode):
    """`MotionTransfer.transfer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs, for ComfyUI."""
        return io.Schema(
            node_id="AnaMoDiffTransfer",
            display_name="AnaMoDiff Transfer",
            category=CATEGORY,
            description="Moves the character of the source as that of the driving clip moves.",
            inputs=[
                *frame_inputs(),
                io.String.Input(
                    "prompt", default="a turtle", tooltip="What the source shows, in a few words."
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**64 - 1, control_after_generate=True,
                    tooltip="The same seed gives the same result.",
                ),
                io.Combo.Input(
                    "preset", options=[AUTO, *PRESETS], default=AUTO,
                    tooltip="auto is what suits the model; paper its literal settings; fast.",
                ),
                io.Int.Input(
                    "iterations", default=-1, min=-1, max=10_000,
                    tooltip="Tuning iterations; -1 takes what suits the model.",
                ),
                io.Int.Input(
                    "steps", default=0, min=0, max=1000,
                    tooltip="Steps of sampling; 0 takes what suits the model.",
                ),
                io.Float.Input(
                    "guidance", default=0.0, min=0.0, max=100.0, step=0.1,
                    tooltip="Guidance scale, 1 is none; 0 takes what suits the model.",
                ),
                io.Int.Input(
                    "noise_min", default=-1, min=-1, max=999, advanced=True, optional=True,
                    tooltip="Lowest timestep at which the motion is learnt; -1 takes what suits.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.Float.Output("rate", display_name="fps"),
                io.String.Output("run", display_name="run folder"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model: anamodiff.MotionTransfer, source: Tensor, driving: Tensor, fps: float,
        frames: int, start_frame: int, pose: str, prompt: str, seed: int, preset: str,
        iterations: int, steps: int, guidance: float, noise_min: int = -1,
    ) -> io.NodeOutput:  # fmt: skip
        """The result, its rate, and the folder with everything else."""
        size = model.backbone.image_size
        tuning = {"iterations": iterations, "noise_min": noise_min}
        with host.gradients():
            result = model.transfer(
                to_clip(source, fps, frames, size, 1, "source"),
                to_clip(driving, fps, frames, size, 2, "driving clip"),
                prompt=prompt, output=host.run_folder(), frames=frames, seed=seed,
                start_frame=start_of(start_frame), preset=None if preset == AUTO else preset,
                adaptation={"pose": pose},
                tuning={name: value for name, value in tuning.items() if value >= 0},
                generation={"steps": steps or None, "guidance": guidance or None},
                progress=host.show_progress,
            )  # fmt: skip
        return io.NodeOutput(to_images(result.frames), float(result.fps), str(result.run))


class Save(io.ComfyNode):
    """`write_video`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs, for ComfyUI."""
        return io.Schema(
            node_id="AnaMoDiffSave",
            display_name="AnaMoDiff Save",
            category=CATEGORY,
            description="Writes images as a video or gif into ComfyUI's output folder.",
            inputs=[
                io.Image.Input("images"),
                io.Float.Input("fps", default=DEFAULT_FPS, min=0.01, max=1000.0, step=0.01),
                io.String.Input("filename_prefix", default="anamodiff/result"),
                io.Combo.Input("format", options=[name[1:] for name in FORMATS], default="mp4"),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, images: Tensor, fps: float, filename_prefix: str, format: str
    ) -> io.NodeOutput:
        """Shows the file on the node."""
        height, width = images.shape[1:3]
        path, subfolder = host.output_file(filename_prefix, f".{format}", width, height)
        pixels = (images.detach().float().cpu()[..., :3].clamp(0, 1) * 255).round().byte()
        write_video(path, from_pixels(pixels.numpy()), fps)
        saved = ui.SavedResult(path.name, subfolder, io.FolderType.output)
        if format == "gif":
            return io.NodeOutput(ui=ui.SavedImages([saved], is_animated=True))
        return io.NodeOutput(ui=ui.PreviewVideo([saved]))


class AnaMoDiffExtension(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return [LoadModel, LoadClip, Preview, Transfer, Save]


async def comfy_entrypoint() -> AnaMoDiffExtension:
    """What ComfyUI calls on a node pack."""
    return AnaMoDiffExtension()
