"""The options of a transfer: each field declares type, range, default, help text and flag.

The command line, the checks of configurations and of a notebook's arguments, and docs/settings.md
all derive from these fields. LOFNet's own options are declared in the same way in
`anamodiff.lofnet.options` and `anamodiff.lofnet.training.options`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import TEXT, Kind, Options, setting, settings_of, whole

ScaleRule = Literal["learnt", "hull", "none", "axes", "parts"]
PoseRule = Literal["auto", "skeleton", "points"]
PoseStart = Literal["auto", "absolute", "relative"]
SourceFrames = Literal["nearest", "start"]
LoraLayers = Literal["attention", "all"]
LoraBlocks = Literal["all", "mid_up"]
GroupNormMode = Literal["pooled", "per_frame"]
CheckpointLevels = Literal["none", "top", "all"]
Solver = Literal["ddim", "dpm"]
NoiseWarp = Literal["nearest", "preserve", "paper", "bilinear"]
Vram = Literal[8, 12, 16, 24, "auto"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
Preset = Literal["paper", "fast"]
StartFrame = str | int

FRAMES = 10  # of a result; the paper's
#: Of one clip: so many of 512x512 pixels take 2 GB while they are read, and as much when written.
MOST_FRAMES = 600

#: Settings by preset and stage. What is not named takes the fields' own defaults, which are the
#: paper's but for what `paper` names here. A backbone's folder may have its own (`presets` in its
#: `anamodiff.json`).
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "adaptation": {"pose": "points", "scale": "hull"},
        "tuning": {"temporal_lr": 1.0},
        "generation": {"noise_warp": "paper"},
    },
    "fast": {
        "tuning": {"iterations": 150, "window": 4},
        "generation": {"steps": 20, "solver": "dpm"},
    },
}

START = Kind(
    '"first", "auto" or a frame number from 0',
    lambda value: value in ("first", "auto") or whole(0).accepts(value),
)
GROUND = Kind(
    'source, driving, transparent or a colour such as "#80C0FF"',
    lambda value: (
        value in ("source", "driving", "transparent")
        or (isinstance(value, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", value) is not None)
    ),
)
PROMPT = Kind('a few words, such as "a turtle", for what the source shows', TEXT.accepts)


@dataclass(frozen=True, kw_only=True)
class AdaptationOptions(Options):
    """How characters are cut out and the driving motion moved onto the source (section 3.3)."""

    section: ClassVar[str] = "adaptation"

    matte: str = setting(
        "auto",
        "how both characters are cut out of their grounds: by the file's own alpha channel where "
        "it has one, plain grounds by colour, others by a network (auto), not at all (none), or by "
        "your own masks, white on black: a folder, clip or picture of as many frames as either "
        "clip, or a folder of source and driving",
        flag="--matte", metavar="auto|none|PATH",
    )  # fmt: skip

    pose: PoseRule = setting(
        "auto",
        "what carries the motion: a skeleton of named joints, retargeted to the source's body; key "
        "points, the paper's; or skeletons where both clips surely show one (auto)",
    )
    start: PoseStart = setting(
        "auto",
        "with skeletons and learnt points: the first frame has the driving clip's pose (absolute), "
        "the source's own (relative), or the driving clip's but for joints that the source has "
        "nearly there (auto; of points: absolute)",
    )
    sources: SourceFrames = setting(
        "nearest",
        "with skeletons and learnt points: each frame is warped from the source frame of the "
        "nearest pose, or all from the start frame; a start frame given by number is the only one",
    )
    scale: ScaleRule = setting(
        "learnt",
        "with key points: how the motion is moved onto the source: by a network, where the flow "
        "network has one (learnt, else hull), or scaled by the areas of the key points' hulls "
        "(hull, the paper's), not at all (none), along x and y separately (axes), or each point by "
        "the size of its surroundings (parts)",
    )
    smooth: float = setting(
        0.0,
        "with key points: smoothing of the driving points over time: standard deviation of a "
        "Gaussian, in frames; 0 is none",
        low=0, high=10,
    )  # fmt: skip
    motion_scale: float = setting(
        1.0,
        "how far the motion goes, as a multiple of the driving clip's own: about the start pose "
        "with key points; with skeletons about where the body starts, and for each bone about its "
        "mean direction; 0 is none",
        low=0, high=3,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TuningOptions(Options):
    """Disentangled tuning (paper, sections 3.4 and 4)."""

    section: ClassVar[str] = "tuning"

    iterations: int = setting(
        250, "tuning iterations; 0 samples with the UNet untuned", low=0, flag="--iterations"
    )
    plateau: float = setting(
        0.0,
        "stop early once ten iterations lower the loss, on fixed noise, by less than this share; "
        "0 never stops",
        low=0, below=1,
    )  # fmt: skip
    iterations_min: int = setting(40, "iterations before tuning.plateau may stop", low=1)
    lr: float = setting(5e-4, "learning rate of Adam", above=0)
    # At Stable Diffusion's width a first step of 5e-4 changes the output many times as much by
    # the temporal attention, whose matrices are whole, as by LoRA (docs/experiments.md).
    temporal_lr: float = setting(
        0.06,
        "learning rate of the temporal attention, as a multiple of tuning.lr: 0.06 is "
        "Tune-A-Video's 3e-5 beside the paper's 5e-4; 1 is the one rate that the paper names",
        low=0,
    )  # fmt: skip
    rank: int = setting(16, "rank of the LoRA; the paper names none", low=1)
    lora: LoraLayers = setting(
        "attention",
        "layers with LoRA: the attention layers (the paper's), or all, convolutions and "
        "feed-forward layers too",
    )
    lora_blocks: LoraBlocks = setting(
        "all",
        "blocks of the UNet with LoRA: all, or mid_up, which leaves the down blocks as they are "
        "and saves a fifth of the time",
    )
    noise_min: int = setting(
        850, "lowest timestep at which the warped clip is learnt; 900 suits letters", low=0,
        high=999, flag="--noise-min", metavar="T",
    )  # fmt: skip
    noise_max: int = setting(
        1000, "the warped clip is learnt at timesteps below this one", low=1, high=1000
    )
    source_noise_min: int = setting(
        0, "lowest timestep at which the source is learnt", low=0, high=999
    )
    source_noise_max: int = setting(
        1000, "the source is learnt at timesteps below this one", low=1, high=1000
    )
    warped_weight: float = setting(
        1.0, "weight of the warped clip's loss; 0 tunes on the source alone", low=0
    )
    unseen_weight: float = setting(
        1.0,
        "with skeletons: weight in the warped clip's loss of cells that no source frame shows; 0 "
        "leaves them out",
        low=0, high=1,
    )  # fmt: skip
    group_norm: GroupNormMode = setting(
        "pooled",
        "statistics of the UNet's group norms: over all frames of a clip (pooled, as in "
        "Tune-A-Video), or over each frame",
    )
    checkpoint_levels: CheckpointLevels = setting(
        "none",
        "gradient checkpointing, which saves memory and takes longer: of no level of the UNet, of "
        "the top (finest) one, or of all",
    )
    clips_at_once: int = setting(
        2, "2 tunes on source and warped clip together, 1 on one after the other, to save memory",
        low=1, high=2,
    )  # fmt: skip
    window: int = setting(
        10,
        "frames of a clip in an iteration; of a longer clip, frame 0 and a random run of others",
        low=2,
    )  # fmt: skip
    checkpoint_every: int = setting(
        25, "iterations between checkpoints, from which a stopped run goes on", low=1
    )
    cuda_graph: bool | None = setting(
        None,
        "replay iterations as a CUDA graph; no effect on other devices and in fp16 (default: on "
        "CUDA devices without gradient checkpointing, where 20 iterations or more are left)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("source_noise_min", "source_noise_max"), ("noise_min", "noise_max")):
            first, stop = getattr(self, low), getattr(self, high)
            if first >= stop:
                raise AnaMoDiffError(
                    f"tuning.{low}: expected less than tuning.{high}, got {first} and {stop}; "
                    f"lower the one or raise the other"
                )


@dataclass(frozen=True, kw_only=True)
class GenerationOptions(Options):
    """Inversion and sampling (paper, section 3.5)."""

    section: ClassVar[str] = "generation"

    steps: int = setting(50, "steps of inversion and of sampling", low=1, high=1000, flag="--steps")
    solver: Solver = setting("ddim", "sampler; dpm is DPM-Solver++ (2M), for 20 steps or fewer")
    guidance: float = setting(
        7.5, "classifier-free guidance scale; 1 is no guidance", low=0, flag="--guidance",
        metavar="X",
    )  # fmt: skip
    negative_prompt: str = setting(
        "", "what guidance leads away from", kind=Kind("text", lambda value: isinstance(value, str))
    )
    noise_warp: NoiseWarp = setting(
        "nearest",
        "how the inverted noise is warped: nearest cell; bilinear, which loses variance; preserve, "
        "which adds as much fresh noise as is lost; paper, which adds one amount everywhere",
    )
    noise_weight: float = setting(
        0.7, "weight of the fresh noise that noise_warp=paper adds", low=0, high=1
    )
    ground: str = setting(
        "source",
        "what the result stands on: the source's own ground (white, if that is transparent), the "
        "driving clip's (driving), a colour such as #80C0FF, or nothing (transparent)",
        kind=GROUND, flag="--ground", metavar="source|driving|#RRGGBB|transparent",
    )  # fmt: skip
    match_colours: bool = setting(
        True, "match the histogram of the result's foreground to the source's"
    )
    detail: float = setting(
        0.0,
        "width, as a share of the picture's side, up to which detail of the character is the "
        "warped clip's, for UNets that blur patterns; 0 is none",
        low=0, high=0.25,
    )  # fmt: skip
    denoise_from: int = setting(
        1000,
        "timestep at which sampling starts: 1000 is noise alone; below, the warped clip noised to "
        "that level",
        low=1, high=1000,
    )  # fmt: skip
    unseen_from: int | None = setting(
        None,
        "with skeletons: timestep above denoise_from from which cells are denoised that no source "
        "frame shows, out of fresh noise (default: like all others)",
        low=1, high=1000,
    )  # fmt: skip
    window: int = setting(
        10, "frames that are denoised together; longer clips take several windows", low=2
    )
    overlap: int = setting(5, "frames that a window shares with the one before it", low=1)
    max_size: int = setting(
        1024,
        "longer side, in pixels, at which the result of a larger source is written; 0 is the "
        "source's own size",
        low=0, flag="--max-size", metavar="N",
    )  # fmt: skip
    cuda_graph: bool | None = setting(
        None,
        "replay inversion, and sampling in one window, as CUDA graphs; no effect on other devices "
        "(default: on CUDA devices, from ten steps on)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(self.window, self.overlap)


def check_windows(window: int, overlap: int) -> None:
    """Refuse windows that bring nothing new, or share nothing."""
    if not 1 <= overlap < window:
        raise AnaMoDiffError(
            "generation.overlap: expected at least 1 frame and less than generation.window, got "
            f"overlap {overlap} and window {window}; make generation.overlap smaller"
        )


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Options):
    """Graphics memory.

    It changes no result but for rounding, and has no effect on a CPU.
    """

    section: ClassVar[str] = "memory"

    vram: Vram | None = setting(
        None,
        "graphics memory to make do with, in GiB; auto is what is free on a CUDA device (default: "
        "auto)",
        flag="--vram",
    )  # fmt: skip
    offload: bool | None = setting(
        None, "keep idle models in main memory (default: with --vram 8 and 12)"
    )
    frames_at_once: int | None = setting(
        None,
        "frames that the autoencoder takes at once (default: 1 with --vram 8, 2 with 12, else 4)",
        low=1,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """A transfer: clips, prompt, models, machine."""

    source: str | None = setting(
        None, "clip or picture of the character that is to move", flag="--source", metavar="FILE"
    )
    driving: str | None = setting(
        None, "clip of the motion that it is to perform", flag="--driving", metavar="FILE"
    )
    prompt: str | None = setting(
        None, 'what the source shows, in a few words such as "a turtle"', kind=PROMPT.or_null(),
        flag="--prompt", metavar="TEXT",
    )  # fmt: skip
    output: str | None = setting(
        None,
        "run folder, or FILE.mp4, .gif, .webm, .webp, .apng, .mov, .m4v or .mkv for the video "
        "(default: a new folder in outputs/)",
        flag="--output", metavar="PATH",
    )  # fmt: skip
    backbone: str = setting(
        "auto",
        "mini (embedded), a diffusers folder, one .safetensors or .ckpt file, a hub id, or auto, "
        "SD v1.4 on a CUDA device that has it or can fetch it, else mini",
        flag="--backbone", metavar="NAME",
    )  # fmt: skip
    lofnet: str | None = setting(
        None,
        "folder of LOFNet weights for the backbone's latents, or mini, the embedded ones, which "
        "serve any backbone (default: those beside the backbone, else mini)",
        flag="--lofnet", metavar="FOLDER",
    )  # fmt: skip
    size: int | None = setting(
        None,
        "pixels along the side of the square that the backbone works at; mini takes less than half "
        "the time at 128 (default: what the backbone recommends, 256 with mini, else what its UNet "
        "was made for, 512 with SD v1.4; in benchmark and ablation always the latter, 128 with "
        "mini, so that figures stay comparable)",
        low=16, high=4096, flag="--size", metavar="N",
    )  # fmt: skip
    frames: int = setting(
        FRAMES, "frames of the result, sampled evenly from the driving clip", low=2,
        high=MOST_FRAMES, flag="--frames",
    )  # fmt: skip
    seed: int | None = setting(
        0,
        "the same seed gives the same result on the same machine; on a GPU but for rounding, "
        "because its kernels add in no fixed order",
        low=0, flag="--seed",
    )  # fmt: skip
    start_frame: StartFrame = setting(
        "first",
        "source frame that is moved: first, its number from 0, or auto, the one whose pose is "
        "nearest to the driving clip's first",
        kind=START, flag="--start-frame",
    )  # fmt: skip
    preset: Preset | None = setting(
        None,
        "settings of all stages: the paper's, or fast ones (default: what the backbone recommends)",
        flag="--preset",
    )  # fmt: skip
    device: str = setting(
        "auto", "cpu, cuda, cuda:1, mps, or auto, a GPU where there is one", flag="--device",
        metavar="NAME",
    )  # fmt: skip
    precision: Precision = setting(
        "auto",
        "number format of the backbone; auto is bf16 on CUDA devices that have it, fp16 on others; "
        "on CPUs bf16 in those stages where it was measured, once for the machine, to be a tenth "
        "faster, else fp32; fp32 elsewhere",
        flag="--precision",
    )  # fmt: skip
    resume: bool = setting(
        False, "go on with a run that was stopped: --output, or the newest with these settings",
        flag="--resume",
    )  # fmt: skip
    progress: bool = setting(True, "show progress bars")


#: The options of a transfer's stages, by section.
STAGES: dict[str, type[Options]] = {
    kind.section: kind for kind in (AdaptationOptions, TuningOptions, GenerationOptions)
}


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """The options of all stages of a transfer, resolved before any work begins."""

    adaptation: AdaptationOptions
    tuning: TuningOptions
    generation: GenerationOptions


def resolve(
    *,
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    tuning: TuningOptions | Mapping[str, Any] | None = None,
    generation: GenerationOptions | Mapping[str, Any] | None = None,
    memory: Mapping[str, Any] | None = None,
    preset: str | None = None,
    recommended: Mapping[str, Any] | None = None,
) -> TransferOptions:
    """The options of all stages: what is given, else what saves memory, else the preset's.

    Args:
        adaptation, tuning, generation: options, or mappings of some; None entries are not given.
        memory: tuning's settings that graphics memory asks for.
        preset: a name in `PRESETS`; None takes what the backbone recommends.
        recommended: the backbone's `anamodiff.json`: by section, and by preset under ``presets``.
            What nobody names is the paper's.

    Raises:
        AnaMoDiffError: an unknown preset or setting, or a value out of range.
    """
    settings_of(RunOptions)["preset"].check(preset, "--preset")
    advice = recommended or {}
    if preset is not None:
        advice = advice.get("presets", {}).get(preset, PRESETS[preset])
    given = {"adaptation": adaptation, "tuning": tuning, "generation": generation}
    found: dict[str, Any] = {}
    for section, kind in STAGES.items():
        own, saved = given[section], memory if section == "tuning" else None
        whole_options = isinstance(own, kind)
        found[section] = own if whole_options else kind.build(own, saved, advice.get(section))
    return TransferOptions(**found)
