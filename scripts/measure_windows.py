"""Measure whether long clips show where their windows meet, and print tables.

    python scripts/measure_windows.py [--pairs N] [--frames N] [--sheets FOLDER] [SETTING=VALUE]...

Drawn pairs of so many frames are transferred with the embedded backbone. For every two neighbours
among the frames it takes the flicker, as the benchmark measures it (levels of 255), and the bare
change of the picture from the one to the other, both inside the foregrounds; then the means of
those that a seam lies between, and of the others. A seam's motion may be faster than elsewhere:
the warped clip and the truth, which have no windows, tell. Rows:

    truth     the character really moving so
    warp      the warped intermediate, decoded
    windows   the result
    whole     all frames at once, as if there were memory for it
    apart     a control: windows that know nothing of each other

Settings are those of `generation` and `tuning` in configs/, such as `generation.overlap=1`. FOLDER
gets a sheet of frames around three seams of each pair.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure.table import table
from torch import Tensor

from anamodiff import config, creatures
from anamodiff.evaluation import flicker
from anamodiff.foreground import foreground_mask
from anamodiff.inversion import GenerationOptions
from anamodiff.inversion.windows import split_frames
from anamodiff.letterbox import fit, from_pixels
from anamodiff.pictures import contact_sheet, save_picture
from anamodiff.pipeline import MotionTransfer
from anamodiff.scene import Scene
from anamodiff.video import Clip

PAIRS = (
    ("turtle", "rhino", "jump"),
    ("cat", "horse", "gallop"),
    ("elephant", "dog", "walk"),
    ("giraffe", "horse", "trot"),
)
FIRST_SEED = 470
AROUND = 3  # frames on either side of a seam on a sheet
WHITE = (1.0, 1.0, 1.0)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="of four (default: all)")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    arguments, overrides = parser.parse_known_args(words)
    given = ["source=x", "driving=x", "prompt=x", *overrides]
    settings = config.plain(config.compose("transfer", given))
    mover = MotionTransfer.load(arguments.backbone, device="cpu")
    options = mover.backbone.options(GenerationOptions, settings["generation"], "generation")
    runs = split_frames(arguments.frames, options.window, options.overlap)
    seams = [run.start - 1 for run in runs[1:]]
    print(f"{arguments.frames} frames in {len(runs)} windows", flush=True)
    for number, names in enumerate(PAIRS[: arguments.pairs]):
        clips = clips_of(mover, number, arguments.frames, settings["tuning"], options)
        rows = {name: seam_figures(clip, clips["truth"], seams) for name, clip in clips.items()}
        print(table("-".join(names), rows, mean=False, digits=2), flush=True)
        if arguments.sheets:
            save_picture(arguments.sheets / f"{'-'.join(names)}.png", sheet(clips, seams))
    return 0


def clips_of(
    mover: MotionTransfer, number: int, frames: int, tuning: dict, options: GenerationOptions
) -> dict[str, Tensor]:
    """The truth of a pair and what is made of it, f 3 h w each."""
    source, driving, motion = PAIRS[number]
    pair = creatures.draw_pair(
        FIRST_SEED + number, source_species=source, driving_species=driving, motion=motion,
        frames=frames, size=mover.backbone.image_size,
    )  # fmt: skip
    scene = mover.warp(*(as_clip(drawn.frames, drawn.fps) for drawn in (pair.source, pair.driving)))
    unet, _ = mover.fit(scene, pair.source_caption, mover.tuning_options(tuning), seed=0)
    runs = split_frames(frames, options.window, options.overlap)
    whole = replace(options, window=max(options.window, frames))

    def result(part: Scene, chosen: GenerationOptions) -> Tensor:
        return mover.sample(unet, part, pair.source_caption, chosen, seed=0)

    latents = {
        "windows": result(scene, options),
        "whole": result(scene, whole),
        "apart": torch.cat([result(cut(scene, run), whole) for run in runs]),
    }
    clips = {"truth": from_pixels(pair.truth.frames)}
    clips["warp"] = mover.backbone.decode(scene.warped).cpu()
    return clips | {name: mover.develop(made, scene, options) for name, made in latents.items()}


def cut(scene: Scene, run: slice) -> Scene:
    return replace(scene, warped=scene.warped[run], flow=scene.flow[run])


def as_clip(pixels: Tensor, fps: float) -> Clip:
    frames = from_pixels(pixels)
    count, size = len(frames), frames.shape[-1]
    box = fit(size, size, size)
    return Clip(frames, fps, None, tuple(range(count)), count, box, WHITE)


def seam_figures(clip: Tensor, truth: Tensor, seams: list[int]) -> dict[str, float]:
    """Means over pairs of neighbours at seams and inside windows, and their difference's error."""
    figures = {}
    for name, values in (("flicker", flickers(clip, truth)), ("change", changes(clip, truth))):
        at_seam = torch.zeros(len(values), dtype=torch.bool)
        at_seam[seams] = True
        parts = values[~at_seam], values[at_seam]
        inside, between = (part.mean() for part in parts)
        error = sum(part.var() / len(part) for part in parts).sqrt()
        figures |= {f"{name} inside": inside, f"{name} at seams": between, f"{name} +-": error}
    return {name: float(value) for name, value in figures.items()}


def flickers(clip: Tensor, truth: Tensor) -> Tensor:
    """The benchmark's flicker of each two neighbours, f-1."""
    return torch.tensor([flicker(*two) for two in neighbours(clip, truth)])


def changes(clip: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute change between each two neighbours, levels of 255, where either clip is."""
    values = []
    for own, wanted in neighbours(clip, truth):
        inside = (foreground_mask(own) | foreground_mask(wanted)).any(dim=0)
        values.append(127.5 * (own[1] - own[0]).abs().mean(dim=0)[inside].mean())
    return torch.stack(values)


def neighbours(*clips: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each two neighbouring frames of all clips."""
    for first in range(len(clips[0]) - 1):
        yield tuple(clip[first : first + 2] for clip in clips)


def sheet(clips: dict[str, Tensor], seams: list[int]) -> np.ndarray:
    """Frames on both sides of the first, the middle and the last seam, one row a clip."""
    chosen = [seams[0], seams[len(seams) // 2], seams[-1]]
    shown = [n for seam in chosen for n in range(seam - AROUND + 1, seam + AROUND + 1)]
    rows = [(f"{name}: frames {shown}", clip[shown]) for name, clip in clips.items()]
    return contact_sheet(rows, columns=len(shown))


if __name__ == "__main__":
    raise SystemExit(main())
