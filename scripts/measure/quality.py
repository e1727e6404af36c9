"""How well LOFNet follows a clip's own motion, and how steady its key points are."""

from __future__ import annotations

import torch

from anamodiff.lofnet import LOFNet, animate, self_reconstruction
from anamodiff.lofnet.losses import PlaneTransform
from anamodiff.pipeline import MotionTransfer
from anamodiff.warp import foldover
from measure.pairs import Pair

REFERENCE_SIZE = 128  # equivariance errors are given in pixels of frames of this size


def reconstruction(mover: MotionTransfer, pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Of each driving clip: latent errors of its own warp and of the identity flow, folds."""
    rows = {}
    for pair in pairs:
        latents = mover.backbone.encode(pair.driving)
        error, identity = self_reconstruction(mover.lofnet, pair.driving, latents)
        flow = animate(mover.lofnet, pair.driving, latents, pair.driving).motion.flow
        rows[pair.name] = {
            "error": error,
            "identity": identity,
            "ratio": error / max(identity, 1e-9),
            "folded": float(foldover(flow).mean()),
        }
    return rows


@torch.no_grad()
def consistency(lofnet: LOFNet, pairs: list[Pair], *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Of each driving clip: how far points stray when the frames are deformed, in pixels."""
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for pair in pairs:
        frames = pair.driving
        transform = PlaneTransform.random(len(frames), generator=generator)
        points = lofnet.points(frames).value
        carried = transform(lofnet.points(transform.frames(frames)).value)
        strayed = (points - carried).norm(dim=-1) * (REFERENCE_SIZE - 1) / 2
        rows[pair.name] = {"mean": float(strayed.mean()), "worst": float(strayed.max())}
    return rows
