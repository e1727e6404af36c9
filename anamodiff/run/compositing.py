"""The result's character, which was made on white, on the ground that is asked for."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from PIL import ImageColor
from torch import Tensor

from anamodiff.matting.cutout import WHITE, Cutout, cut_plain
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.canvas import Letterbox
from anamodiff.video.foreground import GROUND_DISTANCE, ground_colour
from anamodiff.warp import resize_flow, warp

#: Pixels of the canvas on which a small character is pasted back with its full detail, at most.
LARGEST_CANVAS = 1024


def canvas_factor(pair: ClipPair, box: Letterbox) -> int:
    """How many times the canvas a small character, enlarged for the work, is pasted back on.

    Args:
        box: the source's letterbox, with the size to write.
    """
    if pair.zoom is None:
        return 1
    size = max(box.height, box.width)
    detail, wanted = ceil(size / pair.zoom.side), ceil(max(box.original) / size)
    return max(1, min(detail, wanted, LARGEST_CANVAS // size))


def set_on_ground(frames: Tensor, pair: ClipPair, ground: str, times: int = 1) -> Tensor:
    """Frames on another ground.

    Args:
        frames: ``f 3 H W`` in [-1, 1], on white: the canvas, or the part that was zoomed to.
        pair: what they were made from.
        ground: `generation.ground`.
        times: `canvas_factor`.

    Returns:
        ``f 3 H W``, `times` as large, as they are where the source was on white and stays on its
        ground; with alpha, ``f 4 H W``, where `ground` is transparent.
    """
    if ground == "source" and pair.source_ground is None:
        return frames
    cutout = cut_result(frames, pair)
    if pair.zoom is not None:
        alpha = pair.zoom.leave(cutout.alpha[:, None], 0.0, times)[:, 0].clamp(0, 1)
        cutout = Cutout(pair.zoom.leave(cutout.frames, times=times), alpha)
    if ground == "transparent":
        return cutout.transparent()
    behind = backdrop(pair, ground).to(frames)
    if behind.shape[-1] > 1 and times > 1:
        size = cutout.frames.shape[-2:]
        behind = F.interpolate(behind[None].float(), size, mode="bicubic").clamp(-1, 1)[0]
    return cutout.on(behind.to(frames))


def cut_result(frames: Tensor, pair: ClipPair) -> Cutout:
    """The result's character; what is white inside of it, where the source was moved to, is its."""
    warped, expected = pair.warped, None
    if warped.foreground is not None:
        own = warped.foreground[warped.source_frames][:, None].float().to(warped.flow.device)
        expected = warp(own, resize_flow(warped.flow, *frames.shape[-2:]))[:, 0] > 0.5
    return cut_plain(frames, ground_colour(frames), expected, least=GROUND_DISTANCE)


def backdrop(pair: ClipPair, ground: str) -> Tensor:
    """A picture ``3 H W`` or a colour ``3 1 1`` in [-1, 1]."""
    white = torch.full((3, 1, 1), WHITE)
    if ground == "source":
        return white if pair.source_ground is None else pair.source_ground
    if ground != "driving":
        return torch.tensor(ImageColor.getrgb(ground)).view(3, 1, 1) / 127.5 - 1
    if pair.driving_ground is None or pair.driving_box is None:
        return white
    return covering(pair.driving_ground, pair.driving_box, pair.box)


def covering(picture: Tensor, own: Letterbox, other: Letterbox) -> Tensor:
    """A letterboxed picture ``3 n n`` enlarged until it covers another letterbox's inside."""
    inner = picture[:, own.top : own.top + own.height, own.left : own.left + own.width]
    scale = max(other.height / own.height, other.width / own.width)
    size = max(other.height, round(scale * own.height)), max(other.width, round(scale * own.width))
    large = F.interpolate(inner[None].float(), size, mode="bilinear", antialias=True)[0]
    top, left = (size[0] - other.height) // 2, (size[1] - other.width) // 2
    side = max(other.height, other.width)
    canvas = torch.full((3, side, side), WHITE)
    canvas[:, other.top : other.top + other.height, other.left : other.left + other.width] = large[
        :, top : top + other.height, left : left + other.width
    ]
    return canvas.clamp(-1, 1)
