"""Between pictures as bytes and frames in [-1, 1], and from the square canvas back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from anamodiff.video.canvas import Letterbox
from anamodiff.video.sampling import ClipError

_KEPT = 2**28  # bytes of a clip that is kept to be written several times


def crop_back(frames: Tensor, box: Letterbox) -> Tensor:
    """Cut the letterbox away and return to the size of the file's picture.

    `frames` are `f c n n` with `n` the canvas that the box was made for. Returns
    `f c h w` in the same range. Raises `ClipError` for frames of another size.
    """
    size = max(box.height, box.width)
    if frames.shape[-2:] != (size, size):
        got = f"{frames.shape[-2]}x{frames.shape[-1]}"
        raise ClipError(
            f"expected frames of {size}x{size} pixels, the canvas of this letterbox, got {got}; "
            "crop before resizing"
        )
    inner = frames[..., box.top : box.top + box.height, box.left : box.left + box.width]
    if (box.height, box.width) == box.original:
        return inner.contiguous()
    low, high = inner.min(), inner.max()
    resized = interpolate(
        inner.float(), size=box.original, mode="bicubic", align_corners=False, antialias=True
    )
    # Cubic weights overshoot beside edges; no colour should leave the range it came in.
    return resized.to(frames.dtype).clamp(low, high)


class CroppedFrames(Sequence[np.ndarray]):
    """What `crop_back` gives, as bytes `h w c`, made one frame at a time.

    All are kept if they need no more than `_KEPT`, else none: then large ones need room for one.
    """

    def __init__(self, canvas: Tensor, box: Letterbox) -> None:
        to_pixels(canvas[:, :3])  # NaN is found before a file is begun; alpha has none
        self._canvas, self._box = canvas, box
        height, width = box.original
        self._keeps = len(canvas) * height * width * 3 <= _KEPT
        self._made: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._canvas)

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if index in self._made:
            return self._made[index]
        picture = _bytes(crop_back(self._canvas[index : index + 1], self._box))[0]
        if self._keeps:
            self._made[index] = picture
        return picture


def to_pixels(frames: Tensor) -> np.ndarray:
    """Frames `f 3 h w` in [-1, 1] as bytes `f h w 3`; values outside are clamped.

    Raises `ClipError` for another shape, no frames, or NaN.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        got = " x ".join(str(n) for n in frames.shape)
        raise ClipError(
            f"expected RGB frames of shape f x 3 x h x w with f >= 1, got {got}; "
            "add or reorder the dimensions"
        )
    frames = frames.detach().float().cpu()
    if not torch.isfinite(frames).all():
        bad = int((~torch.isfinite(frames)).flatten(1).any(1).sum())
        raise ClipError(
            f"expected finite colours in [-1, 1], got NaN or infinity in {bad} of {len(frames)} "
            "frames; use a higher precision (fp32) or a lower learning rate"
        )
    return _bytes(frames)


def _bytes(frames: Tensor) -> np.ndarray:
    bytes_ = ((frames.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(bytes_, "f c h w -> f h w c").numpy()


def from_pixels(pictures: np.ndarray) -> Tensor:
    """Bytes `f h w 3` as float32 frames `f 3 h w` in [-1, 1]; `to_pixels` undoes it exactly."""
    frames = rearrange(torch.from_numpy(pictures), "f h w c -> f c h w")
    return frames.contiguous().float().div_(127.5).sub_(1)
