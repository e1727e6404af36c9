"""Tuning that goes on with less memory where it ran out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, get_args

import torch

from anamodiff.backbone.memory import VRAM_PRESETS, Memory
from anamodiff.errors import AnaMoDiffError, is_out_of_memory
from anamodiff.options import CheckpointLevels, TuningOptions

logger = logging.getLogger(__name__)

T = TypeVar("T")
_LEVELS: tuple[str, ...] = get_args(CheckpointLevels)  # the more, the less memory


def with_less_memory(
    fit: Callable[[TuningOptions], T],
    options: TuningOptions,
    adopt: Callable[[Memory], None],
) -> T:
    """What `fit` gives; where memory runs out, again with the next memory preset, and so on.

    `fit` goes on from its own checkpoint, so little is lost.

    Args:
        fit: tunes with some options.
        adopt: lets the models rest where a preset says.

    Raises:
        AnaMoDiffError: the smallest preset takes too much.
    """
    while True:
        try:
            return fit(options)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the error's traceback keeps the tensors alive.
        options, memory = _smaller(options)
        adopt(memory)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _smaller(options: TuningOptions) -> tuple[TuningOptions, Memory]:
    """Options that take less memory, those of the largest preset that does."""
    now = _thrift(options.checkpoint_levels, options.clips_at_once)
    for vram, memory in sorted(VRAM_PRESETS.items(), reverse=True):
        levels, clips = memory.checkpoint_levels, memory.clips_at_once
        assert levels is not None and clips is not None  # every preset names both
        if _thrift(levels, clips) > now:
            logger.warning(
                "out of memory: tuning goes on with the settings of --vram %d "
                "(tuning.checkpoint_levels=%s, tuning.clips_at_once=%d)", vram, levels, clips,
            )  # fmt: skip
            return replace(options, checkpoint_levels=levels, clips_at_once=clips), memory
    raise AnaMoDiffError(
        f"expected memory for tuning, got too little even with the settings of --vram "
        f"{min(VRAM_PRESETS)}: lower --frames or tuning.window (now {options.window}), close other "
        "programs, or take --device cpu; --resume goes on from the last checkpoint"
    )


def _thrift(levels: str, clips_at_once: int) -> tuple[int, int]:
    """How much is done to save memory; more is larger."""
    return _LEVELS.index(levels), -clips_at_once
