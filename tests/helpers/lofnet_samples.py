"""A backbone without weights, small clips of discs that move, and latents without files."""

import time
from collections.abc import Iterable
from multiprocessing import Queue
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.backbone.latents import LatentSpace
from anamodiff.lofnet.training.cache import _encode_clip, cache_latents
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.shards import Shards

SIZE = 32

# A network that learns to follow a disc in seconds.
TINY = {
    "frame_size": 32,
    "detector": {
        "block_expansion": 8, "num_kp": 3, "num_channels": 3, "max_features": 16, "num_blocks": 2,
        "temperature": 0.1, "scale_factor": 0.5, "single_jacobian_map": True,
    },
    "dense_motion": {
        "block_expansion": 8, "num_blocks": 2, "max_features": 16, "num_kp": 3, "num_channels": 4,
    },
}  # fmt: skip


class FakeBackbone:
    """Latents are the frames, four times smaller, with mixed colours."""

    image_size = SIZE
    latent_size = SIZE // 4
    hash = "fake"
    latent_space = LatentSpace("fake", 4, 1.0, (0.0,) * 16)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.encoded = 0
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.randn(4, 3, generator=generator)

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded += len(frames)
        return torch.einsum("c r, f r h w -> f c h w", self.mix, F.avg_pool2d(frames, 4))

    def decode(self, latents: Tensor) -> Tensor:
        colours = torch.einsum("r c, f c h w -> f r h w", self.mix.pinverse(), latents)
        return F.interpolate(colours, scale_factor=4).clamp(-1, 1)


def disc_clip(seed: int, frames: int = 6) -> Tensor:
    """A coloured disc that crosses a white ground: f 3 h w in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    start, colour = torch.rand(2, generator=generator), torch.rand(3, generator=generator)
    places = SIZE * (0.25 + 0.3 * start + 0.2 * torch.linspace(0, 1, frames)[:, None])
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)
    distance = (grid - places[:, None, None]).square().sum(dim=-1)
    disc = (distance < (SIZE / 6) ** 2).float()[:, None]
    return (1 - disc) + disc * (2 * colour[:, None, None] - 1) * 0.8


def latent_clips(
    clips: Iterable[tuple[str, Tensor]], backbone: FakeBackbone, cache: Path
) -> LatentClips:
    """Cached clips of given names and frames ``f 3 h w``, without clip files to read."""
    shards, names = Shards(cache, "made"), []
    with shards.writing():
        for name, frames in clips:
            shards.add(name, _encode_clip(frames, backbone, SIZE))
            names.append(name)
    return LatentClips([shards.find(name, name) for name in names])


def cache_in_a_process(folder: Path, cache: Path, encoded: Queue) -> None:
    backbone = FakeBackbone()
    encode = backbone.encode

    def slowly(frames: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return encode(frames)

    backbone.encode = slowly
    clips = cache_latents(folder, backbone=backbone, cache=cache, progress=False)
    encoded.put((backbone.encoded, len(clips)))
