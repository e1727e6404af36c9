"""Motion transfer: the paper on one page (sections 3.2 to 3.5)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anamodiff.backbone import MINI, PAPER, Backbone, choose_device, file_hash
from anamodiff.diffusion import add_noise, noise_in
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion import GenerationOptions, ddim_invert, match_histograms, sample
from anamodiff.letterbox import from_pixels
from anamodiff.lofnet import AdaptationOptions, LOFNet, animate, check_start
from anamodiff.memory import Memory, choose_memory, peak_memory
from anamodiff.progress import bar, timed
from anamodiff.result import Result, write_result
from anamodiff.runfolder import OUTPUTS, RunFolder, is_video
from anamodiff.scene import Scene
from anamodiff.tuning import TuningOptions
from anamodiff.tuning import tune as tune_unet
from anamodiff.unet3d import (
    UNet3D,
    add_lora,
    inflate,
    load_weights,
    merge_lora,
    save_weights,
)  # fmt: skip
from anamodiff.video import Clip, read_clip, write_video
from anamodiff.warp import warp_noise

log = logging.getLogger(__name__)

SCENE, CHECKPOINT, WEIGHTS = "scene.safetensors", "tuning.pt", "weights"
DEMO_PAIR = 470  # a green turtle and a grey rhino, both plain enough to tell at a glance


class MotionTransfer:
    """Moves the character of one clip as the character of another moves.

    Keeps its models, so that several transfers load them once.
    """

    def __init__(
        self, backbone: Backbone, lofnet: LOFNet, *, lofnet_folder: Path | None = None,
        memory: Memory | None = None,
    ) -> None:  # fmt: skip
        self.backbone = backbone
        self.lofnet = lofnet.to(backbone.home)
        self.lofnet_folder = lofnet_folder
        self.memory = memory or Memory()

    @classmethod
    def load(
        cls,
        backbone: str | Path = "auto",
        lofnet: str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        memory: Mapping[str, Any] | None = None,
        preset: str | None = None,
    ) -> MotionTransfer:
        """Load a backbone and a LOFNet (None: the one beside the backbone).

        `memory` is for `choose_memory`: `vram`, `offload` and `frames_at_once`.
        """
        place = choose_device(device)
        if str(backbone) == "auto" and lofnet is None and place.type == "cuda":
            backbone = MINI
            log.info("backbone: %s (%s wants a LOFNet of its own, --lofnet)", MINI, PAPER)
        chosen = choose_memory(place, **memory or {})
        loaded = Backbone.load(
            backbone, device=device, precision=precision, offload=chosen.offload,
            frames_at_once=chosen.frames_at_once, preset=preset,
        )  # fmt: skip
        folder = loaded.beside / "lofnet" if lofnet is None else Path(lofnet)
        if lofnet is None and not folder.is_dir():
            raise AnaMoDiffError(
                f"expected LOFNet weights in {folder}, found none: train them with "
                f"anamodiff train-lofnet --backbone {backbone} and name them with --lofnet"
            )
        return cls(loaded, LOFNet.load(folder), lofnet_folder=folder, memory=chosen)

    def with_preset(self, preset: str) -> MotionTransfer:
        """The same models, with a preset's settings."""
        other = copy.copy(self)
        other.backbone = copy.copy(self.backbone)
        other.backbone.preset = preset
        return other

    @property
    def lofnet_hashes(self) -> dict[str, str]:
        """SHA-256 of each of LOFNet's weight files, by its name; none where it has no folder."""
        files = sorted(self.lofnet_folder.glob("*.safetensors")) if self.lofnet_folder else []
        return {path.name: file_hash(path) for path in files}

    def transfer(self, source: str | Path, driving: str | Path, **settings: Any) -> Result:
        """Tune, then generate; see the function `transfer` for the settings."""
        generation = settings.pop("generation", None)
        output = settings.get("output")
        run = self.tune(source, driving, **settings)
        return self.generate(
            run,
            output=output if is_video(output) else None,
            generation=generation,
            progress=settings.get("progress", True),
        )

    def tune(
        self,
        source: str | Path,
        driving: str | Path,
        *,
        prompt: str,
        output: str | Path | None = None,
        frames: int = 10,
        seed: int = 0,
        start_frame: str | int = "first",
        resume: bool = False,
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
        tuning: TuningOptions | Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> Path:
        """Sections 3.2 to 3.4: flow, warped clip, disentangled tuning; returns the folder."""
        options = self.tuning_options(tuning)
        adaptation = self.backbone.options(AdaptationOptions, adaptation, "adaptation")
        settings = {
            "source": str(source), "driving": str(driving), "prompt": prompt,
            "backbone": str(self.backbone.folder), "lofnet": str(self.lofnet_folder),
            "frames": frames, "seed": seed, "preset": self.backbone.preset,
            "start_frame": start_frame, "adaptation": asdict(adaptation), "tuning": asdict(options),
        }  # fmt: skip
        _check_prompt(prompt)
        clips = self._read(source, driving, frames)
        check_start(start_frame, len(clips[0].frames))
        name = f"{Path(source).stem}-{Path(driving).stem}"
        run = RunFolder.open(output, name, settings, resume=resume)
        with run.named_on_stop():
            return self._tune(run, clips, prompt, seed, start_frame, adaptation, options, progress)

    def _tune(
        self, run: RunFolder, clips: tuple[Clip, Clip], prompt: str, seed: int,
        start: str | int, adaptation: AdaptationOptions, options: TuningOptions, progress: bool,
    ) -> Path:  # fmt: skip
        if (run.path / WEIGHTS).is_dir():  # resumed after tuning was done
            return run.path
        timings: dict[str, float] = {}
        peaks: dict[str, int] = {}
        device = self.backbone.device
        with timed(timings, "warp"), peak_memory(peaks, "warp", device):
            scene = self.warp(*clips, start_frame=start, adaptation=adaptation)
            scene.save(run.path / SCENE)
        with timed(timings, "tuning"), peak_memory(peaks, "tuning", device):
            unet, losses = self.fit(
                scene, prompt, options, seed=seed, checkpoint=run.path / CHECKPOINT,
                progress=progress,
            )  # fmt: skip
            save_weights(unet, run.path / WEIGHTS)
        (run.path / CHECKPOINT).unlink(missing_ok=True)
        run.note(
            timings=timings,
            peak_memory_cuda_mb=peaks,
            seed=seed,
            hashes=self._hashes(run),
            losses=losses,
        )
        return run.path

    def warp(
        self, source: Clip, driving: Clip, *, start_frame: str | int = "first",
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    ) -> Scene:  # fmt: skip
        """Sections 3.2 and 3.3: one source frame warped along the driving motion."""
        device = self.backbone.device
        latents = self.backbone.encode(source.frames)
        options = self.backbone.options(AdaptationOptions, adaptation, "adaptation")
        with self.backbone.at_work(self.lofnet) as lofnet:
            made = animate(
                lofnet, source.frames.to(device), latents, driving.frames.to(device),
                start=start_frame, adaptation=options,
            )  # fmt: skip
        return Scene(
            source.frames, driving.frames, latents, made.warped, made.motion.flow,
            made.driving.value, made.start, driving.fps, source.box,
        )  # fmt: skip

    def fit(
        self, scene: Scene, prompt: str, options: TuningOptions, *, seed: int,
        checkpoint: Path | None = None, progress: bool = False,
    ) -> tuple[UNet3D, list[float]]:  # fmt: skip
        """Section 3.4: a UNet tuned on the source and the warped clip, and its losses."""
        unet = self.inflate(options.group_norm)
        generator = torch.Generator().manual_seed(seed)
        add_lora(
            unet, rank=options.rank, layers=options.lora, blocks=options.lora_blocks,
            generator=generator,
        )  # fmt: skip
        with bar(progress, "tuning", options.iterations) as advance:
            losses = tune_unet(
                unet,
                scene.latents.to(self.backbone.device),
                scene.warped.to(self.backbone.device),
                self.backbone.embed([prompt]),
                self.backbone.schedule,
                options,
                seed=seed,
                checkpoint=checkpoint,
                progress=advance,
            )
        return unet, losses

    def generate(
        self,
        run: str | Path,
        *,
        output: str | Path | None = None,
        seed: int | None = None,
        generation: GenerationOptions | Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> Result:
        """Section 3.5 on a tuned run folder: invert, warp the noise, denoise, match colours."""
        options = self.backbone.options(GenerationOptions, generation, "generation")
        folder = RunFolder.load(run)
        with folder.named_on_stop():
            return self._generate(folder, output, seed, options, progress)

    def _generate(
        self,
        folder: RunFolder,
        output: str | Path | None,
        seed: int | None,
        options: GenerationOptions,
        progress: bool,
    ) -> Result:
        settings, timings, peaks = folder.settings, {}, {}
        seed = settings["seed"] if seed is None else seed
        scene = Scene.load(folder.path / SCENE)
        unet = self.inflate(settings["tuning"]["group_norm"])
        load_weights(unet, folder.path / WEIGHTS)
        device = self.backbone.device
        with timed(timings, "sampling"), peak_memory(peaks, "sampling", device):
            latents = self.sample(
                unet, scene, settings["prompt"], options, seed=seed, progress=progress
            )
        with timed(timings, "decoding"), peak_memory(peaks, "decoding", device):
            frames = self.develop(latents, scene, options)
            warped = self.backbone.decode(scene.warped).cpu()
        with timed(timings, "writing"):
            written = write_result(folder.path, scene, frames, warped, output)
        generation = {**asdict(options), "seed": seed}
        folder.note(timings=timings, peak_memory_cuda_mb=peaks, generation=generation)
        return Result(*written, folder.path, timings=folder.record["timings"])

    def sample(
        self, unet: UNet3D, scene: Scene, prompt: str, options: GenerationOptions, *, seed: int,
        progress: bool = False,
    ) -> Tensor:  # fmt: skip
        """Section 3.5: latents f c h w of the result. LoRA of the tuned `unet` is merged."""
        merge_lora(unet.to(self.backbone.dtype))
        device, schedule = self.backbone.device, self.backbone.schedule
        generator = torch.Generator().manual_seed(seed)
        prompt_embedding, negative = self.backbone.embed([prompt, options.negative_prompt]).split(1)
        first = scene.latents[scene.start].to(device)[None, :, None]  # b c f h w
        steps, timesteps = options.steps, schedule.timesteps(options.steps).tolist()
        start = schedule.start(steps, options.denoise_from)
        with bar(progress, "inversion", steps - start) as advance:
            inverted = ddim_invert(
                unet, first, embedding=prompt_embedding, schedule=schedule, steps=steps,
                until=timesteps[start], progress=advance,
                cuda_graph=options.cuda_graph and device.type == "cuda",
            )  # fmt: skip
        # Started below pure noise, what is warped is the noise that the path had there: denoised
        # again it leads back to the source's details, which other noise would replace.
        noise = noise_in(schedule, inverted, first, timesteps[start]) if start else inverted
        noise = warp_noise(
            noise[:, :, 0], scene.flow.to(device), mode=options.noise_warp,
            weight=options.noise_weight, generator=generator,
        )  # fmt: skip
        noise = noise.transpose(0, 1)[None]  # b c f h w
        if start:
            warped = scene.warped.to(device).transpose(0, 1)[None]
            noise = add_noise(schedule, warped, noise, timesteps[start])
        with bar(progress, "sampling", steps - start) as advance:
            sampled = sample(
                unet, noise, start=start, solver=options.solver, embedding=prompt_embedding,
                negative=negative, guidance=options.guidance, schedule=schedule, steps=steps,
                window=options.window, overlap=options.overlap, generator=generator,
                progress=advance,
            )  # fmt: skip
        return sampled[0].transpose(0, 1)

    def _read(self, source: str | Path, driving: str | Path, frames: int) -> tuple[Clip, Clip]:
        size = self.backbone.image_size
        return (
            read_clip(source, frames=frames, size=size, role="source"),
            read_clip(driving, frames=frames, size=size, minimum=2, role="driving clip"),
        )

    def develop(self, latents: Tensor, scene: Scene, options: GenerationOptions) -> Tensor:
        """Frames f c H W on the backbone's canvas, in the source's colours."""
        frames = self.backbone.decode(latents).cpu()
        return match_histograms(frames, scene.source) if options.match_colours else frames

    def inflate(self, group_norm: str = "pooled") -> UNet3D:
        """A fresh UNet for clips on the device; the backbone's own stays as it is."""
        unet = inflate(copy.deepcopy(self.backbone.unet), group_norm=group_norm)
        return unet.to(self.backbone.device)

    def tuning_options(self, given: TuningOptions | Mapping[str, Any] | None) -> TuningOptions:
        """What is given, else what saves memory, else what preset or backbone recommend."""
        if not isinstance(given, TuningOptions):
            given = self.memory.tuning(given)
        return self.backbone.options(TuningOptions, given, "tuning")

    def _hashes(self, run: RunFolder) -> dict[str, Any]:
        tuned = sorted((run.path / WEIGHTS).glob("*.safetensors"))
        return {
            "backbone": self.backbone.hashes,
            "lofnet": self.lofnet_hashes,
            "tuned": {path.name: file_hash(path) for path in tuned},
        }


def transfer(
    source: str | Path,
    driving: str | Path,
    *,
    prompt: str,
    output: str | Path | None = None,
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    frames: int = 10,
    seed: int = 0,
    start_frame: str | int = "first",
    device: str = "auto",
    precision: str = "auto",
    memory: Mapping[str, Any] | None = None,
    preset: str | None = None,
    resume: bool = False,
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    tuning: TuningOptions | Mapping[str, Any] | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Result:
    """Move the character of `source` as the character of `driving` moves.

    Args:
        source: clip or picture of the character: a video file, strip, or folder of frames.
        driving: clip of the motion, of at least two frames.
        prompt: a few words for what the source shows, such as "a turtle".
        output: the run folder, or a file .mp4, .gif or .webm for the video.
        backbone: `auto`, `mini`, a diffusers folder, one file of Stable Diffusion 1.x, or a hub id.
        lofnet: folder of LOFNet weights; None takes those beside the backbone.
        frames: length of the result.
        seed: fixes all that is random.
        start_frame: the source frame that is moved: `first`, its number from 0, or `auto`, the
            one whose pose is nearest to the driving clip's first.
        device: `auto`, or a torch device.
        precision: `auto`, `fp32`, `fp16` or `bf16`.
        memory: `{"vram": 8}` makes do with 8 GiB of graphics memory (also 12, 16, 24, `auto`);
            `offload` and `frames_at_once` may be set apart.
        preset: `paper`, its literal schedule, or `fast`; None takes what suits the backbone.
        resume: go on with an interrupted run of the same settings.
        adaptation: options, or a mapping of some of them; None entries take the backbone's.
        tuning, generation: likewise.
        progress: show progress bars.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    mover = MotionTransfer.load(
        backbone, lofnet, device=device, precision=precision, memory=memory, preset=preset
    )
    return mover.transfer(
        source, driving, prompt=prompt, output=output, frames=frames, seed=seed,
        start_frame=start_frame, resume=resume, adaptation=adaptation, tuning=tuning,
        generation=generation, progress=progress,
    )  # fmt: skip


def tune(
    source: str | Path,
    driving: str | Path,
    *,
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    memory: Mapping[str, Any] | None = None,
    preset: str | None = None,
    **settings: Any,
) -> Path:
    """The first half of `transfer`, with its settings; returns the run folder."""
    mover = MotionTransfer.load(
        backbone, lofnet, device=device, precision=precision, memory=memory, preset=preset
    )
    return mover.tune(source, driving, **settings)


def generate(
    run: str | Path,
    *,
    output: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    memory: Mapping[str, Any] | None = None,
    preset: str | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Result:
    """The second half of `transfer`, on a run folder that `tune` wrote; `preset` None: as tuned."""
    settings = RunFolder.load(run).settings
    mover = MotionTransfer.load(
        settings["backbone"], settings["lofnet"], device=device, precision=precision,
        memory=memory, preset=preset or settings.get("preset"),
    )  # fmt: skip
    return mover.generate(run, output=output, seed=seed, generation=generation, progress=progress)


def demo(*, output: str | Path | None = None, seed: int = 0, **settings: Any) -> Result:
    """Draw a turtle that stands and a rhino that jumps, and move the one like the other."""
    from anamodiff import creatures

    pair = creatures.draw_pair(
        DEMO_PAIR, source_species="turtle", driving_species="rhino", motion="jump"
    )
    folder = OUTPUTS / "demo"
    clips = {folder / "turtle.gif": pair.source, folder / "rhino.gif": pair.driving}
    for path, drawn in clips.items():
        write_video(path, from_pixels(drawn.frames), drawn.fps)
    return transfer(*clips, prompt=pair.source_caption, output=output, seed=seed, **settings)


def _check_prompt(prompt: str) -> None:
    if not isinstance(prompt, str) or not prompt.strip():
        raise AnaMoDiffError(f'expected a prompt of a few words such as "a turtle", got {prompt!r}')
