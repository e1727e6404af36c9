"""Foreground IoU of the warped clip with the truth, for each way to adapt the points."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from anamodiff.evaluation import foreground_iou
from anamodiff.lofnet import KeyPoints, adapt_points, smooth_points
from anamodiff.lofnet.adapt import SCALES
from anamodiff.pipeline import MotionTransfer
from anamodiff.warp import warp
from measure.pairs import Pair

SMOOTH = 0.7  # frames
BASE = "hull"


@torch.no_grad()
def overlaps(mover: MotionTransfer, pairs: Iterable[Pair]) -> dict[str, dict[str, float]]:
    """IoU with the truth: source held still, points as they are, and every adaptation."""
    rows = {}
    for pair in pairs:
        still = pair.source[:1]
        latent = mover.backbone.encode(still)
        source, driving = mover.lofnet.points(still), mover.lofnet.points(pair.driving)
        decoded = mover.backbone.decode(latent).expand(len(pair.truth), -1, -1, -1)
        row = {"still": foreground_iou(decoded, pair.truth)}
        for name, points in _followed(source, driving).items():
            flow = mover.lofnet.flow(latent, points, source).flow
            row[name] = foreground_iou(mover.backbone.decode(warp(latent, flow)), pair.truth)
        rows[pair.name] = row
    return rows


def against_base(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Means over pairs, and each way's gain over `BASE` with its standard error."""
    summary = {}
    for name in next(iter(rows.values())):
        values = torch.tensor([row[name] for row in rows.values()])
        gain = values - torch.tensor([row[BASE] for row in rows.values()])
        error = gain.std() / len(gain) ** 0.5 if len(gain) > 1 else torch.tensor(float("nan"))
        summary[name] = {"IoU": float(values.mean()), "gain": float(gain.mean())}
        summary[name] |= {"+-": float(error), "better": float((gain > 0).float().mean())}
    return summary


def _followed(source: KeyPoints, driving: KeyPoints) -> dict[str, KeyPoints]:
    """The points that the flow follows, for each way to come by them."""
    smooth = smooth_points(driving, SMOOTH)
    ways = {"raw": driving}
    for scale in SCALES:
        ways[scale] = adapt_points(driving, driving[0], source, scale=scale)
        ways[f"{scale}~"] = adapt_points(smooth, smooth[0], source, scale=scale)
    return ways
