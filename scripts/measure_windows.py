"""Measure whether long clips show where their windows meet, and print tables.

    python scripts/measure_windows.py [--pairs N] [--frames N] [--sheets FOLDER] [SETTING=VALUE]...

Drawn pairs of so many frames are transferred with the embedded backbone. Of every two neighbouring
frames it takes the flicker, as the benchmark measures it, and the bare change of the picture from
one to the other, inside the foregrounds, in levels of 255. Windows end elsewhere in every step of
denoising: the columns are means at the first step's seams and elsewhere, and at the last step's and
elsewhere. Where motion is faster, rows without windows tell. Rows:

    truth     the character really moving so
    warp      the warped intermediate, decoded
    whole     all frames at once, as if there were memory for it
    windows   the result
    apart     a control: windows that end at the first step's seams and know nothing of each other

At the end, means over pairs of each row less `whole`, and their standard errors. Settings are those
of `generation` and `tuning` in configs/, such as `generation.overlap=1`. FOLDER gets a sheet of
frames around three seams of each pair.
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
from anamodiff.diffusion import Schedule
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
    seams = seams_of(arguments.frames, options, mover.backbone.schedule)
    results = []
    for number, names in enumerate(PAIRS[: arguments.pairs]):
        clips = clips_of(mover, number, arguments.frames, settings["tuning"], options)
        results.append(measured(clips))
        for measure, values in results[-1].items():
            rows = {name: means(value, seams) for name, value in values.items()}
            print(table(f"{'-'.join(names)}: {measure}", rows, mean=False, digits=2), flush=True)
        if arguments.sheets:
            save_picture(arguments.sheets / f"{'-'.join(names)}.png", sheet(clips, seams))
    print_differences(results, seams)
    return 0


def seams_of(frames: int, options: GenerationOptions, schedule: Schedule) -> dict[str, Tensor]:
    """Which of the f-1 pairs of neighbours have a seam between them, in the first and last step."""
    steps = options.steps - schedule.start(options.steps, options.denoise_from)
    seams = {}
    for name, turn in (("first", 0), ("last", steps - 1)):
        runs = split_frames(frames, options.window, options.overlap, turn)
        seams[name] = torch.zeros(frames - 1, dtype=torch.bool)
        seams[name][[run.start - 1 for run in runs[1:]]] = True
    return seams


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
        "whole": result(scene, whole),
        "windows": result(scene, options),
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


def measured(clips: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Flicker and change of each clip between every two neighbours."""
    truth = clips["truth"]
    return {
        title: {name: measure(clip, truth) for name, clip in clips.items()}
        for title, measure in (("flicker", flickers), ("change", changes))
    }


def means(values: Tensor, seams: dict[str, Tensor]) -> dict[str, float]:
    figures = {"all": float(values.mean())}
    for name, at in seams.items():
        figures[f"{name} seams"] = float(values[at].mean())
        figures[f"not {name}"] = float(values[~at].mean())
    return figures


def print_differences(
    results: list[dict[str, dict[str, Tensor]]], seams: dict[str, Tensor]
) -> None:
    """Means over all pairs less `whole`, with standard errors over pairs of neighbours."""
    at = {name: mask.repeat(len(results)) for name, mask in seams.items()}
    for measure in results[0]:
        rows = {}
        for name in ("warp", "windows", "apart"):
            less = torch.cat([one[measure][name] - one[measure]["whole"] for one in results])
            figures = means(less, at)
            for kind, mask in at.items():
                figures[f"{kind} +-"] = float(less[mask].std() / mask.sum().sqrt())
            rows[name] = figures
        print(table(f"less whole: {measure}", rows, mean=False, digits=2))


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


def sheet(clips: dict[str, Tensor], seams: dict[str, Tensor]) -> np.ndarray:
    """Frames on both sides of three of the last step's seams, one row a clip."""
    places = seams["last"].nonzero().flatten().tolist()
    chosen = [places[0], places[len(places) // 2], places[-1]]
    shown = [n for seam in chosen for n in range(seam - AROUND + 1, seam + AROUND + 1)]
    shown = [n for n in shown if n < len(clips["truth"])]
    rows = [(f"{name}: frames {shown}", clip[shown]) for name, clip in clips.items()]
    return contact_sheet(rows, columns=len(shown))


if __name__ == "__main__":
    raise SystemExit(main())
