"""Measures of a transfer, the benchmark, and the survey.

Names are fetched from their modules when they are first used: the survey needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    "Case": "scores",
    "Evaluation": "scores",
    "colour_distance": "metrics",
    "evaluate": "scores",
    "flicker": "metrics",
    "foreground_iou": "metrics",
    "masked_psnr": "metrics",
    "masked_ssim": "metrics",
    "measure": "scores",
    "survey_results": "ranking",
    "truth_distance": "metrics",
    "write_survey": "survey",
}

__all__ = [  # noqa: F822 - the names come from `__getattr__`
    "Case",
    "Evaluation",
    "colour_distance",
    "evaluate",
    "flicker",
    "foreground_iou",
    "masked_psnr",
    "masked_ssim",
    "measure",
    "survey_results",
    "truth_distance",
    "write_survey",
]

if TYPE_CHECKING:
    from anamodiff.evaluation.metrics import (
        colour_distance,
        flicker,
        foreground_iou,
        masked_psnr,
        masked_ssim,
        truth_distance,
    )
    from anamodiff.evaluation.ranking import survey_results
    from anamodiff.evaluation.scores import Case, Evaluation, evaluate, measure
    from anamodiff.evaluation.survey import write_survey


def __getattr__(name: str) -> object:
    """Fetches a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
