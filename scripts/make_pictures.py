"""Makes the pictures of README.md and docs/ anew, with the weights that are shipped.

    python scripts/make_pictures.py FOLDER

Draws the clips that `anamodiff examples` lacks into FOLDER/more, runs the commands of
docs/gallery.md and the demo in FOLDER (a run that is there already is kept), and writes what they
made into docs/. A transfer takes about 35 seconds on two idle cores. The report's picture is a
browser's, by hand:

    chromium --headless --window-size=1100,1905 --screenshot FOLDER/runs/turtle/report.html

Every character is drawn by `anamodiff.creatures`. The photographs behind two of them come with
scikit-image: gravel (CC0Textures) and a cup (Rachel Michetti, Pikolo Espresso Bar), both CC0.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch import Tensor

from anamodiff import creatures
from anamodiff.creatures import ground
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.clip import read_clip, write_video
from anamodiff.video.letterbox import from_pixels, to_pixels
from anamodiff.visual.sheets import contact_sheet, label, save_picture, side_by_side

DOCS = Path(__file__).resolve().parents[1] / "docs"
FRAMES, SIZE, FPS = 16, 256, 8
SMALL = 192  # of the six side by side
#: Drawn clips by file: species, motion, colour.
MORE = {
    "letter-n.gif": ("letter n", "idle", "purple"),
    "letter-m.gif": ("letter m", "idle", "blue"),
    "dinosaur.gif": ("dinosaur", "idle", "green"),
    "ostrich-walks.gif": ("ostrich", "walk", "black"),
}
#: Second colours of those with spots.
SPOTS = {"dinosaur.gif": "yellow"}
PHOTOGRAPHS = {"elephant-on-gravel.mp4": data.gravel, "elephant-and-cup.mp4": data.coffee}
PHOTOGRAPH_SIZE = 320


@dataclass(frozen=True)
class Transfer:
    """A command of the gallery: its run's name and its clips."""

    name: str
    words: list[str]
    source: str
    driving: str


def transfers() -> list[Transfer]:
    """The transfers of docs/gallery.md, in its order."""
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))
    found = []
    for line in blocks.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[:2] == ["anamodiff", "transfer"]:
            flags = dict(zip(words[2::2], words[3::2], strict=True))
            name = Path(flags["--output"]).name
            found.append(Transfer(name, words[1:], flags["--source"], flags["--driving"]))
    return found


def draw_clips(folder: Path) -> None:
    """Draw what is missing of `MORE`, the elephant on photographs, and its masks."""
    for name, (species, motion, colour) in MORE.items():
        if not (folder / name).exists():
            spots = {"pattern": "spots", "second_colour": SPOTS[name]} if name in SPOTS else {}
            character = creatures.Character(species, colour, **spots)
            drawn = creatures.draw(character, motion, frames=FRAMES, size=SIZE)
            write_video(folder / name, from_pixels(drawn.frames), drawn.fps)
    elephant = creatures.Character("elephant", "blue", scale=0.85)
    drawn = creatures.draw(elephant, "idle", frames=FRAMES, size=PHOTOGRAPH_SIZE)
    for name, photograph in PHOTOGRAPHS.items():
        if not (folder / name).exists():
            frames = ground.on_ground(drawn, square(photograph(), PHOTOGRAPH_SIZE))
            write_video(folder / name, from_pixels(frames), drawn.fps)
    for number, cover in enumerate(drawn.coverage):
        picture = np.repeat(cover[..., None], 3, axis=2)
        save_picture(folder / "masks" / "source" / f"{number:02d}.png", picture)


