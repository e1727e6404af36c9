"""Clips with an alpha channel: webm (VP9), webp, animated png, and gif with one bit of it."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from anamodiff.resources import expanded
from anamodiff.video.clip import replacing_clip, write_frames
from anamodiff.video.pyav import ENCODERS
from anamodiff.video.sampling import ClipError
from anamodiff.video.suffixes import ALPHA_SUFFIXES

Pictures = NDArray[np.uint8]


def write_alpha(path: str | os.PathLike[str], frames: Tensor, fps: float) -> Path:
    """Write frames ``f 4 h w`` in [-1, 1], alpha last and not multiplied in, by the suffix.

    Frames ``f 3 h w`` are opaque. The file appears only when it is complete.

    Raises:
        ClipError: the format holds no alpha, or the file cannot be written.
    """
    path = expanded(path)
    if path.suffix.lower() not in (*ALPHA_SUFFIXES, ".png"):
        raise ClipError(
            f"expected a name that ends in {', '.join(ALPHA_SUFFIXES)} or .png for a clip with "
            f"alpha, got {path.name!r}: name another"
        )
    rgba = _pixels(frames)
    write = {".webm": _write_vp9, ".gif": _write_gif}.get(path.suffix.lower(), _write_animation)
    with replacing_clip(path) as unfinished:
        write(unfinished, rgba, fps)
    return path


def write_alpha_frames(folder: str | os.PathLike[str], frames: Tensor) -> None:
    """`write_frames` of frames ``f 4 h w``, as `write_alpha` takes them."""
    write_frames(Path(folder), _pixels(frames))


def _pixels(frames: Tensor) -> Pictures:
    """Bytes ``f h w 4``; hidden pixels are white."""
    frames = frames.detach().float().cpu()
    if frames.shape[1] == 3:
        frames = torch.cat([frames, torch.ones_like(frames[:, :1])], dim=1)
    rgba = ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(rgba, "f c h w -> f h w c").numpy()


def _milliseconds(count: int, fps: float) -> list[int]:
    """How long each frame is shown: whole milliseconds that add up to the clip's length."""
    ends = [round(index * 1000 / fps) for index in range(count + 1)]
    return [max(1, after - before) for before, after in pairwise(ends)]


def _write_animation(path: Path, rgba: Pictures, fps: float) -> None:
    """An animated webp, without loss, or png."""
    images = [Image.fromarray(picture, "RGBA") for picture in rgba]
    webp = path.suffix.lower() == ".webp"
    # A png's frames replace each other, lest the one before shine through.
    how = {"lossless": True, "exact": True} if webp else {"disposal": 1, "blend": 0}
    images[0].save(
        path, format="WEBP" if webp else "PNG", save_all=True, append_images=images[1:],
        duration=_milliseconds(len(images), fps), loop=0, **how,
    )  # fmt: skip


def _write_gif(path: Path, rgba: Pictures, fps: float) -> None:
    """A gif, whose pixels are seen or not."""
    rgba = rgba.copy()
    rgba[..., 3] = np.where(rgba[..., 3] >= 128, 255, 0)
    images = [Image.fromarray(picture, "RGBA") for picture in rgba]
    durations = [max(20, 10 * round(time / 10)) for time in _milliseconds(len(images), fps)]
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0,
        disposal=2,
    )  # fmt: skip


def _write_vp9(path: Path, rgba: Pictures, fps: float) -> None:
    """A webm of VP9 with a second plane for alpha; an odd edge is repeated once."""
    encoder, options, container_options = ENCODERS[".webm"]
    odd = ((0, 0), (0, rgba.shape[1] % 2), (0, rgba.shape[2] % 2), (0, 0))
    rgba = np.pad(rgba, odd, mode="edge")
    to_yuv = VideoReformatter()
    # The encoder refuses alpha together with frames that are never shown.
    options = {**options, "auto-alt-ref": "0"}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(encoder, Fraction(fps).limit_denominator(1001), options)
        stream.height, stream.width, stream.pix_fmt = *rgba.shape[1:3], "yuva420p"
        stream.codec_context.colorspace = 6  # AVCOL_SPC_SMPTE170M, as `encode_video` does
        stream.codec_context.color_range = 1
        for count, picture in enumerate(rgba):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgba")
            frame = to_yuv.reformat(
                frame, format="yuva420p", dst_colorspace="ITU601", interpolation="AREA"
            )
            frame.pts, frame.time_base = count, 1 / stream.codec_context.framerate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
