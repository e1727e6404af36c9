"""What LOFNet makes of characters, beside what they really look like: latents to mend."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .data import Frames

MOTIONS = ("walk", "trot", "gallop", "jump", "graze", "rear", "idle")


@torch.no_grad()
def cache_warps(
    folder: Path, clips: Frames | None, *, backbone: str, pairs: int, clips_used: int,
    frames: int, seed: int, part: int = 50,
) -> None:  # fmt: skip
    """Warped latents and the true ones (fp16), with captions, written in parts.

    Of drawn pairs the warp follows another character, and the truth is known because both are
    drawn; of clips it follows the clip itself. Benchmarks draw with other seeds.

    Args:
        backbone: exported folder of LOFNet and the autoencoder that the UNet is trained for.
        pairs: drawn pairs.
        clips_used: clips, evenly spread.
        frames: of each.
        seed: of the first drawn pair.
    """
    from anamodiff.pipeline import MotionTransfer

    mover = MotionTransfer.load(backbone, device="cpu")
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [("pair", seed + k) for k in range(pairs)]
    if clips is not None and clips_used:
        count = len(clips.captions)
        jobs += [("clip", k * count // clips_used) for k in range(min(clips_used, count))]
    for first in range(0, len(jobs), part):
        path = folder / f"{first:06d}.npz"
        if path.is_file():
            continue
        made = [
            _of_pair(mover, number, frames) if kind == "pair"
            else _of_clip(mover, clips, number, frames)
            for kind, number in jobs[first : first + part]
        ]  # fmt: skip
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            warped=torch.cat([warped for warped, _, _ in made]).half().numpy(),
            true=torch.cat([true for _, true, _ in made]).half().numpy(),
            captions=np.repeat([caption for *_, caption in made], [len(w) for w, *_ in made]),
        )
        os.replace(temporary, path)
        print(f"warps {first + len(made)}/{len(jobs)}", flush=True)


def load_warps(folder: Path) -> tuple[Tensor, Tensor, list[str]]:
    """All cached warped and true latents n 4 h w (fp16), and their captions."""
    parts = [np.load(path) for path in sorted(folder.glob("??????.npz"))]
    warped, true = (
        torch.from_numpy(np.concatenate([part[key] for part in parts]))
        for key in ("warped", "true")
    )
    return warped, true, [str(caption) for part in parts for caption in part["captions"]]


def _of_pair(mover, seed: int, frames: int) -> tuple[Tensor, Tensor, str]:
    """A drawn character after another's motion; both motions are drawn by lot."""
    from anamodiff import creatures
    from anamodiff.letterbox import from_pixels
    from anamodiff.lofnet import AdaptationOptions

    rng = np.random.default_rng(seed)
    pair = creatures.draw_pair(seed, motion=str(rng.choice(MOTIONS)), frames=frames)
    start, driving = from_pixels(pair.source.frames[:1]), from_pixels(pair.driving.frames)
    options = mover.backbone.options(AdaptationOptions, None, "adaptation")
    true = mover.backbone.encode(from_pixels(pair.truth.frames))
    warped = _warped(mover, start, driving, options)
    return warped, true, pair.source_caption


def _of_clip(mover, clips: Frames, number: int, frames: int) -> tuple[Tensor, Tensor, str]:
    """A clip after itself, from its first frame; every later frame is used up to `frames`."""
    from anamodiff.letterbox import from_pixels

    pixels = np.asarray(clips.clip(number))
    pixels = pixels[np.linspace(0, len(pixels) - 1, min(frames, len(pixels))).round().astype(int)]
    driving = from_pixels(pixels)
    warped = _warped(mover, driving[:1], driving, None)
    return warped, mover.backbone.encode(driving), clips.captions[number]


def _warped(mover, start: Tensor, driving: Tensor, adaptation) -> Tensor:
    from anamodiff.lofnet import animate

    latents = mover.backbone.encode(start)
    return animate(mover.lofnet, start, latents, driving, adaptation=adaptation).warped
