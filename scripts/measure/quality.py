"""LOFNet's self-reconstruction of clips, and the consistency of its key points."""

from __future__ import annotations

import torch

from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.training.losses import PlaneTransform
from anamodiff.lofnet.training.report import self_reconstruction
from anamodiff.pipeline import AnaMoDiff
from anamodiff.warp import foldover
from measure import Pairs

REFERENCE_SIZE = 128  # equivariance errors are given in pixels of frames of this size


def reconstruction(method: AnaMoDiff, pairs: Pairs) -> dict[str, dict[str, float]]:
    """Latent error of each driving clip's own warp and of the identity flow, and folded cells."""
    rows = {}
    for name, (_, driving, _) in pairs.items():
        latents = method.backbone.encode(driving)
        error, identity = self_reconstruction(method.lofnet, driving, latents)
        flow = method.warp(driving, driving).flow
        rows[name] = {
            "error": error,
            "identity": identity,
            "ratio": error / max(identity, 1e-9),
            "folded": float(foldover(flow).mean()),
        }
    return rows


@torch.no_grad()
def consistency(lofnet: LOFNet, pairs: Pairs, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Equivariance error of the points of each driving clip's deformed frames, in pixels."""
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for name, (_, frames, _) in pairs.items():
        transform = PlaneTransform.random(len(frames), generator=generator)
        points = lofnet.points(frames).value
        carried = transform(lofnet.points(transform.frames(frames)).value)
        error = (points - carried).norm(dim=-1) * (REFERENCE_SIZE - 1) / 2
        rows[name] = {"mean": float(error.mean()), "worst": float(error.max())}
    return rows
