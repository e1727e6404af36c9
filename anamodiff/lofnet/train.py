"""Train LOFNet on cached latents (paper, sections 3.2 and 4.1)."""

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
from tqdm import tqdm

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.clips import LatentClips
from anamodiff.lofnet.data import cache_latents
from anamodiff.lofnet.fomm import FOMM_FRAME_SIZE, start_detector, start_network
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.lofnet.options import TrainOptions
from anamodiff.lofnet.report import Journal, draw_progress, measure
from anamodiff.lofnet.trainer import CHECKPOINT_FILE, Trainer

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
    frames_per_clip: int = 32,
    resume: bool = False,
    device: torch.device | str | None = None,
    log_every: int = 50,
    measure_every: int = 500,
    picture_every: int = 2000,
    save_every: int = 500,
    progress: bool = True,
    on_step: OnStep | None = None,
    **options: Any,
) -> Path:
    """Train on a folder of clips; keep weights, figures and pictures in `output`.

    Under ``accelerate launch`` each process draws pairs of its own, gradients are averaged, and
    the first process alone caches, measures and writes.

    Args:
        data: folder of clips, or clips whose latents are cached already.
        backbone: encodes and decodes; its device is the default one.
        output: gets ``lofnet.safetensors`` and ``lofnet.json`` (what `LOFNet.load` reads),
            ``training.pt`` (what `resume` needs), ``metrics.jsonl``, ``pictures/`` and, where
            TensorBoard is installed, its events.
        config: what `build_lofnet` takes; the mini backbone's by default.
        model: an already built network, instead of `config` and `detector`.
        detector: ``own`` starts from scratch, ``fomm`` from first-order-model's: its frame size and
            number of points then take the place of those in `config`.
        checkpoint, detector_config: FOMM's files for that, as `load_fomm` takes them.
        start: folder of a trained LOFNet to train on from, instead of `config` and `detector`.
        cache: folder for the latents; ``latents`` inside `output` by default.
        resume: go on where a run in `output` stopped, to the same figures.
        on_step: called after each step with its number and figures.
        options: fields of `TrainOptions`.

    Returns:
        `output`, with weights averaged over the last steps, or over those before the best
        measure where `patience` is given.

    Raises:
        AnaMoDiffError: no usable clip, an unknown option, an `output` that holds another run, or
            FOMM files that do not serve.
    """
    settings = _options(options)
    output = Path(output)
    if start is not None:
        cached = isinstance(data, LatentClips)
        channels = data.latent_channels if cached else backbone.vae.config.latent_channels
        model = _trained(start, detector, channels)
        config = model.config
    fomm = start_detector(detector, checkpoint, detector_config)
    device = torch.device(device or backbone.device)
    accelerator = _processes(device)
    main = accelerator.is_main_process
    if not isinstance(data, LatentClips):
        data = _cached_once(
            accelerator, data, backbone=backbone, cache=cache or output / "latents",
            frames_per_clip=frames_per_clip, progress=progress,
            frame_size=FOMM_FRAME_SIZE if fomm else (config or {}).get("frame_size"),
        )  # fmt: skip
    training, held_out = data.split(settings.held_out)
    if model is None:
        torch.manual_seed(settings.seed)
        network = config or mini_config(data.frame_size, data.latent_channels)
        model = build_lofnet(start_network(network, fomm) if fomm else network, detector=fomm)
        if settings.equivariance == 0 and main and not fomm:
            logger.warning(
                "a new detector learns poor key points without training.equivariance (default: 2): "
                "start from first-order-model's weights, or set it"
            )
    total = settings.total(len(training), accelerator.num_processes)
    if accelerator.num_processes > 1:
        device = accelerator.device  # each process has its own
    trainer = Trainer(model, settings, total, device, accelerator)
    _open_run(trainer, output, resume)
    bar = tqdm(
        total=total, initial=trainer.step, desc="LOFNet", unit="step",
        disable=not (progress and main),
    )  # fmt: skip
    with bar, Journal(output, from_step=trainer.step) if main else nullcontext() as journal:
        while not trainer.done:
            figures = trainer.train_step(training)
            bar.update()
            measured = _measured(trainer, held_out) if trainer.due(measure_every) else {}
            if journal is not None and trainer.due(log_every):
                journal.write(trainer.step, figures | {"pairs_per_second": trainer.speed()})
                bar.set_postfix(ratio=f"{figures['error'] / max(figures['identity'], 1e-9):.3f}")
            if journal is not None and measured:
                journal.write(trainer.step, measured)
            if main and trainer.due(picture_every):
                draw_progress(trainer.average, held_out, backbone, output, trainer.step)
            if main and trainer.due(save_every):
                trainer.save(output)
            if on_step is not None:
                on_step(trainer.step, figures)
    _say_when_stopped(trainer)
    return output


def _trained(folder: Path | str, detector: str, channels: int) -> LOFNet:
    """A trained network to go on from, for latents of so many channels."""
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
    return model


def _processes(device: torch.device) -> Accelerator:
    """What knows this run's processes: those of ``accelerate launch``, or this one alone."""
    # The first process may encode clips for hours while the others wait for it.
    waiting = InitProcessGroupKwargs(timeout=timedelta(days=1))
    # It is to move and cast nothing: `device` and `TrainOptions.precision` decide. But without
    # GPUs it sees several processes only where it is told that they are to use CPUs.
    cpu = device.type == "cpu" and "WORLD_SIZE" in os.environ
    return Accelerator(
        cpu=cpu, mixed_precision="no", device_placement=False, kwargs_handlers=[waiting]
    )


def _cached_once(accelerator: Accelerator, folder: Path | str, **options: Any) -> LatentClips:
    """`cache_latents`, by the first process for all."""
    if accelerator.num_processes == 1:
        return cache_latents(folder, **options)
    clips = cache_latents(folder, **options).index if accelerator.is_main_process else None
    (index,) = broadcast_object_list([clips])
    return LatentClips(index)


def _measured(trainer: Trainer, held_out: LatentClips) -> dict[str, float]:
    """Figures on unseen clips, in the first process; all processes learn when to stop."""
    main = trainer.accelerator.is_main_process
    figures = measure(trainer.average, held_out) if main else {}
    if trainer.options.patience is not None:
        (ratio,) = broadcast_object_list([figures.get("held_out_ratio")])
        trainer.patience.see(ratio, trainer.step, trainer.average)
    return figures


def _say_when_stopped(trainer: Trainer) -> None:
    patience = trainer.patience
    if patience.weights is not None and trainer.accelerator.is_main_process:
        logger.info(
            "stopped at step %d of %d: the weights of step %d are kept, held-out ratio %.3f",
            trainer.step, trainer.total, patience.step, patience.best,
        )  # fmt: skip


def _options(options: dict[str, Any]) -> TrainOptions:
    try:
        return TrainOptions(**options)
    except TypeError as error:
        raise AnaMoDiffError(
            f"expected options among {', '.join(TrainOptions.__dataclass_fields__)}, got "
            f"{', '.join(options)}: correct the name"
        ) from error


def _open_run(trainer: Trainer, output: Path, resume: bool) -> None:
    """Take up the run in `output`, or see that there is none."""
    file = output / CHECKPOINT_FILE
    output.mkdir(parents=True, exist_ok=True)
    if file.is_file() and not resume:
        raise AnaMoDiffError(
            f"expected a fresh output folder, {output} holds a run: resume it or choose another"
        )
    if file.is_file():
        trainer.load(file)
        if trainer.accelerator.is_main_process:
            logger.info("resumed %s at step %d", output, trainer.step)
