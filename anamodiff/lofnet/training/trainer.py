"""Training steps of LOFNet, averaged weights and checkpoints."""

from __future__ import annotations

import hashlib
import logging
import math
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
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.lofnet.training.augment import Jitter
from anamodiff.lofnet.training.dataset import LatentClips, Pairs
from anamodiff.lofnet.training.early_stop import EarlyStop
from anamodiff.lofnet.training.losses import LOFNetLoss, PlaneTransform
from anamodiff.lofnet.training.muon import MuonAdamW
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.resources import move_into_place
from anamodiff.tensors import read_tensors

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "training.pt"
# Steps in a row without a finite gradient after which training is given up.
_MAX_FAILURES = 100
# Batches that threads prepare ahead where the network is not on the CPU.
_PREFETCH = 4
# Output layers, of points, Jacobians and masks, which Muon does not train.
_OUTPUTS = ("kp.", "jacobian.", "mask.")


class Trainer:
    """A network in training: weights, their exponential moving average and the optimiser.

    Random numbers depend on the seed, the step and the process only: a resumed run is identical to
    an uninterrupted one, and processes sample different pairs.

    Args:
        total: number of training steps.
        accelerator: that of all processes, each of which calls the same methods.
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
        self.early_stop = EarlyStop(options.patience)
        self.step = 0
        if self.device.type == "cpu":
            # Gradients of sharp softmaxes are denormal numbers, which are several times slower.
            torch.set_flush_denormal(True)
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        detector_lr = options.lr if options.detector_lr is None else options.detector_lr
        frozen = detector_lr == 0
        self.model.detector.requires_grad_(not frozen).train(not frozen)
        self._loss = self._distributed(LOFNetLoss(self.model, options, frozen=frozen))
        groups = [(self.model.dense_motion, options.lr)]
        if not frozen:
            groups.append((self.model.detector, detector_lr))
        self.optimiser = _optimiser(options, groups)
        self._permutation = lru_cache(2)(self._random_permutation)
        self._pairs, self._seconds = 0, 0.0
        self._failures = 0
        # On the CPU, threads would only compete with the training itself.
        self._pool = ThreadPoolExecutor(_PREFETCH) if self.device.type != "cpu" else None
        self._prefetched: dict[int, Future[tuple[Pairs, PlaneTransform]]] = {}

    @property
    def done(self) -> bool:
        """Whether all steps are done, or training has stopped early."""
        return self.step >= self.total or self.early_stop.should_stop

    def due(self, every: int) -> bool:
        """Whether this step is a multiple of `every` or the last one."""
        return self.step % every == 0 or self.done

    def train_step(self, clips: LatentClips) -> dict[str, float]:
        """Take one step on pairs from `clips`, the same clips in all steps; returns its figures."""
        started = time.perf_counter()
        pairs, transform = self._next_batch(clips)
        seed = (self.options.seed, self.step, self.accelerator.process_index)
        loss, figures = self._loss(pairs, transform, _generator(*seed, "dropout"))
        self.step += 1
        lr = self._set_learning_rates()
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_gradient)
        # One transfer for all figures: each would wait for the device.
        figures |= {"loss": loss, "gradient": norm}
        values = torch.stack([value.detach().float() for value in figures.values()]).tolist()
        numbers = dict(zip(figures, values, strict=True))
        if math.isfinite(numbers["gradient"]):
            self.optimiser.step()
            self._update_average()
            self._failures = 0
        else:
            self._skip_step()
        self._pairs += len(pairs)
        self._seconds += time.perf_counter() - started
        return numbers | {"lr": lr}

    def speed(self) -> float:
        """Pairs a second in all processes since the last call."""
        speed = self.accelerator.num_processes * self._pairs / max(self._seconds, 1e-9)
        self._pairs, self._seconds = 0, 0.0
        return speed

    def _distributed(self, loss: nn.Module) -> nn.Module:
        """The loss with gradients averaged over the processes."""
        if self.accelerator.num_processes > 1 and self.device.type == "cuda":
            # Statistics of all processes' pairs are steadier. On CPUs the first process' are kept.
            loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)
        precision = torch.bfloat16 if self._in_bf16() else None
        for module in loss.modules():
            if isinstance(module, Hourglass):
                module.precision = precision
        return self.accelerator.prepare_model(loss, device_placement=False)

    def _in_bf16(self) -> bool:
        if self.options.precision != "auto":
            return self.options.precision == "bf16"
        if self.device.type != "cuda":
            return False
        return torch.cuda.is_bf16_supported(including_emulation=False)

    def _next_batch(self, clips: LatentClips) -> tuple[Pairs, PlaneTransform]:
        """This step's batch; those of the next steps are prepared while the device computes."""
        if self._pool is None:
            return self._sample_batch(clips, self.step)
        for step in range(self.step, min(self.step + _PREFETCH, self.total)):
            if step not in self._prefetched:
                self._prefetched[step] = self._pool.submit(self._sample_batch, clips, step)
        return self._prefetched.pop(self.step).result()

    def _sample_batch(self, clips: LatentClips, step: int) -> tuple[Pairs, PlaneTransform]:
        """A step's pairs, augmented, and random deformations, on the device."""
        options, batch = self.options, self.options.batch_size
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        generator = _generator(options.seed, step, rank)
        start = (step * processes + rank) * batch
        pairs = clips.sample_pairs(
            batch, generator=generator, chosen=self._clip_indices(start, len(clips)),
            device=self.device, **options.sampling,
        )  # fmt: skip
        transform = PlaneTransform.random(batch, generator=generator)
        jitter = Jitter.random(
            batch, generator=generator, colour=options.colour_jitter, size=options.size_jitter
        )
        return jitter.to(self.device)(pairs), transform.to(self.device)

    def _clip_indices(self, start: int, clips: int) -> Tensor:
        """Clips of a batch: each is used once an epoch, in a random order of that epoch."""
        places = start + torch.arange(self.options.batch_size)
        epochs = places // clips
        return torch.cat([
            self._permutation(epoch, clips)[places[epochs == epoch] % clips]
            for epoch in epochs.unique().tolist()
        ])  # fmt: skip

    def _random_permutation(self, epoch: int, clips: int) -> Tensor:
        return torch.randperm(clips, generator=_generator(self.options.seed, epoch, "order"))

    def _skip_step(self) -> None:
        """Count a step whose gradient is not finite; too many in a row end the run."""
        self._failures += 1
        if self._failures == 1:
            logger.warning("step %d: the gradient is not finite, the step is skipped", self.step)
        if self._failures >= _MAX_FAILURES:
            raise AnaMoDiffError(
                f"expected finite gradients, got none in {_MAX_FAILURES} steps: resume with a "
                "lower training.lr or with training.precision=fp32"
            )

    def _set_learning_rates(self) -> float:
        """Set the learning rates of this step; returns the dense motion's."""
        factor = min(1.0, self.step / max(1, self.options.warmup))
        if self.options.schedule == "cosine":
            factor *= 0.02 + 0.49 * (1 + math.cos(math.pi * self.step / self.total))
        for group in self.optimiser.param_groups:
            group["lr"] = factor * group["peak"]
        return self.optimiser.param_groups[0]["lr"]

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the exponential moving average of weights and batch statistics."""
        # The decay grows from small values, so that early weights soon leave the average.
        decay = min(self.options.average, (1 + self.step) / (10 + self.step))
        average, model = self.average.state_dict(), self.model.state_dict()
        names = [name for name, value in average.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[n] for n in names], [model[n] for n in names], 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the averaged network (the best, with early stopping) and the training state.

        Raises:
            AnaMoDiffError: they cannot be written; the previous checkpoint stays.
        """
        network = self.average
        if self.early_stop.weights is not None:
            network = deepcopy(self.average)
            network.load_state_dict(self.early_stop.weights)
        state = {
            "step": self.step,
            "config": self.model.config,
            "options": asdict(self.options),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "patience": self.early_stop.state_dict(),
        }
        draft = folder / ".saving"
        try:
            network.save(draft)
            torch.save(state, draft / CHECKPOINT_FILE)
            for file in draft.iterdir():
                move_into_place(file, folder / file.name)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch's own is a RuntimeError
            raise AnaMoDiffError(
                f"expected to write a checkpoint to {folder}, got: {error}: free some space and "
                "resume; the checkpoint before it is kept"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def load(self, file: Path) -> None:
        """Resume from a training state that `save` wrote.

        Raises:
            AnaMoDiffError: it is broken, or of another network, optimiser or frozen detector.
        """
        try:
            state = read_tensors(file)
        except Exception as error:  # torch raises a dozen types for broken files
            raise AnaMoDiffError(
                f"expected a whole checkpoint in {file}, got {type(error).__name__}: delete it and "
                "train anew"
            ) from error
        # Building it adds the defaults of keywords that an older run's configuration lacks.
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
            self.early_stop.load_state_dict(state.get("patience", {}))
        self.step = state["step"]


def _optimiser(
    options: TrainOptions, groups: list[tuple[nn.Module, float]]
) -> torch.optim.Optimizer | MuonAdamW:
    """The optimiser of modules, each with its own peak learning rate."""
    if options.optimiser == "adam":
        plain = [{"params": list(module.parameters()), "peak": peak} for module, peak in groups]
        return torch.optim.Adam(plain, lr=options.lr, betas=(0.5, 0.999))
    named = [{"params": list(module.named_parameters()), "peak": peak} for module, peak in groups]
    return MuonAdamW(named, lr=options.lr, ends=_OUTPUTS)


def _generator(*words: int | str) -> torch.Generator:
    """A generator seeded by a hash of `words`."""
    seed = hashlib.sha256(" ".join(map(str, words)).encode()).digest()[:7]
    return torch.Generator().manual_seed(int.from_bytes(seed))
