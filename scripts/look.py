"""Transfer a set of pairs, print figures, and draw a contact sheet of each to look at.

    python scripts/look.py OUTPUT [--pairs creatures|bench|real]... [--clips FOLDER] [SETTING=VALUE]

For every pair a sheet `OUTPUT/NAME.png` (source, driving, truth where it is known, warped
intermediate, result) and a line: foreground IoU with the truth for the source held still, the bare
warp and the result; CIE Lab distances of foreground colours to the source's and to the truth.
Settings are those of configs/transfer.yaml, such as `tuning.iterations=50`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from anamodiff import config, creatures
from anamodiff.evaluation import colour_distance, foreground_iou, truth_distance
from anamodiff.letterbox import from_pixels
from anamodiff.pictures import contact_sheet, save_picture
from anamodiff.pipeline import MotionTransfer
from anamodiff.scene import Scene
from anamodiff.video import read_clip, write_video

DRAWN = (
    ("turtle", "rhino", "jump"),
    ("cat", "horse", "gallop"),
    ("elephant", "dog", "walk"),
    ("letter m", "horse", "trot"),
)
BENCH = ("gallop_wolf_fox", "jump_llama_sheep", "run_lioness_lion", "walk_tiger_wolf")
REAL = (
    ("kangaroo-still.png", "kangaroo.gif", "a brown kangaroo"),
    ("horse-alpha.webp", "tiger", "a brown horse"),
    ("butterfly.gif", "flag.gif", "a blue butterfly"),
)


@dataclass(frozen=True)
class Task:
    """One transfer, and the truth where it is known."""

    name: str
    source: Path
    driving: Path
    prompt: str
    truth: Tensor | None = None


def drawn_tasks(folder: Path) -> Iterator[Task]:
    for number, (source, driving, motion) in enumerate(DRAWN):
        pair = creatures.draw_pair(
            100 + number, source_species=source, driving_species=driving, motion=motion
        )
        name = f"{source}-{driving}-{motion}".replace(" ", "_")
        paths = [folder / f"{name}-{kind}.gif" for kind in ("source", "driving")]
        for path, drawn in zip(paths, (pair.source, pair.driving), strict=True):
            write_video(path, from_pixels(drawn.frames), drawn.fps)
        yield Task(name, *paths, pair.source_caption, from_pixels(pair.truth.frames))


def clip_tasks(clips: Path, size: int) -> Iterator[Task]:
    for name in BENCH:
        pair = clips / "bench" / name
        caption = json.loads((pair / "meta.json").read_text())["source_caption"]
        truth = read_clip(pair / "truth.mp4", size=size).frames
        yield Task(name, pair / "source.mp4", pair / "driving.mp4", caption, truth)


def real_tasks(clips: Path) -> Iterator[Task]:
    for source, driving, prompt in REAL:
        real = clips / "real"
        yield Task(
            f"{Path(source).stem}-{Path(driving).stem}", real / source, real / driving, prompt
        )


def look(mover: MotionTransfer, task: Task, output: Path, settings: dict) -> str:
    run = output / "runs" / task.name
    result = mover.transfer(
        task.source, task.driving, prompt=task.prompt, output=run, resume=run.is_dir(), **settings
    )
    scene = Scene.load(run / "scene.safetensors")
    warped = mover.backbone.decode(scene.warped)
    frames = read_clip(run / "frames", size=mover.backbone.image_size).frames
    rows = [("source", scene.source), ("driving", scene.driving)]
    rows += [("truth", task.truth)] if task.truth is not None else []
    rows += [("warped", warped), ("result", frames)]
    save_picture(output / f"{task.name}.png", contact_sheet(rows))
    colours = (colour_distance(clip, scene.source) for clip in (warped, frames))
    line = "{:32} colour warp {:.1f} result {:.1f}".format(task.name, *colours)
    if task.truth is not None:
        still = scene.source[scene.start].expand_as(task.truth)
        values = (foreground_iou(clip, task.truth) for clip in (still, warped, frames))
        line += " IoU still {:.2f} warp {:.2f} result {:.2f}".format(*values)
        line += f" Lab to truth {truth_distance(frames, task.truth):.1f}"
    return f"{line}  {sum(result.timings.values()):.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", choices=("creatures", "bench", "real"), action="append")
    parser.add_argument("--clips", type=Path, help="folder with bench/ and real/")
    parser.add_argument("--only", metavar="NAME", action="append", help="one pair; may be repeated")
    arguments, overrides = parser.parse_known_args()
    given = ["source=x", "driving=x", "prompt=x", *overrides]
    settings = config.plain(config.compose("transfer", given))
    for key in ("source", "driving", "prompt", "output", "resume"):
        settings.pop(key)
    models = {key: settings.pop(key) for key in ("backbone", "lofnet", "device", "precision")}
    mover = MotionTransfer.load(**models)
    chosen = arguments.pairs or ["creatures"]
    tasks: list[Task] = []
    if "creatures" in chosen:
        tasks += drawn_tasks(arguments.output)
    if "bench" in chosen:
        tasks += clip_tasks(arguments.clips, mover.backbone.image_size)
    if "real" in chosen:
        tasks += real_tasks(arguments.clips)
    for task in tasks:
        if not arguments.only or task.name in arguments.only:
            print(look(mover, task, arguments.output, settings), flush=True)


if __name__ == "__main__":
    main()
