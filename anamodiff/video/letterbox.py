"""Between pictures of any size, as bytes, and square frames in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from anamodiff.video.sampling import ClipError

_KEPT = 2**28  # bytes of a clip that is kept to be written several times


@dataclass(frozen=True)
class Letterbox:
    """Where the picture lies on its square canvas, in pixels of the canvas.

    `original` is (height, width) of the file's picture. The longer side fills the canvas, so
    the canvas is `max(height, width)` pixels wide and high.
    """

    top: int
    left: int
    height: int
    width: int
    original: tuple[int, int]

    def times(self, factor: int) -> Letterbox:
        """Where the picture lies on a canvas that is so many times as large."""
        place = (self.top, self.left, self.height, self.width)
        return Letterbox(*(factor * pixels for pixels in place), original=self.original)


def fit(height: int, width: int, size: int) -> Letterbox:
    """Place a picture of `height` by `width` pixels in the middle of a `size` canvas."""
    scale = size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    return Letterbox(top, left, *inner, original=(height, width))


def resize(picture: np.ndarray, to: tuple[int, int]) -> np.ndarray:
    """Resize a picture, bytes `h w 3` or `h w`, to (height, width): area average down, cubic up."""
    if picture.shape[:2] == to:
        return picture
    smaller = to[0] * to[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(picture, (to[1], to[0]), interpolation=how)


def place(pictures: Sequence[np.ndarray], box: Letterbox, colour: np.ndarray) -> np.ndarray:
    """Put pictures of the box's size on canvases of one colour `c`: bytes `f n n c`."""
    size = max(box.height, box.width)
    canvas = np.empty((len(pictures), size, size, len(colour)), dtype=np.uint8)
    canvas[:] = colour
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    for index, picture in enumerate(pictures):
        canvas[index, rows, columns] = picture
    return canvas


def border(picture: np.ndarray, most: int = 512) -> np.ndarray:
    """Pixels of the outermost ring, at most about `most` of them, bytes `n 3`."""
    ring = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return ring[:: max(1, len(ring) // most)]


def background_colour(rings: Sequence[np.ndarray]) -> np.ndarray:
    """The ground's colour, bytes `3`: the median over the borders of all frames.

    The median holds as long as the character covers less than half of the border.
    """
    return np.round(np.median(np.concatenate(rings), axis=0)).astype(np.uint8)


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


def limited(box: Letterbox, longest: int) -> Letterbox:
    """The letterbox of a result whose longer side is at most so many pixels; 0 is any."""
    height, width = box.original
    if not longest or max(height, width) <= longest:
        return box
    scale = longest / max(height, width)
    return replace(box, original=(max(1, round(height * scale)), max(1, round(width * scale))))


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
