from .measure import Case, Measured, measure
from .metrics import (
    colour_distance,
    flicker,
    foreground_iou,
    masked_psnr,
    masked_ssim,
    truth_distance,
)
from .motion import motion_fidelity, pck
from .scores import Evaluation, evaluate
from .survey.page import write_survey
from .survey.ranking import survey_results

__all__ = [
    "Case",
    "Evaluation",
    "Measured",
    "colour_distance",
    "evaluate",
    "flicker",
    "foreground_iou",
    "masked_psnr",
    "masked_ssim",
    "measure",
    "motion_fidelity",
    "pck",
    "survey_results",
    "truth_distance",
    "write_survey",
]
