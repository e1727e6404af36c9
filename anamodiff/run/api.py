"""What notebooks and the command line call: `transfer`, its two halves, and the demo.

What a user gave is checked before torch and the models are imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff.backbone.libraries import import_libraries
from anamodiff.options import (
    FRAMES,
    AdaptationOptions,
    GenerationOptions,
    MemoryOptions,
    RunOptions,
    StartFrame,
    TuningOptions,
)
from anamodiff.run.folder import OUTPUTS, RunFolder, check_writable
from anamodiff.run.inputs import check_output, check_request
from anamodiff.run.outputs import check_ground, check_is_video, check_no_input

if TYPE_CHECKING:
    from anamodiff.pipeline import Progress
    from anamodiff.run.motion_transfer import MotionTransfer
    from anamodiff.run.result import Result
    from anamodiff.video.clip import Clip

DEMO_SIZE = 256  # of the drawn clips, and so of the result
DEMO_PAIR = 470  # a green turtle and a grey rhino, both plain enough to tell at a glance


def transfer(
    source: str | Path | Clip,
    driving: str | Path | Clip,
    *,
    prompt: str,
    output: str | Path | None = None,
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    size: int | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    start_frame: StartFrame = "first",
    device: str = "auto",
    precision: str = "auto",
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    preset: str | None = None,
    resume: bool = False,
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    tuning: TuningOptions | Mapping[str, Any] | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Result:
    """Move the character of `source` as the character of `driving` moves.

    Args:
        source: clip or picture of the character: a video file, strip, folder of frames, or a clip
            that `read_clip` read.
        driving: clip of the motion, of at least two frames.
        prompt: a few words for what the source shows, such as "a turtle".
        output: the run folder, or a file for the video, by its suffix: .mp4, .gif, .webm, .mov,
            .m4v or .mkv.
        backbone: `auto`, `mini`, a diffusers folder, one file of Stable Diffusion 1.x, or a hub id.
        lofnet: folder of LOFNet weights for the backbone's latents, or `mini`, the embedded ones,
            which serve any backbone; None takes those beside the backbone, else `mini`.
        size: pixels along the side of the square that the backbone works at; None is what it
            recommends, 256 with `mini`.
        frames: length of the result.
        seed: fixes all that is random; kernels of a GPU still add in no fixed order.
        start_frame: the source frame that is moved: `first`, its number from 0, or `auto`, the
            one whose pose is nearest to the driving clip's first.
        device: `auto`, or a torch device.
        precision: `auto`, `fp32`, `fp16` or `bf16`.
        memory: `{"vram": 8}` makes do with 8 GiB of graphics memory (also 12, 16, 24, `auto`);
            `offload` and `frames_at_once` may be set apart.
        preset: `paper`, its literal settings, or `fast`; None takes what suits the backbone.
        resume: go on with an interrupted run of the same settings.
        adaptation: options, or a mapping of some of them; None entries take the backbone's.
        tuning, generation: likewise.
        progress: show progress bars, or a function that is called with a stage's name, the steps
            done, the steps in all and, in tuning, the loss.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    check_request(
        source, driving, prompt=prompt, output=output, resume=resume, frames=frames, seed=seed,
        start_frame=start_frame, preset=preset, size=size, adaptation=adaptation, tuning=tuning,
        generation=generation,
    )  # fmt: skip
    mover = _load(
        backbone, lofnet, device=device, precision=precision, memory=memory, preset=preset,
        size=size,
    )  # fmt: skip
    return mover.transfer(
        source, driving, prompt=prompt, output=output, frames=frames, seed=seed,
        start_frame=start_frame, resume=resume, adaptation=adaptation, tuning=tuning,
        generation=generation, progress=progress,
    )  # fmt: skip


def tune(
    source: str | Path | Clip,
    driving: str | Path | Clip,
    *,
    prompt: str,
    output: str | Path | None = None,
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    size: int | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    start_frame: StartFrame = "first",
    device: str = "auto",
    precision: str = "auto",
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    preset: str | None = None,
    resume: bool = False,
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    tuning: TuningOptions | Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Path:
    """The first half of `transfer`, with its arguments; returns the run folder."""
    check_request(
        source, driving, prompt=prompt, output=output, resume=resume, frames=frames, seed=seed,
        start_frame=start_frame, preset=preset, size=size, adaptation=adaptation, tuning=tuning,
    )  # fmt: skip
    mover = _load(
        backbone, lofnet, device=device, precision=precision, memory=memory, preset=preset,
        size=size,
    )  # fmt: skip
    return mover.tune(
        source, driving, prompt=prompt, output=output, frames=frames, seed=seed,
        start_frame=start_frame, resume=resume, adaptation=adaptation, tuning=tuning,
        progress=progress,
    )  # fmt: skip


def generate(
    run: str | Path,
    *,
    output: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    preset: str | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Result:
    """The second half of `transfer`, on a run folder that `tune` wrote.

    `preset` None and `precision` `auto` are those that it was tuned with.
    """
    RunOptions.check(seed=seed, preset=preset)
    check_writable(output)
    if not isinstance(generation, GenerationOptions):
        GenerationOptions.checked(generation)
    folder = RunFolder.load(run)
    folder.check_tuned()
    check_is_video(output)
    check_ground(output, generation)
    check_no_input(output, folder.inputs)
    settings = folder.settings
    if precision == "auto":
        precision = settings.get("precision", precision)
    mover = _load(
        settings["backbone"], settings["lofnet"], device=device, precision=precision,
        memory=memory, preset=preset or settings.get("preset"), size=settings.get("size"),
    )  # fmt: skip
    return mover.generate(run, output=output, seed=seed, generation=generation, progress=progress)


def demo(
    *,
    output: str | Path | None = None,
    backbone: str | Path = "mini",
    lofnet: str | Path | None = None,
    size: int | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    start_frame: StartFrame = "first",
    device: str = "auto",
    precision: str = "auto",
    memory: MemoryOptions | Mapping[str, Any] | None = None,
    preset: str | None = None,
    resume: bool = False,
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    tuning: TuningOptions | Mapping[str, Any] | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Result:
    """Draw a turtle that stands and a rhino that jumps, and move the one like the other."""
    RunOptions.check(frames=frames, seed=seed, start_frame=start_frame, preset=preset, size=size)
    check_output(output, resume)
    import_libraries()
    from anamodiff import creatures
    from anamodiff.video.clip import write_video
    from anamodiff.video.letterbox import from_pixels

    pair = creatures.draw_pair(
        DEMO_PAIR, source_species="turtle", driving_species="rhino", motion="jump",
        size=size or DEMO_SIZE,
    )  # fmt: skip
    folder = OUTPUTS / "demo"
    clips = {folder / "turtle.gif": pair.source, folder / "rhino.gif": pair.driving}
    for path, drawn in clips.items():
        write_video(path, from_pixels(drawn.frames), drawn.fps)
    source, driving = clips
    return transfer(
        source, driving, prompt=pair.source_caption, output=output, backbone=backbone,
        lofnet=lofnet, size=size, frames=frames, seed=seed, start_frame=start_frame,
        device=device, precision=precision, memory=memory, preset=preset, resume=resume,
        adaptation=adaptation, tuning=tuning, generation=generation, progress=progress,
    )  # fmt: skip


def _load(backbone: str | Path, lofnet: str | Path | None, **settings: Any) -> MotionTransfer:
    """The models, and before them what takes seconds to import."""
    import_libraries()
    from anamodiff.run.motion_transfer import MotionTransfer

    return MotionTransfer.load(backbone, lofnet, **settings)
