"""The stages of a transfer in a run folder: warp and tune, then generate."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anamodiff.backbone.memory import peak_memory
from anamodiff.backbone.model import Backbone, file_hash
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.skeletal import FOLDER as SKELETAL
from anamodiff.options import (
    AdaptationOptions,
    GenerationOptions,
    StartFrame,
    TransferOptions,
    TuningOptions,
)
from anamodiff.pipeline import AnaMoDiff, Progress
from anamodiff.resources import find, move_into_place
from anamodiff.run.compositing import canvas_factor, set_on_ground
from anamodiff.run.findings import unknown_line, unknown_words
from anamodiff.run.folder import RunFolder
from anamodiff.run.grounds import Subjects, cut_pair, matte_network_on
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.out_of_memory import with_less_memory
from anamodiff.run.outputs import check_ground
from anamodiff.run.progress import ProgressBars, timed
from anamodiff.run.report import report
from anamodiff.run.result import Result, output_box, write_result
from anamodiff.run.unfinished import Watch, watching
from anamodiff.tuning.loss_terms import LossTerms
from anamodiff.unet3d.model import UNet3D
from anamodiff.unet3d.weights import load_weights, save_weights
from anamodiff.video.clip import Clip

logger = logging.getLogger(__name__)

CHECKPOINT, WEIGHTS = "tuning.pt", "weights"


@dataclass(frozen=True)
class TunedRun:
    """A run folder with tuned weights and, where they were tuned just now, those in memory."""

    folder: RunFolder
    pair: ClipPair | None = None
    unet: UNet3D | None = None


class Stages:
    """What `MotionTransfer` does with clips that are read, and in a run folder that is locked.

    Args:
        method: the method on tensors.
        lofnet_folder: where the flow network was loaded from, for the record of a run.
    """

    def __init__(self, method: AnaMoDiff, lofnet_folder: Path | None) -> None:
        self.method, self.lofnet_folder = method, lofnet_folder
        self.report = True
        self._matte_network = matte_network_on(self.backbone.device)

    @property
    def backbone(self) -> Backbone:
        """The Stable Diffusion model."""
        return self.method.backbone

    @property
    def lofnet_hashes(self) -> dict[str, str]:
        """SHA-256 of LOFNet's weight files and of its proxy's, by name; none without a folder."""
        if self.lofnet_folder is None:
            return {}
        files = {path.name: path for path in sorted(self.lofnet_folder.glob("*.safetensors"))}
        if self.method.proxy is not None:
            files |= self.method.proxy.files
        return {name: file_hash(path) for name, path in files.items()}

    def cut(self, source: Clip, driving: Clip, options: AdaptationOptions) -> Subjects:
        """Both characters on the canonical ground, cut out of clips on the backbone's canvas."""
        return cut_pair(source, driving, options.matte, self._matte_network)

    def warp(
        self, subjects: Subjects, options: AdaptationOptions | None, start_frame: StartFrame,
        **known: Any,
    ) -> WarpedIntermediate:  # fmt: skip
        """Sections 3.2 and 3.3 on both characters; `known` may be `latents` and `found`."""
        source = subjects.source
        return self.method.warp(
            source.clip.frames, subjects.driving.clip.frames, start_frame=start_frame,
            adaptation=options, foreground=source.foreground, **known,
        )  # fmt: skip

    def _tune_in(
        self, run: RunFolder, clips: tuple[Clip, Clip], options: TransferOptions, prompt: str,
        seed: int, start_frame: StartFrame, progress: bool | Progress,
    ) -> TunedRun:  # fmt: skip
        timings: dict[str, float] = {}
        peaks: dict[str, int] = {}
        terms = LossTerms()
        device = self.backbone.device
        if unknown := unknown_words(self.backbone.tokenizer, prompt):
            logger.info("%s", unknown_line(unknown))  # before anything is paid for
        with timed(timings, "warp"), peak_memory(peaks, "warp", device):
            subjects = self.cut(*clips, options.adaptation)
            warped = self.warp(subjects, options.adaptation, start_frame)
            pair = ClipPair.of(warped, subjects)
            pair.save(run.path)
        checkpoint = run.path / CHECKPOINT
        with timed(timings, "tuning"), peak_memory(peaks, "tuning", device):
            with ProgressBars(progress) as bars:
                unet, losses = with_less_memory(
                    lambda tuning: self.method.fit(
                        warped,
                        prompt,
                        tuning,
                        seed=seed,
                        terms=terms,
                        checkpoint=checkpoint,
                        progress=bars,
                    ),
                    options.tuning,
                    self.backbone.adopt,
                )
            draft = run.path / f".{WEIGHTS}"
            save_weights(unet, draft)
        run.note(
            timings=timings, peak_memory_cuda_mb=peaks, seed=seed, hashes=self._hashes(draft),
            losses=losses, loss_terms=terms.columns,
        )  # fmt: skip
        # The folder's name says that tuning is done, so it comes when all else is written.
        move_into_place(draft, run.path / WEIGHTS)
        checkpoint.unlink(missing_ok=True)
        # Rounded to tuning's format, it would not sample the frames of a run that is resumed here.
        stages = self.backbone.precision
        return TunedRun(run, pair, unet if stages.tuning == stages.sampling else None)

    def _generate(
        self, tuned: TunedRun, options: GenerationOptions, output: str | Path | None,
        seed: int | None, progress: bool | Progress, watch: Watch | None,
    ) -> Result:  # fmt: skip
        check_ground(output, options)
        folder, settings = tuned.folder, tuned.folder.settings
        seed = int(settings["seed"]) if seed is None else seed
        timings: dict[str, float] = {}
        peaks: dict[str, int] = {}
        device = self.backbone.device
        same = self.backbone.in_precision(settings.get("precision"))
        with folder.named_on_stop(), same, ProgressBars(progress) as bars:
            pair = tuned.pair or ClipPair.load(folder.path)
            unet = tuned.unet or self._load_tuned(folder)
            with timed(timings, "sampling"), peak_memory(peaks, "sampling", device):
                latents = self.method.sample(
                    unet, pair.warped, settings["prompt"], options, seed=seed, progress=bars,
                    watch=watch and watching(watch, self.backbone, pair),
                )  # fmt: skip
            with timed(timings, "decoding"), peak_memory(peaks, "decoding", device):
                warped = self.backbone.decode(pair.warped.warped).cpu()
                canvas = self.method.decode_result(latents, pair.warped, options, warped)
            with timed(timings, "writing"):
                box = output_box(pair.box, options.max_size)
                times = canvas_factor(pair, box)
                shown = set_on_ground(canvas, pair, options.ground, times)
                video = write_result(
                    folder.path, pair, canvas, shown, warped, output, box.times(times)
                )
        generation = {**asdict(options), "seed": seed}
        folder.note(timings=timings, peak_memory_cuda_mb=peaks, generation=generation)
        if self.report:
            first = latents[:1] if options.match_colours else None
            report(folder, self.backbone, pair, warped, canvas, first, shown)
        return Result(
            pair.whole(canvas), shown, box.times(times), pair.fps, video, folder.path,
            timings=folder.record["timings"],
        )  # fmt: skip

    def _load_tuned(self, folder: RunFolder) -> UNet3D:
        """The tuned UNet of a run folder."""
        unet = self.method.inflate(
            TuningOptions(group_norm=folder.settings["tuning"]["group_norm"])
        )
        load_weights(unet, folder.path / WEIGHTS)
        return unet

    def _hashes(self, weights: Path) -> dict[str, Any]:
        tuned = sorted(weights.glob("*.safetensors"))
        hashes = {"backbone": self.backbone.hashes, "lofnet": self.lofnet_hashes}
        if self.method.skeletal is not None:
            files = sorted(find(SKELETAL).glob("*.safetensors"))
            hashes["motion"] = {path.name: file_hash(path) for path in files}
        return hashes | {"tuned": {path.name: file_hash(path) for path in tuned}}
