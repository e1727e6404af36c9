"""Foreground IoU of the warped clip with the ground truth, for each way to adapt the points."""

from __future__ import annotations

from typing import get_args

import torch

from anamodiff.evaluation.metrics import foreground_iou
from anamodiff.options import AdaptationOptions, ScaleRule
from anamodiff.pipeline import AnaMoDiff
from measure import Pairs

SMOOTH = 0.7  # frames
BASE = "hull"


@torch.no_grad()
def overlaps(method: AnaMoDiff, pairs: Pairs) -> dict[str, dict[str, float]]:
    """IoU with the truth, by pair: of the decoded source, and of the warp by every adaptation.

    The columns are ``still``, ``raw`` (the driving points as they are), and every scale rule,
    without and with smoothing (``~``).
    """
    rows = {}
    for pair, (source, driving, truth) in pairs.items():
        still = source[:1]
        decoded = method.backbone.decode(method.backbone.encode(still))
        row = {"still": foreground_iou(decoded.expand(len(truth), -1, -1, -1), truth)}
        for name, adaptation in _adaptations().items():
            warped = method.warp(still, driving, adaptation=adaptation).warped
            row[name] = foreground_iou(method.backbone.decode(warped), truth)
        rows[pair] = row
    return rows


def against_base(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Means over pairs, and each column's gain over `BASE` with its standard error."""
    summary = {}
    for name in next(iter(rows.values())):
        values = torch.tensor([row[name] for row in rows.values()])
        gain = values - torch.tensor([row[BASE] for row in rows.values()])
        error = gain.std() / len(gain) ** 0.5 if len(gain) > 1 else torch.tensor(float("nan"))
        summary[name] = {"IoU": float(values.mean()), "gain": float(gain.mean())}
        summary[name] |= {"+-": float(error), "better": float((gain > 0).float().mean())}
    return summary


def _adaptations() -> dict[str, AdaptationOptions | None]:
    found: dict[str, AdaptationOptions | None] = {"raw": None}
    for scale in get_args(ScaleRule):
        found[scale] = AdaptationOptions(scale=scale)
        found[f"{scale}~"] = AdaptationOptions(scale=scale, smooth=SMOOTH)
    return found