def square(photograph: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle of a photograph, bytes `size size 3`."""
    if photograph.ndim == 2:
        photograph = np.repeat(photograph[..., None], 3, axis=2)
    side = min(photograph.shape[:2])
    y, x = ((length - side) // 2 for length in photograph.shape[:2])
    middle = photograph[y : y + side, x : x + side]
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA)


def run(folder: Path, words: Sequence[str]) -> None:
    """Run a command of ours in `folder`, unless its output is there."""
    if not (folder / words[list(words).index("--output") + 1]).exists():
        subprocess.run([sys.executable, "-m", "anamodiff", *words], cwd=folder, check=True)


def clips(folder: Path, one: Transfer, size: int = SIZE) -> list[tuple[str, Tensor]]:
    """Source, driving clip and result of a transfer, by what they are."""
    files = {
        "source": folder / one.source,
        "driving": folder / one.driving,
        "result": folder / "runs" / one.name / "frames",
    }
    return [(name, read_clip(file, frames=10, size=size).frames) for name, file in files.items()]


def write_animation(path: Path, frames: Tensor, quality: int = 75) -> None:
    """Frames `f 3 h w` as an animated webp that repeats for ever."""
    images = [Image.fromarray(picture) for picture in to_pixels(frames)]
    images[0].save(
        path, format="WEBP", save_all=True, append_images=images[1:], duration=1000 // FPS,
        loop=0, quality=quality, method=6,
    )  # fmt: skip


def write_gallery(folder: Path, shown: Sequence[Transfer]) -> None:
    """An animation of each transfer, and one of the six side by side in two columns."""
    cells = []
    for one in shown:
        write_animation(DOCS / "pictures" / f"{one.name}.webp", side_by_side(clips(folder, one)))
        columns = [(n, x.expand(10, -1, -1, -1)) for n, x in clips(folder, one, SMALL)]
        cells.append(torch.cat([label(frames, name) for name, frames in columns], dim=-1))
    pad = torch.nn.functional.pad
    cells = [pad(cell, (4, 4, 2, 2), value=1.0) for cell in cells]
    rows = [torch.cat(cells[i : i + 2], dim=-1) for i in range(0, len(cells), 2)]
    write_animation(DOCS / "gallery.webp", torch.cat(rows, dim=-2))


def write_demo(run_folder: Path) -> None:
    """The demo's contact sheet: source, driving clip, warped clip and result."""
    pair = ClipPair.load(run_folder)
    size = pair.warped.source.shape[-1]
    warped = read_clip(run_folder / "warped.mp4", frames=10, size=size).frames
    result = read_clip(run_folder / "frames", frames=10, size=size).frames
    rows = [("source", pair.warped.source), ("driving", pair.warped.driving)]
    write_sheet(DOCS / "demo.png", [*rows, ("warped", warped), ("result", result)])


def write_sheet(path: Path, rows: Sequence[tuple[str, Tensor]]) -> None:
    """A contact sheet of five columns."""
    save_small(path, contact_sheet([(name, frames[::2]) for name, frames in rows], columns=5))


def save_small(path: Path, picture: NDArray[np.uint8], width: int = 1320) -> None:
    """Write a png of 256 colours, no wider than `width`."""
    image = Image.fromarray(picture)
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.LANCZOS)
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="working folder: clips and runs")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (DOCS / "pictures").mkdir(exist_ok=True)
    if not (folder / "examples").exists():
        subprocess.run([sys.executable, "-m", "anamodiff", "examples"], cwd=folder, check=True)
    draw_clips(folder / "more")
    found = {one.name: one for one in transfers()}
    for one in found.values():
        run(folder, one.words)
    run(folder, ["demo", "--output", "runs/demo"])
    sheet = "sheet.png"
    run(folder, ["inspect", found["turtle"].source, "--driving", found["turtle"].driving,
                 "--output", sheet])  # fmt: skip
    write_demo(folder / "runs" / "demo")
    save_small(DOCS / "pictures" / "inspect.png", np.asarray(Image.open(folder / sheet)))
    write_gallery(folder, [*found.values()][:6])
    galloping, jumping = (clips(folder, found[name]) for name in ("letter-gallops", "letter"))
    rows = [("driving", galloping[1][1]), ("letter m after it", galloping[2][1])]
    rows += [("driving", jumping[1][1]), ("letter n after it", jumping[2][1])]
    write_sheet(DOCS / "pictures" / "letters.png", rows)
    plain, masked = (clips(folder, found[name]) for name in ("cup", "cup-masks"))
    rows = [("source", plain[0][1]), ("automatic mattes", plain[2][1])]
    write_sheet(DOCS / "pictures" / "masks.png", [*rows, ("masks of its own", masked[2][1])])


if __name__ == "__main__":
    main()
