"""A character seen from nearer or from further away, worked on so, and pasted back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.matting.checks import box_of, is_small
from anamodiff.matting.cutout import WHITE

#: Of the crop's side to a small character's box: room for motion that reaches further than its own.
ROOM = 2.0
# Of the canvas: a driving character whose box is longer is made so much smaller. Measured on drawn
# pairs cropped to the character: joints at the very edge of the frame are found less well.
LONGEST, SHRUNK = 0.9, 0.75


@dataclass(frozen=True)
class Zoom:
    """A square, in pixels of the canvas, that fills the canvas while it is worked on.

    It may be larger than the canvas and reach beyond it.
    """

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

    @classmethod
    def around(cls, masks: Tensor) -> Zoom | None:
        """The square around the canvas in which a character ``f n n`` that fills it has room.

        None for one that does not.
        """
        size = masks.shape[-1]
        if not masks.any() or max(box_of(masks)[2:]) <= LONGEST * size:
            return None
        side = round(max(box_of(masks)[2:]) / SHRUNK)
        first = -((side - size) // 2)
        return cls(first, first, side)

    def enter(self, pictures: Tensor, around: float = WHITE) -> Tensor:
        """What the square shows of pictures ``f c n n``, in their size, within their range.

        Args:
            around: what lies beside the canvas.
        """
        size = pictures.shape[-1]
        part = torch.full((*pictures.shape[:2], self.side, self.side), around).to(pictures)
        inside, outside = self._overlap(size)
        part[(..., *inside)] = pictures[(..., *outside)]
        new = F.interpolate(
            part.float(), (size, size), mode="bicubic", align_corners=False, antialias=True
        )
        return new.clamp(part.min(), part.max()).to(pictures)

    def leave(self, frames: Tensor, around: float = WHITE, times: int = 1) -> Tensor:
        """Frames ``f c n n`` back in the square, with one value around them.

        Args:
            times: how much larger than n the canvas is that they are put on.
        """
        size = times * frames.shape[-1]
        canvas = torch.full((*frames.shape[:2], size, size), around).to(frames)
        own = Zoom(times * self.top, times * self.left, times * self.side)
        part = F.interpolate(
            frames.float(), (own.side, own.side), mode="bicubic", align_corners=False,
            antialias=True,
        ).clamp(-1, 1).to(frames)  # fmt: skip
        inside, outside = own._overlap(size)
        canvas[(..., *outside)] = part[(..., *inside)]
        return canvas

    def _overlap(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that square and canvas share: those of the square, and the canvas's."""
        starts = self.top, self.left
        spans = [(max(0, first), min(size, first + self.side)) for first in starts]
        outside = tuple(slice(low, high) for low, high in spans)
        inside = tuple(
            slice(low - first, high - first)
            for (low, high), first in zip(spans, starts, strict=True)
        )
        return (inside[0], inside[1]), (outside[0], outside[1])
