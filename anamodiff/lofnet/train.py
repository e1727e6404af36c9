"""Train LOFNet on cached latents (paper, sections 3.2 and 4.1)."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.clips import LatentClips
from anamodiff.lofnet.data import cache_latents
from anamodiff.lofnet.fomm import FOMM_FRAME_SIZE, start_detector, start_network
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.lofnet.report import Journal, draw_progress, measure
from anamodiff.lofnet.trainer import CHECKPOINT_FILE, Trainer, TrainOptions

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
        cache: folder for the latents; ``latents`` inside `output` by default.
        resume: go on where a run in `output` stopped, to the same figures.
        on_step: called after each step with its number and figures.
        options: fields of `TrainOptions`.

    Returns:
        `output`, with weights averaged over the last steps.

    Raises:
        AnaMoDiffError: no usable clip, an unknown option, an `output` that holds another run, or
            FOMM files that do not serve.
    """
    settings = _options(options)
    output = Path(output)
    fomm = start_detector(detector, checkpoint, detector_config)
    if not isinstance(data, LatentClips):
        data = cache_latents(
            data, backbone=backbone, cache=cache or output / "latents",
            frames_per_clip=frames_per_clip, progress=progress,
            frame_size=FOMM_FRAME_SIZE if fomm else (config or {}).get("frame_size"),
        )  # fmt: skip
    training, held_out = data.split(settings.held_out)
    if model is None:
        torch.manual_seed(settings.seed)
        network = config or mini_config(data.frame_size, data.latent_channels)
        model = build_lofnet(start_network(network, fomm) if fomm else network, detector=fomm)
    trainer = Trainer(model, settings, settings.total(len(training)), device or backbone.device)
    _open_run(trainer, output, resume)
    journal = Journal(output, from_step=trainer.step)
    bar = tqdm(
        total=trainer.total, initial=trainer.step, desc="LOFNet", unit="step", disable=not progress
    )
    with bar, journal:
        while trainer.step < trainer.total:
            figures = trainer.train_step(training)
            bar.update()
            last = trainer.step == trainer.total
            if trainer.step % log_every == 0 or last:
                journal.write(trainer.step, figures)
                bar.set_postfix(ratio=f"{figures['error'] / max(figures['identity'], 1e-9):.3f}")
            if trainer.step % measure_every == 0 or last:
                journal.write(trainer.step, measure(trainer.average, held_out))
            if trainer.step % picture_every == 0 or last:
                draw_progress(trainer.average, held_out, backbone, output, trainer.step)
            if trainer.step % save_every == 0 or last:
                trainer.save(output)
            if on_step is not None:
                on_step(trainer.step, figures)
    return output


def _options(options: dict[str, Any]) -> TrainOptions:
    try:
        return TrainOptions(**options)
    except TypeError as error:
        raise AnaMoDiffError(
            f"expected options among {', '.join(TrainOptions.__dataclass_fields__)}, got "
            f"{', '.join(options)}: correct the name"
        ) from error


def _open_run(trainer: Trainer, output: Path, resume: bool) -> None:
    file = output / CHECKPOINT_FILE
    output.mkdir(parents=True, exist_ok=True)
    if file.is_file() and not resume:
        raise AnaMoDiffError(
            f"expected a fresh output folder, {output} holds a run: resume it or choose another"
        )
    if file.is_file():
        trainer.load(file)
        logger.info("resumed %s at step %d", output, trainer.step)
