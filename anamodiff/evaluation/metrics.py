"""Motion and identity in figures (frames f c h w in [-1, 1]; masks f h w, bool)."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.video.foreground import foreground_mask


def foreground_iou(frames: Tensor, truth: Tensor) -> float:
    """Motion: intersection over union of both foregrounds, averaged over frames; 1 is best."""
    _check(frames, truth)
    own, wanted = foreground_mask(frames), foreground_mask(truth)
    either = (own | wanted).sum(dim=(1, 2)).clamp(min=1)
    return float(((own & wanted).sum(dim=(1, 2)) / either).mean())


def masked_psnr(frames: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB inside the union of both foregrounds, mean over frames."""
    _check(frames, truth)
    either = _union(frames, truth)
    squared = ((frames - truth).cpu().float() / 2).square().mean(dim=1)
    mean = (squared * either).sum(dim=(1, 2)) / either.sum(dim=(1, 2)).clamp(min=1)
    return float((-10 * mean.clamp(min=1e-10).log10()).mean())


def masked_ssim(frames: Tensor, truth: Tensor) -> float:
    """Structural similarity inside the union of both foregrounds, mean over frames; 1 is best."""
    _check(frames, truth)
    values = []
    for own, wanted, either in zip(
        _pixels(frames), _pixels(truth), _union(frames, truth), strict=True
    ):
        if either.any():
            _, field = structural_similarity(
                own, wanted, channel_axis=-1, data_range=1.0, full=True
            )  # fmt: skip
            values.append(field.mean(axis=-1)[either.numpy()].mean())
    return float(sum(values) / len(values)) if values else 1.0


def flicker(frames: Tensor, truth: Tensor) -> float:
    """Difference of temporal differences to the truth's, in levels of 255, in the foregrounds.

    Each frame's change to the next is compared with the truth's change, where either clip has its
    foreground in either frame. 0 is best.
    """
    _check(frames, truth)
    either = _union(frames, truth)
    either = either[1:] | either[:-1]
    own, wanted = (torch.diff(clip.cpu().float() * 127.5, dim=0) for clip in (frames, truth))
    error = (own - wanted).abs().mean(dim=1)
    return float(error[either].mean()) if either.any() else 0.0


def truth_distance(frames: Tensor, truth: Tensor) -> float:
    """Identity: mean CIE Lab distance where both foregrounds are; about 2 is just visible."""
    _check(frames, truth)
    both = foreground_mask(frames) & foreground_mask(truth)
    return float((_lab(frames) - _lab(truth)).norm(dim=-1)[both].mean())


def colour_distance(frames: Tensor, source: Tensor) -> float:
    """Identity without ground truth: CIE Lab distance between colour quantiles of foregrounds.

    Poses differ, so pixels do not correspond: each channel's quantiles are compared, frame by
    frame, with those of all the source's frames. 0 for the same colours in the same shares, NaN
    where either clip has no foreground.
    """
    share, inside = torch.linspace(0, 1, 101), foreground_mask(source)
    if not inside.any():
        return float("nan")
    wanted = torch.quantile(_lab(source)[inside], share, dim=0)
    distances = []
    for lab, mask in zip(_lab(frames), foreground_mask(frames), strict=True):
        if mask.any():
            own = torch.quantile(lab[mask], share, dim=0)
            distances.append((own - wanted).norm(dim=-1).mean())
    return float(torch.stack(distances).mean()) if distances else float("nan")


def _lab(frames: Tensor) -> Tensor:
    """CIE Lab f h w 3."""
    return torch.from_numpy(rgb2lab(_pixels(frames))).float()


def _pixels(frames: Tensor) -> np.ndarray:
    """RGB f h w 3 in [0, 1]."""
    pixels = (frames.detach().cpu().float().clamp(-1, 1) + 1) / 2
    return rearrange(pixels, "f c h w -> f h w c").numpy()


def _union(frames: Tensor, truth: Tensor) -> Tensor:
    """Union of both foregrounds, f h w."""
    return foreground_mask(frames).cpu() | foreground_mask(truth).cpu()


def _check(frames: Tensor, truth: Tensor) -> None:
    if frames.shape != truth.shape:
        raise AnaMoDiffError(
            f"expected frames of the truth's shape {tuple(truth.shape)}, got "
            f"{tuple(frames.shape)}: read both with the same frames and size"
        )
