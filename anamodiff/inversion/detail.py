"""Fine detail of the warped clip in the sampled one (not in the paper)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.video.foreground import foreground_mask

# In shares of the picture's side. Outlines are the warped clip's, too, as far as around both clips'
# characters, where both are white: nothing shows where it ends.
RIM, FADE = 4 / 256, 1.5 / 256
OFF_WHITE = 0.08  # of [-1, 1]: what differs so from the canvas is the character wholly
_TINY = 1e-3


def keep_detail(
    frames: Tensor, warped: Tensor, width: float, visible: Tensor | None = None
) -> Tensor:
    """What is finer than a width, of the character, from the warped clip.

    What diffusion drew gives structure and colours. A small UNet blurs patterns and outlines, which
    the warp of the source has.

    Args:
        frames: f c h w, RGB in [-1, 1].
        warped: the warped clip's frames, f c h w.
        width: standard deviation of the Gaussian that parts fine from coarse, as a share of the
            picture's side; 0 leaves all as it is.
        visible: f h' w' in [0, 1], whether the source shows what belongs there: elsewhere the
            result stays as it is.

    Returns:
        Frames of the same shape; where no character can be told, they are unchanged.
    """
    if width == 0:
        return frames
    side, warped = max(frames.shape[-2:]), warped.to(frames)
    one, other = (foreground_mask(clip, thin=True) for clip in (frames, warped))
    told = one.flatten(1).any(1) & other.flatten(1).any(1)
    shown = (one | other) & told[:, None, None]
    share = _blurred(_dilated(shown[:, None].to(frames), round(RIM * side)), FADE * side)
    if visible is not None:
        size = (frames.shape[-2], frames.shape[-1])
        share = share * F.interpolate(visible[:, None].to(frames), size, mode="bilinear")
    # Coarse differences are those of the character alone, so that no ground shines in, or out.
    inside = ((1 - torch.minimum(frames, warped)).amax(1, keepdim=True) / OFF_WHITE).clamp(0, 1)
    apart = warped - frames
    around = _blurred(inside, width * side).clamp_min(_TINY)
    fine = apart - _blurred(apart * inside, width * side) / around * inside
    return (frames + share * fine).clamp(-1, 1)


def _dilated(masks: Tensor, by: int) -> Tensor:
    """Masks f 1 h w with a rim of so many pixels around."""
    return F.max_pool2d(masks, 2 * by + 1, 1, by)


def _blurred(pictures: Tensor, deviation: float) -> Tensor:
    """Pictures f c h w under a Gaussian."""
    reach, channels = max(1, round(3 * deviation)), pictures.shape[1]
    taps = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    taps = torch.exp(-(taps**2) / (2 * deviation**2))
    taps = (taps / taps.sum()).expand(channels, 1, 1, -1)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, taps, groups=channels)
    return F.conv2d(rows, taps.transpose(2, 3), groups=channels)
