"""Motion transfer in memory: the paper's method on one page (sections 3.2 to 3.5)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from anamodiff.backbone.autoencoder import Encoder
from anamodiff.backbone.model import Backbone
from anamodiff.diffusion import StepProgress, generator_of
from anamodiff.inversion.colours import match_histograms
from anamodiff.inversion.detail import keep_detail
from anamodiff.inversion.noise import starting_latents, warped_noise
from anamodiff.inversion.sampling import sample
from anamodiff.lofnet.animate import WarpedIntermediate, animate
from anamodiff.lofnet.joints import Joints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.skeletal import SkeletalNetworks
from anamodiff.options import AdaptationOptions, GenerationOptions, StartFrame, TuningOptions
from anamodiff.tuning.loop import tune
from anamodiff.tuning.loss_terms import LossTerms
from anamodiff.unet3d.lora import add_lora, merge_lora
from anamodiff.unet3d.model import UNet3D, inflate

#: Called with a stage's name, steps done, steps in all and, in tuning, the loss.
Progress = Callable[[str, int, int, float | None], None]
#: Called in sampling with steps done, steps in all, and the latents f c h w expected by now.
Watch = Callable[[int, int, Tensor], None]


class AnaMoDiff:
    """The method on tensors: `warp`, `fit`, `sample` and `decode`, in this order.

    Args:
        backbone: a Stable Diffusion model.
        lofnet: the latent optical flow network.
        proxy: gives the latents that `lofnet` was trained for, where they are not the backbone's.
        skeletal: networks of motion by skeletons; without them key points carry all motion.
    """

    def __init__(
        self, backbone: Backbone, lofnet: LOFNet, proxy: Encoder | None = None,
        skeletal: SkeletalNetworks | None = None,
    ) -> None:  # fmt: skip
        self.backbone, self.proxy = backbone, proxy
        self.skeletal = skeletal and skeletal.to(backbone.device)
        self.lofnet = lofnet.to(backbone.rest_device)

    def warp(
        self,
        source: Tensor,
        driving: Tensor,
        *,
        start_frame: StartFrame = "first",
        adaptation: AdaptationOptions | None = None,
        foreground: Tensor | None = None,
        latents: Tensor | None = None,
        found: Callable[[], tuple[Joints, Joints]] | None = None,
    ) -> WarpedIntermediate:
        """Sections 3.2 and 3.3: the source warped along the driving motion.

        Args:
            source: frames s c H W in [-1, 1] on white; one for a picture.
            driving: frames f c H W in [-1, 1] on white.
            latents: the source's, where they are there already.
            start_frame, adaptation, foreground, found: as for `animate`.
        """
        latents = self.backbone.encode(source) if latents is None else latents
        with self.backbone.on_device(self.lofnet) as lofnet:
            return animate(
                lofnet, source, latents, driving, start=start_frame, adaptation=adaptation,
                flow_latents=self._flow_latents, networks=self.skeletal,
                encode=self.backbone.encode, foreground=foreground, found=found,
            )  # fmt: skip

    def _flow_latents(self, frames: Tensor) -> Tensor | None:
        """Latents that the flow network was trained for, where the backbone's own are others."""
        if self.proxy is not None:
            return self.proxy.encode(frames)
        size = self.backbone.unet_size  # as `train-lofnet` takes
        if frames.shape[-1] == size:
            return None
        small = F.interpolate(frames, (size, size), mode="bilinear", antialias=True)
        return self.backbone.encode(small)

    def fit(
        self,
        warped: WarpedIntermediate,
        prompt: str,
        options: TuningOptions,
        *,
        seed: int = 0,
        terms: LossTerms | None = None,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> tuple[UNet3D, list[float]]:
        """Section 3.4: a UNet tuned on both clips, and its losses; resumed from `checkpoint`.

        `terms` gets the two terms of the losses.
        """
        unet = self.inflate(options).to(self.backbone.precision.tuning)
        add_lora(
            unet, rank=options.rank, layers=options.lora, blocks=options.lora_blocks,
            generator=generator_of(seed),
        )  # fmt: skip
        device = self.backbone.device
        losses = tune(
            unet, warped.latents.to(device), warped.warped.to(device),
            self.backbone.embed([prompt]), self.backbone.schedule, options, seed=seed,
            unseen=warped.unseen, terms=terms, checkpoint=checkpoint,
            progress=_steps(progress, "tuning", options.iterations),
        )  # fmt: skip
        return unet, losses

    def sample(
        self,
        unet: UNet3D,
        warped: WarpedIntermediate,
        prompt: str,
        options: GenerationOptions,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Section 3.5: latents f c h w of the result. LoRA of the tuned `unet` is merged."""
        merge_lora(unet.to(self.backbone.precision.sampling))
        device, schedule = self.backbone.device, self.backbone.schedule
        embedding, negative = self.backbone.embed([prompt, options.negative_prompt]).split(1)
        start = schedule.start(options.steps, options.denoise_from)
        unseen = warped.unseen if options.unseen_from is not None else None
        noise = warped_noise(
            unet, warped.latents.to(device), warped.source_frames, warped.flow, options,
            embedding=embedding, schedule=schedule, start=start, generator=generator_of(seed),
            unseen=unseen, progress=_steps(progress, "inversion", options.steps - start),
        )  # fmt: skip
        noisy, start, known = starting_latents(
            schedule, warped.warped.to(device), noise, options, unseen
        )
        total = options.steps - start
        sampled = sample(
            unet, noisy, start=start, known=known, solver=options.solver, embedding=embedding,
            negative=negative, guidance=options.guidance, schedule=schedule, steps=options.steps,
            window=options.window, overlap=options.overlap,
            cuda_graph=options.cuda_graph and device.type == "cuda",
            progress=_steps(progress, "sampling", total),
            watch=watch and (lambda i, clean: watch(i, total, clean[0].transpose(0, 1))),
        )  # fmt: skip
        return sampled[0].transpose(0, 1)

    def decode_result(
        self,
        latents: Tensor,
        warped: WarpedIntermediate,
        options: GenerationOptions,
        decoded: Tensor | None = None,
    ) -> Tensor:
        """Frames f c H W on the backbone's canvas, in the source's colours (section 3.5).

        `decoded` are the warped clip's frames, where they are there already.
        """
        frames = self.backbone.decode(latents).cpu()
        if options.match_colours:
            frames = match_histograms(frames, warped.source, reference_mask=warped.foreground)
        if options.detail == 0:
            return frames
        decoded = self.backbone.decode(warped.warped).cpu() if decoded is None else decoded
        return keep_detail(frames, decoded, options.detail, warped.visible)

    def inflate(self, options: TuningOptions) -> UNet3D:
        """A fresh UNet for clips on the device; the backbone's own stays as it is."""
        unet = inflate(copy.deepcopy(self.backbone.unet), group_norm=options.group_norm)
        return unet.to(self.backbone.device)


def _steps(progress: Progress | None, stage: str, total: int) -> StepProgress | None:
    """A stage's own progress function; none for a stage without steps."""
    if progress is None or total == 0:
        return None
    progress(stage, 0, total, None)
    return lambda done, loss: progress(stage, done, total, loss)
