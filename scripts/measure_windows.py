"""Measure whether the seams of windows show in long clips, and print tables.

    python scripts/measure_windows.py [--pairs N] [--frames N] [--sheets FOLDER] [SETTING=VALUE]...

Drawn pairs of N frames are transferred with the embedded backbone. Between every two neighbouring
frames it measures the flicker, as the benchmark does, and the mean absolute change of the pixels,
inside the foregrounds, in levels of 255. Windows end elsewhere in every step of denoising: the
columns are means at the first step's seams and elsewhere, and at the last step's and elsewhere.
Rows without windows show where the motion itself is faster. Rows:

    truth     the ground truth
    warp      the warped intermediate, decoded
    whole     all frames at once, as if there were memory for it
    windows   the result
    apart     a control: the first step's windows, each sampled by itself

At the end, means over pairs of each row less `whole`, and their standard errors. Settings are those
of `adaptation`, `tuning` and `generation` in configs/, such as `generation.overlap=1`. FOLDER gets
a sheet of frames around three seams of each pair.
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

from anamodiff import creatures
from anamodiff.backbone.size import UNET
from anamodiff.cli import compose as config
from anamodiff.diffusion import Schedule
from anamodiff.evaluation.metrics import flicker
from anamodiff.inversion.windows import split_frames
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.options import STAGES, GenerationOptions, TransferOptions
from anamodiff.pipeline import AnaMoDiff
from anamodiff.run.models import load_models
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.foreground import foreground_mask
from anamodiff.video.letterbox import from_pixels
from anamodiff.visual.sheets import contact_sheet, save_picture

PAIRS = (
    ("turtle", "rhino", "jump"),
    ("cat", "horse", "gallop"),
    ("elephant", "dog", "walk"),
    ("giraffe", "horse", "trot"),
)
FIRST_SEED = 470
AROUND = 3  # frames on either side of a seam on a sheet


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
    mover = MotionTransfer.of(load_models(arguments.backbone, device="cpu", size=UNET))
    options = mover.resolve(**{section: settings[section] for section in STAGES})
    seams = seams_of(arguments.frames, options.generation, mover.backbone.schedule)
    results = []
    for number, names in enumerate(PAIRS[: arguments.pairs]):
        clips = clips_of(mover.method, number, arguments.frames, options)
        results.append(measured(clips))
        for measure, values in results[-1].items():
            rows = {name: means(value, seams) for name, value in values.items()}
            print(table(f"{'-'.join(names)}: {measure}", rows, mean=False, digits=2), flush=True)
        if arguments.sheets:
            save_picture(arguments.sheets / f"{'-'.join(names)}.png", sheet(clips, seams))
    print_differences(results, seams)
    return 0


def seams_of(frames: int, options: GenerationOptions, schedule: Schedule) -> dict[str, Tensor]:
    """Masks of the f - 1 pairs of neighbours with a seam between them, in first and last step."""
    steps = options.steps - schedule.start(options.steps, options.denoise_from)
    seams = {}
    for name, turn in (("first", 0), ("last", steps - 1)):
        runs = split_frames(frames, options.window, options.overlap, turn)
        seams[name] = torch.zeros(frames - 1, dtype=torch.bool)
        seams[name][[run.start - 1 for run in runs[1:]]] = True
    return seams


def clips_of(
    method: AnaMoDiff, number: int, frames: int, options: TransferOptions
) -> dict[str, Tensor]:
    """The rows' clips of a pair, f 3 h w each."""
    species, driving_species, motion = PAIRS[number]
    pair = creatures.draw_pair(
        FIRST_SEED + number, source_species=species, driving_species=driving_species, motion=motion,
        frames=frames, size=method.backbone.image_size,
    )  # fmt: skip
    source, driving, truth = (
        from_pixels(clip.frames) for clip in (pair.source, pair.driving, pair.truth)
    )
    warped = method.warp(source, driving, adaptation=options.adaptation)
    unet, _ = method.fit(warped, pair.source_caption, options.tuning, seed=0)
    windows = options.generation
    whole = replace(windows, window=max(windows.window, frames))

    def sampled(part: WarpedIntermediate, chosen: GenerationOptions) -> Tensor:
        return method.sample(unet, part, pair.source_caption, chosen, seed=0)

    runs = split_frames(frames, windows.window, windows.overlap)
    latents = {
        "whole": sampled(warped, whole),
        "windows": sampled(warped, windows),
        "apart": torch.cat([sampled(cut(warped, run), whole) for run in runs]),
    }
    clips = {"truth": truth, "warp": method.backbone.decode(warped.warped).cpu()}
    results = {name: method.decode_result(z, warped, windows) for name, z in latents.items()}
    return clips | results


def cut(warped: WarpedIntermediate, run: slice) -> WarpedIntermediate:
    """What sampling needs of some frames."""
    frames = warped.source_frames[run]
    return replace(warped, warped=warped.warped[run], flow=warped.flow[run], frames=frames)


def measured(clips: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Flicker and change of each clip, between every two neighbours."""
    truth = clips["truth"]
    return {
        title: {name: measure(clip, truth) for name, clip in clips.items()}
        for title, measure in (("flicker", flickers), ("change", changes))
    }


def means(values: Tensor, seams: dict[str, Tensor]) -> dict[str, float]:
    """Means over all pairs of neighbours, at seams, and elsewhere."""
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
    """The benchmark's flicker between each two neighbours, f - 1."""
    return torch.tensor([flicker(*two) for two in neighbours(clip, truth)])


def changes(clip: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute change between each two neighbours, in levels of 255, in the foregrounds."""
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
    """Frames on both sides of three of the last step's seams, a row for each clip."""
    places = seams["last"].nonzero().flatten().tolist()
    chosen = [places[0], places[len(places) // 2], places[-1]]
    shown = [n for seam in chosen for n in range(seam - AROUND + 1, seam + AROUND + 1)]
    shown = [n for n in shown if n < len(clips["truth"])]
    rows = [(f"{name}: frames {shown}", clip[shown]) for name, clip in clips.items()]
    return contact_sheet(rows, columns=len(shown))


if __name__ == "__main__":
    raise SystemExit(main())
