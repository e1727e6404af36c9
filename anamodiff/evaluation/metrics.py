"""Motion and identity in figures (frames f c h w in [-1, 1]; masks f h w, bool)."""

from __future__ import annotations

import torch
from einops import rearrange
from skimage.color import rgb2lab
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion import foreground_mask


def foreground_iou(frames: Tensor, truth: Tensor) -> float:
    """Motion: intersection over union of both foregrounds, averaged over frames; 1 is best."""
    _check(frames, truth)
    own, wanted = foreground_mask(frames), foreground_mask(truth)
    either = (own | wanted).sum(dim=(1, 2)).clamp(min=1)
    return float(((own & wanted).sum(dim=(1, 2)) / either).mean())


def truth_distance(frames: Tensor, truth: Tensor) -> float:
    """Identity: CIE Lab distance per pixel where both foregrounds are; about 2 is just visible."""
    _check(frames, truth)
    both = foreground_mask(frames) & foreground_mask(truth)
    return float((_lab(frames) - _lab(truth)).norm(dim=-1)[both].mean())


def colour_distance(frames: Tensor, source: Tensor) -> float:
    """Identity without a truth: CIE Lab distance between the foregrounds' sorted colours.

    Poses differ, so pixels have no partners: each channel's quantiles are compared, frame by frame,
    with those of all the source's frames. 0 for the same colours in the same shares.
    """
    share = torch.linspace(0, 1, 101)
    wanted = torch.quantile(_lab(source)[foreground_mask(source)], share, dim=0)
    distances = []
    for lab, mask in zip(_lab(frames), foreground_mask(frames), strict=True):
        if mask.any():
            own = torch.quantile(lab[mask], share, dim=0)
            distances.append((own - wanted).norm(dim=-1).mean())
    return float(torch.stack(distances).mean()) if distances else float("nan")


def _lab(frames: Tensor) -> Tensor:
    """CIE Lab f h w 3."""
    pixels = rearrange((frames.detach().cpu().float().clamp(-1, 1) + 1) / 2, "f c h w -> f h w c")
    return torch.from_numpy(rgb2lab(pixels.numpy())).float()


def _check(frames: Tensor, truth: Tensor) -> None:
    if frames.shape != truth.shape:
        raise AnaMoDiffError(
            f"expected frames of the truth's shape {tuple(truth.shape)}, got "
            f"{tuple(frames.shape)}: read both with the same frames and size"
        )
