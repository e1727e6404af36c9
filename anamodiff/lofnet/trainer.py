"""One network in training: its losses, steps, averaged weights and checkpoints."""

import logging
import math
import os
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.clips import LatentClips, Pairs
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.losses import PlaneTransform, crowding, equivariance_errors, latent_error
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.warp import warp

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "training.pt"


@dataclass(frozen=True)
class TrainOptions:
    """How LOFNet is trained.

    Attributes:
        steps: optimisation steps; one batch of pairs each.
        epochs: if given, sets the steps: so many pairs of every clip, on the average.
        batch_size: pairs a step.
        lr: Adam's learning rate (paper: 5e-4).
        detector_lr: the detector's own; 0 freezes it, ``None`` is `lr`.
        schedule: ``cosine`` falls to a fiftieth over the whole run, ``constant`` stays.
        warmup: steps over which the rate rises to its full height.
        equivariance: weight of both equivariance losses. FOMM has 10 beside a perceptual loss
            near 100; beside a latent error below one, 10 would outweigh the reconstruction. 0 for
            a detector that has learnt it already.
        separation: weight of the penalty on key points that sit on one another.
        balance: 0 counts every pair's error as it is, 1 divides it by the pair's motion, so that
            small motions weigh as much as large ones.
        average: decay of the averaged weights, which are what is saved.
        clip_gradient: largest norm of the gradient.
        flip: mirror half of the pairs.
        precision: ``bf16`` only where the device multiplies it faster; it is many times slower
            on processors without it.
        held_out: share of the clips that are only measured on.
        seed: of weights, pairs and deformations.
    """

    steps: int = 20_000
    epochs: float | None = None
    batch_size: int = 16
    lr: float = 5e-4
    detector_lr: float | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 200
    equivariance: float = 2.0
    separation: float = 0.5
    balance: float = 0.0
    average: float = 0.999
    clip_gradient: float = 1.0
    flip: bool = True
    precision: Literal["fp32", "bf16"] = "fp32"
    held_out: float = 0.05
    seed: int = 0

    def total(self, clips: int) -> int:
        """Number of steps for so many clips to train on."""
        if self.epochs is None:
            return self.steps
        return max(1, math.ceil(self.epochs * clips / self.batch_size))


class Trainer:
    """A network in training: its weights, their average, the optimiser and the randomness."""

    def __init__(
        self, model: LOFNet, options: TrainOptions, total: int, device: torch.device | str
    ) -> None:
        self.options = options
        self.total = total
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.step = 0
        detector_lr = options.lr if options.detector_lr is None else options.detector_lr
        self.frozen = detector_lr == 0
        self.model.detector.requires_grad_(not self.frozen).train(not self.frozen)
        groups = [{"params": list(self.model.dense_motion.parameters()), "peak": options.lr}]
        if not self.frozen:
            groups.append({"params": list(self.model.detector.parameters()), "peak": detector_lr})
        self.optimiser = torch.optim.Adam(groups, lr=options.lr, betas=(0.5, 0.999))

    def train_step(self, clips: LatentClips) -> dict[str, float]:
        """Draw a batch, take one step, and give its figures."""
        started = time.perf_counter()
        options = self.options
        pairs = clips.draw(options.batch_size, generator=self.generator, flip=options.flip)
        transform = PlaneTransform.random(len(pairs), generator=self.generator)
        loss, figures = self._loss(pairs.to(self.device), transform.to(self.device))
        self.step += 1
        rate = self._set_rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_gradient)
        if norm.isfinite():
            self.optimiser.step()
            self._follow()
        else:
            logger.warning("step %d: the gradient is not finite, the step is skipped", self.step)
        figures |= {"loss": loss, "gradient": norm}
        numbers = {name: float(value.detach()) for name, value in figures.items()}
        speed = len(pairs) / (time.perf_counter() - started)
        return numbers | {"lr": rate, "pairs_per_second": speed}

    def _loss(self, pairs: Pairs, transform: PlaneTransform) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and equivariance of one batch."""
        source, driving = pairs.latents.chunk(2)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"
        ):
            points, deformed = self._points(pairs.frames, transform)
            half = len(pairs)
            found = points[half:]
            motion = self.model.flow(source, found, points[:half], generator=self.generator)
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

    def _set_rate(self) -> float:
        """Set the learning rates for this step; give the flow's."""
        factor = min(1.0, self.step / max(1, self.options.warmup))
        if self.options.schedule == "cosine":
            factor *= 0.02 + 0.49 * (1 + math.cos(math.pi * self.step / self.total))
        for group in self.optimiser.param_groups:
            group["lr"] = factor * group["peak"]
        return self.optimiser.param_groups[0]["lr"]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights and batch statistics towards the present ones."""
        # Early weights are no use in the average: it starts short and grows.
        decay = min(self.options.average, (1 + self.step) / (10 + self.step))
        kept, fresh = self.average.state_dict(), self.model.state_dict()
        floating = [name for name, value in kept.items() if value.is_floating_point()]
        torch._foreach_lerp_([kept[n] for n in floating], [fresh[n] for n in floating], 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the averaged network and everything that resuming needs, each file at once."""
        self.average.save(folder)
        state = {
            "step": self.step,
            "config": self.model.config,
            "options": asdict(self.options),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        draft = folder / f"{CHECKPOINT_FILE}.part"
        torch.save(state, draft)
        os.replace(draft, folder / CHECKPOINT_FILE)

    def load(self, file: Path) -> None:
        """Take up a run that `save` wrote.

        Raises:
            AnaMoDiffError: the file is broken, or of a network with another configuration.
        """
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds for broken files
            raise AnaMoDiffError(
                f"expected a whole checkpoint in {file}, got {type(error).__name__}: delete it and "
                "train anew"
            ) from error
        # Built again, an older run's configuration has the keywords that came since.
        if build_lofnet(state["config"]).config != self.model.config:
            raise AnaMoDiffError(
                f"expected a run with the same LOFNet configuration, {file} has another: resume "
                "with its settings, or choose another output"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]


def motion_weights(identity: Tensor, balance: float) -> Tensor:
    """Weights ``b`` of pairs by their identity error ``b``; their weighted errors sum alike."""
    if balance == 0:
        return torch.ones_like(identity)
    # Still pairs hold nothing to learn: without the floor they would weigh most.
    weights = (identity + 0.1 * identity.mean() + 1e-6) ** -balance
    return weights * identity.sum() / (weights * identity).sum().clamp_min(1e-9)
