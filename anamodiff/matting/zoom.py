"""A small character seen from near: cropped to, worked on at full size, and pasted back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.matting.checks import box_of, is_small
from anamodiff.matting.cutout import WHITE

#: Of the crop's side to the character's box: room for motion that reaches further than its own.
ROOM = 2.0


@dataclass(frozen=True)
class Zoom:
    """A square on the canvas, in pixels, that fills the canvas while it is worked on."""

    top: int
    left: int
    side: int

    @classmethod
    def to(cls, masks: Tensor) -> Zoom | None:
        """The square around a small character in all frames ``f n n``; None for a large one."""
        if not is_small(masks):
            return None
        top, left, height, width = box_of(masks)
        size = masks.shape[-1]
        side = min(size, round(ROOM * max(height, width)))
        first = (top + height // 2 - side // 2, left + width // 2 - side // 2)
        return cls(*(min(max(0, place), size - side) for place in first), side)

    def enter(self, pictures: Tensor) -> Tensor:
        """Pictures ``f c n n``, enlarged from the square to the canvas, within their range."""
        part = pictures[..., self.top : self.top + self.side, self.left : self.left + self.side]
        large = F.interpolate(part, pictures.shape[-2:], mode="bicubic", align_corners=False)
        return large.clamp(part.min(), part.max())

    def leave(self, frames: Tensor, around: float = WHITE) -> Tensor:
        """Frames ``f c n n`` back in the square, with one value around them."""
        canvas = torch.full_like(frames, around)
        small = F.interpolate(
            frames.float(), (self.side, self.side), mode="bicubic", align_corners=False,
            antialias=True,
        ).clamp(-1, 1).to(frames)  # fmt: skip
        canvas[..., self.top : self.top + self.side, self.left : self.left + self.side] = small
        return canvas
