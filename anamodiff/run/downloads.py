"""A result as files to take away, and beside what it was made from."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from anamodiff.backbone.model import Backbone
from anamodiff.matting.cutout import WHITE
from anamodiff.run.compositing import set_on_ground
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.result import Result
from anamodiff.unet3d.weights import LORA_FILE
from anamodiff.video.canvas import limited
from anamodiff.video.letterbox import crop_back

#: Names of the files, in the order in which pages offer them.
FORMATS = ("mp4", "gif", "webm with alpha", "frames", "LoRA", "report")


def write_downloads(result: Result, folder: Path) -> dict[str, Path]:
    """Write `FORMATS` into a new folder.

    mp4 and gif are as the result is written, on white where it is transparent. The frames are a zip
    of PNGs. The LoRA is what diffusers' `load_lora_weights` reads.
    """
    folder.mkdir(parents=True)
    seen = replace(result, shown=_on_white(result.shown))
    files = {
        "mp4": seen.save(folder / "result.mp4"),
        "gif": seen.save(folder / "result.gif"),
        "webm with alpha": _transparent(result).save(folder / "result.webm"),
        "frames": folder / "frames.zip",
        "LoRA": result.run / "weights" / LORA_FILE,
        "report": result.run / "report.html",
    }
    with zipfile.ZipFile(files["frames"], "w") as archive:  # PNGs are small already
        for frame in sorted((result.run / "frames").glob("*.png")):
            archive.write(frame, frame.name)
    return {name: files[name] for name in FORMATS if files[name].is_file()}


def _transparent(result: Result) -> Result:
    """The same result on no ground."""
    if result.shown.shape[1] == 4:
        return result
    pair = ClipPair.load(result.run)
    own = result.canvas if pair.zoom is None else pair.zoom.enter(result.canvas)
    times = result.shown.shape[-1] // result.canvas.shape[-1]
    return replace(result, shown=set_on_ground(own, pair, "transparent", times))


def _on_white(shown: Tensor) -> Tensor:
    """Frames ``f 3 h w``; those with alpha ``f 4 h w`` on white."""
    if shown.shape[1] == 3:
        return shown
    return WHITE + (shown[:, :3] - WHITE) * (shown[:, 3:] + 1) / 2


def comparison(result: Result, backbone: Backbone, longest: int) -> dict[str, Tensor]:
    """Source, driving clip, warped clip and result, ``f 3 h w`` in [-1, 1].

    The driving clip is the square that was looked at, the others are in the source's shape.

    Args:
        backbone: decodes the warped clip.
        longest: pixels of the longer sides at most.
    """
    pair = ClipPair.load(result.run)
    made, box = pair.warped, limited(pair.box, longest)
    return {
        "source": crop_back(pair.whole(made.source), box),
        "driving": made.driving,
        "warped, before tuning": crop_back(pair.whole(backbone.decode(made.warped).cpu()), box),
        "result": crop_back(_on_white(result.shown), limited(result.box, longest)),
    }
