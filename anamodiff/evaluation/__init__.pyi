from .metrics import (
    colour_distance,
    flicker,
    foreground_iou,
    masked_psnr,
    masked_ssim,
    truth_distance,
)
from .scores import Case, Evaluation, evaluate, measure
from .survey.page import write_survey
from .survey.ranking import survey_results

__all__ = [
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
