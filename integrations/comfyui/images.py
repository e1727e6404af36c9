"""ComfyUI's images, ``b h w c`` in [0, 1], to and from the library's clips."""

from __future__ import annotations

from torch import Tensor

from anamodiff.video.arrays import clip_of_frames
from anamodiff.video.clip import Clip


def to_images(frames: Tensor) -> Tensor:
    """Frames ``f c h w`` in [-1, 1] as ComfyUI's images, ``b h w c`` in [0, 1], RGB."""
    return ((frames[:, :3].float().cpu() + 1) / 2).clamp(0, 1).movedim(1, -1).contiguous()


def to_clip(images: Tensor, fps: float, frames: int, size: int, minimum: int, role: str) -> Clip:
    """ComfyUI's images as a clip on the backbone's canvas."""
    pixels = images.detach().float().cpu().clamp(0, 1).numpy()  # upscalers overshoot
    return clip_of_frames(pixels, fps, frames=frames, size=size, minimum=minimum, role=role)
