"""Measures of a transfer against the truth and against the source."""

from anamodiff.evaluation.metrics import colour_distance, foreground_iou, truth_distance
from anamodiff.evaluation.scores import Case, Evaluation, evaluate, measure

__all__ = [
    "Case",
    "Evaluation",
    "colour_distance",
    "evaluate",
    "foreground_iou",
    "measure",
    "truth_distance",
]
