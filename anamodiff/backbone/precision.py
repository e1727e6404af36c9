"""Number formats: by name, by stage of a transfer, and chosen by measurement on CPUs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from anamodiff import __version__
from anamodiff.backbone.probe import REVISION as PROBE
from anamodiff.backbone.probe import bf16_gains
from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import replacing

logger = logging.getLogger(__name__)

#: What the settings call each number format.
PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
DTYPES = {name: dtype for dtype, name in PRECISIONS.items()}
GAIN = 1.1  # times as fast that bf16 must be on a CPU
CACHE_VARIABLE = "ANAMODIFF_CACHE"


@dataclass(frozen=True)
class StagePrecision:
    """The number format of each stage: tuning, sampling (with inversion), decoding."""

    tuning: torch.dtype
    sampling: torch.dtype
    decoding: torch.dtype

    @classmethod
    def uniform(cls, dtype: torch.dtype) -> StagePrecision:
        """One format for all stages."""
        return cls(dtype, dtype, dtype)

    @classmethod
    def parse(cls, text: str) -> StagePrecision:
        """What `str` gave: one name, or `tuning=bf16,sampling=bf16,decoding=fp32`.

        Raises:
            AnaMoDiffError: it is neither.
        """
        if text in DTYPES:
            return cls.uniform(DTYPES[text])
        pairs = (part.partition("=") for part in text.split(","))
        parts = {stage: name for stage, _, name in pairs}
        names = [field.name for field in fields(cls)]
        if list(parts) != names or not set(parts.values()) <= set(DTYPES):
            raise AnaMoDiffError(f"expected precision auto, {', '.join(DTYPES)}, got {text!r}")
        return cls(*(DTYPES[parts[name]] for name in names))

    def __str__(self) -> str:
        """One name where all weights are in single precision, else that of each stage."""
        if self == StagePrecision.uniform(torch.float32):
            return PRECISIONS[torch.float32]
        return ",".join(f"{f.name}={PRECISIONS[getattr(self, f.name)]}" for f in fields(self))


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The format that weights are loaded in.

    `auto` is half precision on GPUs (bf16 where the GPU has it). On CPUs it is fp32, and each stage
    may compute in bf16 (`measured_precision`); so it is where the stages are named one by one.
    """
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        # Older GPUs (T4, V100, RTX 20xx) emulate bf16, which is slow.
        own = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if own else torch.float16
    if precision in DTYPES:
        return DTYPES[precision]
    StagePrecision.parse(precision)
    return torch.float32


def stage_precision(precision: str, device: torch.device) -> StagePrecision:
    """The format of each stage; `auto` on a CPU is measured, once for each machine."""
    if is_measured(precision, device):
        return measured_precision()
    if precision in ("auto", *DTYPES):
        return StagePrecision.uniform(choose_precision(precision, device))
    return StagePrecision.parse(precision)


def is_measured(precision: str, device: torch.device) -> bool:
    """Whether a measurement decides."""
    return precision == "auto" and device.type == "cpu"


def measured_precision() -> StagePrecision:
    """What this CPU computes each stage in: bf16 where that gains a tenth, else fp32.

    It is measured for less than a second, and kept in a file of the user's cache folder for this
    processor, version of torch and number of threads. The file may be deleted; a broken one is
    measured anew.
    """
    machine = machine_key()
    path = _cache_file(machine)
    if (known := _read(path)) is not None:
        return known
    gains = bf16_gains()
    found = StagePrecision(**{stage: _choose(gain) for stage, gain in gains.items()})
    if (known := _read(path)) is not None:  # of another process, which was faster
        return known
    words = ", ".join(
        f"{stage} {'not measured, the machine is busy' if gain is None else f'{gain:.2f}'}"
        for stage, gain in gains.items()
    )
    logger.info("precision: %s (bf16 against fp32, times as fast: %s)", found, words)
    if None not in gains.values():
        _write(path, {**machine, "gains": gains, "precision": str(found)})
    return found


def machine_key() -> dict[str, str | int]:
    """What a measurement holds for."""
    return {
        "processor": _processor(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "anamodiff": __version__,
        "probe": PROBE,
    }


def _choose(gain: float | None) -> torch.dtype:
    return torch.bfloat16 if gain is not None and gain >= GAIN else torch.float32


def cache_folder() -> Path:
    """The user's cache folder for AnaMoDiff, or what `ANAMODIFF_CACHE` names."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "anamodiff"


def _cache_file(machine: dict[str, str | int]) -> Path | None:
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()
    with suppress(RuntimeError):  # a user without a home
        return cache_folder() / f"cpu-precision-{digest[:16]}.json"
    return None


def _read(path: Path | None) -> StagePrecision | None:
    """A choice that was kept; None where there is none that can be read."""
    if path is None:
        return None
    try:
        return StagePrecision.parse(json.loads(path.read_text(encoding="utf-8"))["precision"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AnaMoDiffError):
        return None


def _write(path: Path | None, content: dict[str, object]) -> None:
    """Write atomically; where nothing can be written, the next run measures again."""
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    """Name and abilities of the processor: virtual machines give different ones the same name."""
    lines = []
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        first = text.partition("\n\n")[0].splitlines()
        kept = ("model name", "flags", "features", "cpu part", "cpu implementer")
        lines = [line for line in first if line.lower().startswith(kept)]
    words = [platform.machine(), platform.processor(), *lines]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    name = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    return f"{name or platform.processor() or platform.machine()} {digest}"
