"""What every setting of every command may be, and how the command line spells it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anamodiff.presets import PRESETS


@dataclass(frozen=True)
class Kind:
    """What a setting may be: words for the error line, and the test itself."""

    words: str
    accepts: Callable[[Any], bool]

    def or_null(self) -> "Kind":
        """The same, or null (which lets the stage choose)."""
        return Kind(f"{self.words} or null", lambda value: value is None or self.accepts(value))


def whole(low: int, high: int | None = None) -> Kind:
    """Whole numbers from `low` to `high`, both included."""
    words = f"of at least {low}" if high is None else f"from {low} to {high}"
    top = math.inf if high is None else high
    return Kind(f"a whole number {words}", lambda value: type(value) is int and low <= value <= top)


def number(above: float | None = None, below: float = math.inf) -> Kind:
    """Finite numbers less than `below`, and greater than `above` or, without it, at least 0."""
    words = "a number of at least 0" if above is None else f"a number above {above:g}"
    words += f" and below {below:g}" if below < math.inf else ""

    def accepts(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        return value < below and (value >= 0 if above is None else value > above)

    return Kind(words, accepts)


def span(low: float, high: float) -> Kind:
    """Numbers from `low` to `high`, both included."""
    words = f"a number from {low:g} to {high:g}"
    return Kind(words, lambda value: type(value) in (int, float) and low <= value <= high)


def share() -> Kind:
    """Numbers from 0 to 1."""
    return span(0, 1)


def choice(*words: str) -> Kind:
    """One of a few words."""
    return Kind(f"one of {', '.join(words)}", lambda value: value in words)


TEXT = Kind("text that is not empty", lambda value: isinstance(value, str) and value.strip() != "")
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
# Null where a command can do without; readers of clips and prompts refuse it.
OPTIONAL = Kind(TEXT.words, lambda value: value is None or TEXT.accepts(value))
FILES = Kind(
    "names of files",
    lambda value: (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(map(TEXT.accepts, value))
    ),
)
START = Kind(
    '"first", "auto" or a frame number from 0',
    lambda value: value in ("first", "auto") or whole(0).accepts(value),
)

# Graphics memory in GiB that `anamodiff.memory` has settings for.
VRAM = (8, 12, 16, 24)

KINDS: dict[str, Kind] = {
    "clip": TEXT,
    "result": TEXT,
    "source": OPTIONAL,
    "driving": TEXT.or_null(),  # null is for `inspect`; readers of clips refuse it
    "truth": TEXT.or_null(),
    "prompt": OPTIONAL,
    "clip_model": TEXT,
    "size": whole(16).or_null(),
    "figure.name": TEXT,
    "figure.methods": TEXT,
    "launcher": TEXT,
    "pairs": TEXT,
    "methods": TEXT,
    "method": TEXT.or_null(),
    "limit": whole(1).or_null(),
    "workers": whole(1),
    "list": TEXT,
    "jobs": whole(1),
    "job": whole(0),
    "launch": TEXT.or_null(),
    "threads": whole(0),
    "results": TEXT,
    "answers": FILES,
    "key": TEXT.or_null(),
    "data": TEXT,
    "run": TEXT,
    "output": TEXT.or_null(),
    "cache": TEXT.or_null(),
    "backbone": TEXT,
    "lofnet": TEXT.or_null(),
    "frames": whole(2),
    "seed": whole(0).or_null(),
    "start_frame": START,
    "preset": choice(*PRESETS).or_null(),
    "device": TEXT,
    "precision": TEXT,
    "unit": choice("person", "ranking"),
    "what": TEXT,
    "from": TEXT.or_null(),
    "resume": SWITCH,
    "progress": SWITCH,
    "show.pairs": whole(1).or_null(),
    "show.methods": TEXT.or_null(),
    "show.title": TEXT,
    # Null lets the backbone's folder, else the paper, decide.
    "adaptation.scale": choice("hull", "none", "axes", "parts").or_null(),
    "adaptation.smooth": span(0, 10).or_null(),
    "tuning.iterations": whole(1).or_null(),
    "tuning.plateau": number(below=1).or_null(),
    "tuning.iterations_min": whole(1).or_null(),
    "tuning.optimiser": choice("adam", "muon").or_null(),
    "tuning.lr": number(above=0).or_null(),
    "tuning.rank": whole(1).or_null(),
    "memory.vram": Kind(
        f"one of {', '.join(map(str, VRAM))}, auto",
        lambda value: value == "auto" or (type(value) is int and value in VRAM),
    ).or_null(),
    "memory.offload": SWITCH.or_null(),
    "memory.frames_at_once": whole(1).or_null(),
    "tuning.lora": choice("attention", "all").or_null(),
    "tuning.noise_min": whole(0, 999).or_null(),
    "tuning.noise_max": whole(1, 1000).or_null(),
    "tuning.source_noise_min": whole(0, 999).or_null(),
    "tuning.source_noise_max": whole(1, 1000).or_null(),
    "tuning.warped_weight": number().or_null(),
    "tuning.group_norm": choice("pooled", "per_frame").or_null(),
    "tuning.lora_blocks": choice("all", "mid_up").or_null(),
    "tuning.checkpoint_levels": choice("none", "top", "all").or_null(),
    "tuning.clips_at_once": whole(1, 2).or_null(),
    "tuning.window": whole(2).or_null(),
    "tuning.checkpoint_every": whole(1).or_null(),
    "generation.steps": whole(1, 1000).or_null(),
    "generation.solver": choice("ddim", "dpm").or_null(),
    "generation.guidance": number().or_null(),
    "generation.negative_prompt": Kind("text", lambda value: isinstance(value, str)).or_null(),
    "generation.noise_warp": choice("nearest", "preserve", "paper", "bilinear").or_null(),
    "generation.noise_weight": share().or_null(),
    "generation.match_colours": SWITCH.or_null(),
    "generation.denoise_from": whole(1, 1000).or_null(),
    "generation.window": whole(2).or_null(),
    "generation.overlap": whole(1).or_null(),
    "generation.cuda_graph": SWITCH.or_null(),
    "network.motion": choice("affine", "tps"),
    "network.*.encoder": choice("hourglass", "resnet18"),
    "network.*.block_expansion": whole(1),
    "network.*.max_features": whole(1),
    "network.*.num_blocks": whole(1),
    "network.*.num_channels": whole(1),
    "network.*.num_kp": whole(3),  # key-point adaptation takes their hull's area
    "network.*.scale_factor": number(above=0),
    "network.*.kp_variance": number(above=0),
    "network.*.temperature": number(above=0),
    "network.*.estimate_jacobian": SWITCH,
    "network.*.single_jacobian_map": SWITCH,
    "network.*.pad": whole(0),
    "network.*.dropout": number(below=1),
    "network.frame_size": whole(16),
    "lofnet.detector": choice("own", "fomm"),
    "lofnet.checkpoint": TEXT.or_null(),
    "lofnet.config": TEXT.or_null(),
    "lofnet.detector_lr": number().or_null(),
    "lofnet.start": TEXT.or_null(),
    "training.steps": whole(1),
    "training.epochs": number(above=0).or_null(),
    "training.batch_size": whole(1),
    "training.optimiser": choice("adam", "muon"),
    "training.lr": number(above=0),
    "training.schedule": choice("cosine", "constant"),
    "training.warmup": whole(0),
    "training.equivariance": number(),
    "training.separation": number(),
    "training.balance": share(),
    "training.average": share(),
    "training.clip_gradient": number(above=0),
    "training.flip": SWITCH,
    "training.time_flip": SWITCH,
    "training.max_distance": whole(1).or_null(),
    "training.far": whole(0),
    "training.colour_jitter": share(),
    "training.size_jitter": share(),
    "training.precision": choice("auto", "fp32", "bf16"),
    "training.held_out": share(),
    "training.patience": whole(1).or_null(),
    "training.frames_per_clip": whole(2),
    "training.log_every": whole(1),
    "training.measure_every": whole(1),
    "training.picture_every": whole(1),
    "training.save_every": whole(1),
}


# Keys with a flag of their own on the command line; `anamodiff.commands` says what each flag means.
FLAG_KEYS = (
    *("clip", "source", "driving", "prompt", "data", "run", "output", "backbone", "lofnet"),
    *("frames", "seed", "start_frame", "device", "precision", "resume"),
    *("generation.steps", "generation.guidance", "tuning.iterations", "tuning.noise_min"),
    *("training.steps", "preset", "memory.vram"),
    *("result", "truth", "clip_model"),
    *("figure", "pairs", "methods", "method", "limit", "workers"),
    *("results", "answers", "key", "show.pairs", "show.methods"),
    *("list", "jobs"),
    *("what", "from"),
)


# Keys that a command takes without a flag, before everything else.
POSITIONAL = ("clip", "result", "figure", "pairs", "results", "answers", "list", "what")
# Those of them that take several words.
SEVERAL = ("answers",)
# Other spellings of flags.
ALIASES = {"output": ("--out",)}


def shown(key: str) -> str:
    """How the command line spells a key: its flag where it has one, the key itself elsewhere."""
    if key in POSITIONAL:
        return key.upper()
    return f"--{key.rpartition('.')[2].replace('_', '-')}" if key in FLAG_KEYS else key


def kind_of(key: str) -> Kind | None:
    """What a dotted key may hold; None where there is no such key."""
    return KINDS.get(key) or KINDS.get(re.sub(r"^network\.\w+\.", "network.*.", key))


def typed(key: str, value: object) -> object:
    """What a word means for `key`: text where it takes that, else a number, true or false."""
    kind = kind_of(key)
    if not isinstance(value, str) or (kind and kind.accepts(value)):
        return value
    for number_type in (int, float):
        try:
            return number_type(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value.lower(), value)


def dotted(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level: `{"tuning": {"lr": 1}}` becomes `{"tuning.lr": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= dotted(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat
