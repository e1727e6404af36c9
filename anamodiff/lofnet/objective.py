"""LOFNet's training loss of one batch (paper, equation 1; FOMM, section 3.1)."""

import torch
from torch import Tensor, nn

from anamodiff.lofnet.clips import Pairs
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.losses import PlaneTransform, crowding, equivariance_errors, latent_error
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.options import TrainOptions
from anamodiff.warp import warp


class Objective(nn.Module):
    """Reconstruction and equivariance; a module, as what is trained in parallel has to be.

    Args:
        model: what is trained.
        options: weights of the losses.
        frozen: whether the detector is left as it is.
    """

    def __init__(self, model: LOFNet, options: TrainOptions, *, frozen: bool) -> None:
        super().__init__()
        self.model = model
        self.options = options
        self.frozen = frozen

    def forward(
        self, pairs: Pairs, transform: PlaneTransform, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss, and its parts as figures; `generator` decides which motions drop out."""
        source, driving = pairs.latents.chunk(2)
        points, deformed = self._points(pairs.frames, transform)
        half = len(pairs)
        found = points[half:]
        motion = self.model.flow(source, found, points[:half], generator=generator)
        errors = latent_error(warp(source, motion.flow), driving)
        identity = latent_error(source, driving)
        loss = (errors * motion_weights(identity, self.options.balance)).mean()
        figures = {"error": errors.mean(), "identity": identity.mean()}
        if deformed is not None:
            value, jacobian = equivariance_errors(found, deformed, transform)
            loss = loss + self.options.equivariance * (value + jacobian)
            crowd = crowding(found)
            loss = loss + self.options.separation * crowd
            figures |= {"equivariance_value": value, "equivariance_jacobian": jacobian}
            figures |= {"crowding": crowd}
        return loss, figures

    def _points(
        self, frames: Tensor, transform: PlaneTransform
    ) -> tuple[KeyPoints, KeyPoints | None]:
        """Points of the pairs' frames, and of their deformed driving frames if these count."""
        if self.frozen or self.options.equivariance == 0:
            return self.model.points(frames), None
        deformed = transform.frames(frames.chunk(2)[1])
        # One pass for all: batch norm then sees plain and deformed frames together.
        points = self.model.points(torch.cat([frames, deformed]))
        return points[: len(frames)], points[len(frames) :]


def motion_weights(identity: Tensor, balance: float) -> Tensor:
    """Weights ``b`` of pairs by their identity error ``b``; their weighted errors sum alike."""
    if balance == 0:
        return torch.ones_like(identity)
    # Still pairs hold nothing to learn: without the floor they would weigh most.
    weights = (identity + 0.1 * identity.mean() + 1e-6) ** -balance
    return weights * identity.sum() / (weights * identity).sum().clamp_min(1e-9)
