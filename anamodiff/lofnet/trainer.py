"""One network in training: its steps, averaged weights and checkpoints."""

import hashlib
import logging
import math
import os
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.augment import Jitter
from anamodiff.lofnet.clips import LatentClips, Pairs
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.losses import PlaneTransform
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.lofnet.objective import Objective
from anamodiff.lofnet.options import TrainOptions
from anamodiff.lofnet.patience import Patience
from anamodiff.muon import MuonAdamW

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "training.pt"
# So many steps in a row without a finite gradient, and there is no hope.
_HOPELESS = 100
# Steps that are drawn ahead, each in a thread, where the network is on another device.
_AHEAD = 4
# Layers that give points, Jacobians and masks: Muon is for those before them.
_ENDS = ("kp.", "jacobian.", "mask.")


class Trainer:
    """A network in training: its weights, their average, the optimiser and the randomness.

    What is drawn in a step depends on the seed, the step and the process alone, so that a run goes
    on alike after a stop, and every process draws other pairs.

    Args:
        accelerator: knows the other processes, if there are any; all call the same methods.
    """

    def __init__(
        self,
        model: LOFNet,
        options: TrainOptions,
        total: int,
        device: torch.device | str,
        accelerator: Accelerator,
    ) -> None:
        self.options = options
        self.total = total
        self.device = torch.device(device)
        self.accelerator = accelerator
        self.patience = Patience(options.patience)
        self.step = 0
        if self.device.type == "cpu":
            # Gradients of sharp softmaxes are so small that they cost several times as long.
            torch.set_flush_denormal(True)
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        detector_lr = options.lr if options.detector_lr is None else options.detector_lr
        frozen = detector_lr == 0
        self.model.detector.requires_grad_(not frozen).train(not frozen)
        self._objective = self._distributed(Objective(self.model, options, frozen=frozen))
        groups = [(self.model.dense_motion, options.lr)]
        if not frozen:
            groups.append((self.model.detector, detector_lr))
        self.optimiser = _optimiser(options, groups)
        self._order = lru_cache(2)(self._shuffled)
        self._pairs, self._seconds = 0, 0.0
        self._failures = 0
        # A processor would only take the threads' time from itself.
        self._pool = ThreadPoolExecutor(_AHEAD) if self.device.type != "cpu" else None
        self._coming: dict[int, Future[tuple[Pairs, PlaneTransform]]] = {}

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.total or self.patience.spent

    def due(self, every: int) -> bool:
        """Whether what happens every so many steps, and at the end, happens now."""
        return self.step % every == 0 or self.done

    def train_step(self, clips: LatentClips) -> dict[str, float]:
        """Draw a batch of clips, the same ones in every step, take one step, give its figures."""
        started = time.perf_counter()
        pairs, transform = self._next(clips)
        chance = _generator(self.options.seed, self.step, self.accelerator.process_index, "dropout")
        loss, figures = self._objective(pairs, transform, chance)
        self.step += 1
        rate = self._set_rate()
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_gradient)
        # One transfer for all figures: each would wait for the device.
        figures |= {"loss": loss, "gradient": norm}
        values = torch.stack([value.detach().float() for value in figures.values()]).tolist()
        numbers = dict(zip(figures, values, strict=True))
        if math.isfinite(numbers["gradient"]):
            self.optimiser.step()
            self._follow()
            self._failures = 0
        else:
            self._fail()
        self._pairs += len(pairs)
        self._seconds += time.perf_counter() - started
        return numbers | {"lr": rate}

    def speed(self) -> float:
        """Pairs a second in all processes, since this was last asked for."""
        speed = self.accelerator.num_processes * self._pairs / max(self._seconds, 1e-9)
        self._pairs, self._seconds = 0, 0.0
        return speed

    def _distributed(self, objective: Objective) -> nn.Module:
        """The objective with gradients averaged over the processes."""
        if self.accelerator.num_processes > 1 and self.device.type == "cuda":
            # Few pairs each: statistics of all are steadier. Elsewhere the first process' count.
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        precision = torch.bfloat16 if self._in_bf16() else None
        for module in objective.modules():
            if isinstance(module, Hourglass):
                module.precision = precision
        return self.accelerator.prepare_model(objective, device_placement=False)

    def _in_bf16(self) -> bool:
        if self.options.precision != "auto":
            return self.options.precision == "bf16"
        if self.device.type != "cuda":
            return False
        return torch.cuda.is_bf16_supported(including_emulation=False)

    def _next(self, clips: LatentClips) -> tuple[Pairs, PlaneTransform]:
        """This step's pairs; those of the next steps are drawn while the device is busy."""
        if self._pool is None:
            return self._draw(clips, self.step)
        for step in range(self.step, min(self.step + _AHEAD, self.total)):
            if step not in self._coming:
                self._coming[step] = self._pool.submit(self._draw, clips, step)
        return self._coming.pop(self.step).result()

    def _draw(self, clips: LatentClips, step: int) -> tuple[Pairs, PlaneTransform]:
        """A step's pairs, jittered, and deformations, on the device."""
        options, batch = self.options, self.options.batch_size
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        generator = _generator(options.seed, step, rank)
        start = (step * processes + rank) * batch
        pairs = clips.draw(
            batch, generator=generator, chosen=self._turns(start, len(clips)), device=self.device,
            **options.drawing,
        )  # fmt: skip
        transform = PlaneTransform.random(batch, generator=generator)
        jitter = Jitter.random(
            batch, generator=generator, colour=options.colour_jitter, size=options.size_jitter
        )
        return jitter.to(self.device)(pairs), transform.to(self.device)

    def _turns(self, start: int, clips: int) -> Tensor:
        """Clips of a batch: in an epoch each has its turn once, in an order of the epoch's own."""
        places = start + torch.arange(self.options.batch_size)
        epochs = places // clips
        parts = [
            self._order(epoch, clips)[places[epochs == epoch] % clips]
            for epoch in epochs.unique().tolist()
        ]
        return torch.cat(parts)

    def _shuffled(self, epoch: int, clips: int) -> Tensor:
        return torch.randperm(clips, generator=_generator(self.options.seed, epoch, "order"))

    def _fail(self) -> None:
        """Pass over a step whose gradient is of no use; too many in a row end the run."""
        self._failures += 1
        if self._failures == 1:
            logger.warning("step %d: the gradient is not finite, the step is skipped", self.step)
        if self._failures >= _HOPELESS:
            raise AnaMoDiffError(
                f"expected finite gradients, got none in {_HOPELESS} steps: resume with a lower "
                "training.lr or with training.precision=fp32"
            )

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
        """Write the network that is kept and everything that resuming needs, each file at once.

        Raises:
            AnaMoDiffError: there is no room; what was saved before stays.
        """
        kept = self.average
        if self.patience.weights is not None:
            kept = deepcopy(self.average)
            kept.load_state_dict(self.patience.weights)
        state = {
            "step": self.step,
            "config": self.model.config,
            "options": asdict(self.options),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "patience": self.patience.state_dict(),
        }
        draft = folder / ".saving"
        try:
            kept.save(draft)
            torch.save(state, draft / CHECKPOINT_FILE)
            for file in draft.iterdir():
                os.replace(file, folder / file.name)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch's own is a RuntimeError
            raise AnaMoDiffError(
                f"expected to write a checkpoint to {folder}, got: {error}: free some space and "
                "resume; the checkpoint before it is kept"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

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
        optimiser = state["options"].get("optimiser", "adam")  # older runs had no other
        if optimiser != self.options.optimiser:
            raise AnaMoDiffError(
                f"expected a run with training.optimiser={self.options.optimiser}, {file} has "
                f"{optimiser}: resume with that, or choose another output"
            )
        detector_lr = state["options"].get("detector_lr")
        if (detector_lr == 0) != (self.options.detector_lr == 0):
            raise AnaMoDiffError(
                f"expected a run whose detector is trained or frozen alike, {file} has "
                f"lofnet.detector_lr={detector_lr}: resume with that, or go on from its weights in "
                "another output (lofnet.start)"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.options.patience is not None:
            self.patience.load_state_dict(state.get("patience", {}))
        self.step = state["step"]


def _optimiser(
    options: TrainOptions, groups: list[tuple[nn.Module, float]]
) -> torch.optim.Optimizer | MuonAdamW:
    """What moves the modules, each at its own highest rate."""
    if options.optimiser == "adam":
        plain = [{"params": list(module.parameters()), "peak": peak} for module, peak in groups]
        return torch.optim.Adam(plain, lr=options.lr, betas=(0.5, 0.999))
    named = [{"params": list(module.named_parameters()), "peak": peak} for module, peak in groups]
    return MuonAdamW(named, lr=options.lr, ends=_ENDS)


def _generator(*words: int | str) -> torch.Generator:
    """Randomness that depends on the words alone."""
    seed = hashlib.sha256(" ".join(map(str, words)).encode()).digest()[:7]
    return torch.Generator().manual_seed(int.from_bytes(seed))
