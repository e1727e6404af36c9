"""Train LOFNet on cached latents (paper, sections 3.2 and 4.1)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from anamodiff.errors import AnaMoDiffError
from anamodiff.lock import held
from anamodiff.lofnet.fomm import FOMM_FRAME_SIZE, start_detector, start_network
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.lofnet.training.cache import cache_latents
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.lofnet.training.report import MetricsLog, measure, write_progress_sheet
from anamodiff.lofnet.training.trainer import CHECKPOINT_FILE, Trainer
from anamodiff.meter import meter
from anamodiff.resources import expanded
from anamodiff.video.find import find_clips

logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]


def train_lofnet(
    data: LatentClips | Path | str,
    *,
    backbone: Any,
    output: Path | str,
    config: dict[str, Any] | None = None,
    model: LOFNet | None = None,
    detector: Literal["own", "fomm"] = "own",
    checkpoint: Path | str | None = None,
    detector_config: Path | str | dict[str, Any] | None = None,
    start: Path | str | None = None,
    cache: Path | str | None = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    progress: bool = True,
    on_step: OnStep | None = None,
    **options: Any,
) -> Path:
    """Train LOFNet on a folder of clips; returns `output`.

    The saved weights are the moving average, with `patience` that of the best measurement. Under
    ``accelerate launch`` each process samples its own pairs, gradients are averaged, and the first
    process alone caches, measures and writes.

    Args:
        data: folder of clips, or clips whose latents are cached already.
        backbone: encodes and decodes; its device is the default one.
        output: folder for ``lofnet.safetensors`` and ``lofnet.json`` (see `LOFNet.load`),
            ``training.pt`` (the state to resume from), ``metrics.jsonl``, ``pictures/`` and, where
            TensorBoard is installed, its events.
        config: as `build_lofnet` takes it; the mini backbone's by default.
        model: an already built network, in the place of `config` and `detector`.
        detector: ``own`` trains one from scratch, ``fomm`` starts from first-order-model's, whose
            frame size and number of points then replace those in `config`.
        checkpoint, detector_config: FOMM's files, as `load_fomm` takes them.
        start: folder of a trained LOFNet to train on from, in the place of `config` and `detector`.
        cache: folder for the latents; ``latents`` inside `output` by default.
        resume: continue a run in `output`, with the same result as without the interruption.
        on_step: called after each step with its number and figures.
        options: fields of `TrainOptions`.

    Raises:
        AnaMoDiffError: no usable clip, an unknown option or one out of range, an `output` that
            holds another run or that another process writes, or FOMM files that do not fit.
    """
    settings = TrainOptions.build(options)
    output = expanded(output)
    if start is not None:
        cached = isinstance(data, LatentClips)
        channels = data.latent_channels if cached else backbone.vae.config.latent_channels
        model = _load_trained(start, detector, channels)
        config = model.config
    fomm = start_detector(detector, checkpoint, detector_config)
    device = torch.device(device or backbone.device)
    accelerator = _accelerator(device)
    main = accelerator.is_main_process
    if not isinstance(data, LatentClips):
        data = _cache_once(
            accelerator, data, backbone=backbone, cache=cache or output / "latents",
            frames_per_clip=settings.frames_per_clip, progress=progress,
            frame_size=FOMM_FRAME_SIZE if fomm else (config or {}).get("frame_size"),
        )  # fmt: skip
    training, held_out = data.split(settings.held_out)
    if model is None:
        torch.manual_seed(settings.seed % 2**64)
        network = config or mini_config(data.frame_size, data.latent_channels)
        model = build_lofnet(start_network(network, fomm) if fomm else network, detector=fomm)
        if main and not fomm:
            _warn_of_poor_points(settings)
    model.latents = backbone.latent_space
    total = settings.total(len(training), accelerator.num_processes)
    if accelerator.num_processes > 1:
        device = accelerator.device  # each process has its own
    trainer = Trainer(model, settings, total, device, accelerator)
    _resume_or_start(trainer, output, resume)
    bar = meter("LOFNet", total, done=trainer.step, shown=progress and main)
    with (
        bar,
        held(output, "folder of a LOFNet") if main else nullcontext(),
        MetricsLog(output, from_step=trainer.step) if main else nullcontext() as log,
    ):
        while not trainer.done:
            figures = trainer.train_step(training)
            bar.update()
            measured = _measure(trainer, held_out) if trainer.due(settings.measure_every) else {}
            if log is not None and trainer.due(settings.log_every):
                log.write(trainer.step, figures | {"pairs_per_second": trainer.speed()})
                bar.set_postfix(ratio=f"{figures['error'] / max(figures['identity'], 1e-9):.3f}")
            if log is not None and measured:
                log.write(trainer.step, measured)
            if main and trainer.due(settings.picture_every):
                write_progress_sheet(trainer.average, held_out, backbone, output, trainer.step)
            if main and trainer.due(settings.save_every):
                trainer.save(output)
            if on_step is not None:
                on_step(trainer.step, figures)
    _log_early_stop(trainer)
    return output


def check_inputs(
    data: Path | str,
    output: Path | str,
    *,
    detector: Literal["own", "fomm"] = "own",
    checkpoint: Path | str | None = None,
    detector_config: Path | str | dict[str, Any] | None = None,
    start: Path | str | None = None,
    resume: bool = False,
) -> None:
    """Refuse what is wrong with the files of a training, before a backbone is loaded or fetched.

    The arguments are those of `train_lofnet`.

    Raises:
        AnaMoDiffError: there are no clips, the output holds another run, or weights are missing.
    """
    find_clips(data)
    if expanded(output).resolve() == expanded(data).resolve():
        raise AnaMoDiffError(
            f"expected an --output beside the clips, got their own folder {data}: name another"
        )
    _check_output(expanded(output), resume)
    if start is not None:
        LOFNet.load(start)
    start_detector(detector, checkpoint, detector_config)


def _warn_of_poor_points(options: TrainOptions) -> None:
    if options.equivariance == 0:
        logger.warning(
            "a new detector learns poor key points without training.equivariance (default: 2): "
            "start from first-order-model's weights, or set it"
        )


def _load_trained(folder: Path | str, detector: str, channels: int) -> LOFNet:
    """A trained network to train on from, for latents of so many channels."""
    if detector != "own":
        raise AnaMoDiffError(
            f"expected lofnet.start or lofnet.detector={detector}, got both: a trained LOFNet has "
            "its own detector, so drop one"
        )
    model = LOFNet.load(folder)
    own = model.config["dense_motion"]["num_channels"]
    if own != channels:
        raise AnaMoDiffError(
            f"expected a LOFNet for {channels} latent channels in lofnet.start, {folder} is for "
            f"{own}: choose its own backbone"
        )
    model.retargeter = None  # it knows the points of the detector as that was
    return model


def _accelerator(device: torch.device) -> Accelerator:
    """An accelerator for the processes of ``accelerate launch``, or for this one alone."""
    # The first process may encode clips for hours while the others wait for it.
    waiting = InitProcessGroupKwargs(timeout=timedelta(days=1))
    # It moves and casts nothing: `device` and `TrainOptions.precision` decide. But without GPUs it
    # finds several processes only if it is told that they use CPUs.
    cpu = device.type == "cpu" and "WORLD_SIZE" in os.environ
    return Accelerator(
        cpu=cpu, mixed_precision="no", device_placement=False, kwargs_handlers=[waiting]
    )


def _cache_once(accelerator: Accelerator, folder: Path | str, **options: Any) -> LatentClips:
    """`cache_latents` in the first process, for all."""
    if accelerator.num_processes == 1:
        return cache_latents(folder, **options)
    clips = cache_latents(folder, **options).index if accelerator.is_main_process else None
    (index,) = broadcast_object_list([clips])
    return LatentClips(index)


def _measure(trainer: Trainer, held_out: LatentClips) -> dict[str, float]:
    """Errors on held-out clips, in the first process; all record them for early stopping."""
    main = trainer.accelerator.is_main_process
    figures = measure(trainer.average, held_out) if main else {}
    if trainer.options.patience is not None:
        (ratio,) = broadcast_object_list([figures.get("held_out_ratio")])
        trainer.early_stop.record(ratio, trainer.step, trainer.average)
    return figures


def _log_early_stop(trainer: Trainer) -> None:
    best = trainer.early_stop
    if best.weights is not None and trainer.accelerator.is_main_process:
        logger.info(
            "stopped at step %d of %d: the weights of step %d are kept, held-out ratio %.3f",
            trainer.step, trainer.total, best.step, best.best,
        )  # fmt: skip


def _check_output(output: Path, resume: bool) -> None:
    if (output / CHECKPOINT_FILE).is_file() and not resume:
        raise AnaMoDiffError(
            f"expected a fresh output folder, {output} holds a run: resume it or choose another"
        )


def _resume_or_start(trainer: Trainer, output: Path, resume: bool) -> None:
    """Resume the run in `output` if there is one.

    Raises:
        AnaMoDiffError: there is one, and it is not to be resumed.
    """
    file = output / CHECKPOINT_FILE
    output.mkdir(parents=True, exist_ok=True)
    _check_output(output, resume)
    if file.is_file():
        trainer.load(file)
        if trainer.accelerator.is_main_process:
            logger.info("resumed %s at step %d", output, trainer.step)
