"""Measures of a transfer against the truth and against the source."""

from anamodiff.evaluation.metrics import colour_distance, foreground_iou, truth_distance

__all__ = ["colour_distance", "foreground_iou", "truth_distance"]
