"""A folder of pictures as the frames of one clip, in the order that their names count."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from anamodiff.video.picture import Picture
from anamodiff.video.pillow import open_picture
from anamodiff.video.sampling import DEFAULT_FPS, ClipError, FrameSource
from anamodiff.video.suffixes import PICTURE_SUFFIXES

_DECIMAL = re.compile(r"(\d+)(?:[.,](\d+))?")


def list_frames(folder: Path) -> list[Path]:
    """Pictures directly in a folder, hidden ones left out, 2 before 10, 0.25 before 0.5."""
    files = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix.lower() in PICTURE_SUFFIXES
        and path.is_file()
    ]  # fmt: skip
    decimals = _decimals([path.stem for path in files])
    if decimals is None:
        return sorted(files, key=natural_order)
    order = sorted(range(len(files)), key=lambda i: (decimals[i], natural_order(files[i])))
    return [files[i] for i in order]


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _decimals(names: Sequence[str]) -> list[float] | None:
    """The one decimal number in which all names differ; None where they differ otherwise.

    1.9, 1.10 and 1.11 count parts of a version; 0, 0.25, 0.5 and 0.75 are a time.
    """
    found = [list(_DECIMAL.finditer(name)) for name in names]
    if len(names) < 2 or len({len(numbers) for numbers in found}) > 1:
        return None
    if len({_DECIMAL.sub("0", name) for name in names}) > 1:
        return None  # they differ besides their numbers
    columns = [
        column
        for column in zip(*found, strict=True)
        if len({number.group() for number in column}) > 1
    ]
    if len(columns) != 1 or not any(number[2] for number in columns[0]):
        return None
    fractions = [number[2] or "" for number in columns[0]]
    values = [float(f"{number[1]}.{number[2] or 0}") for number in columns[0]]
    return values if _are_decimals(fractions, values) else None


def _are_decimals(fractions: Sequence[str], values: Sequence[float]) -> bool:
    """Whether what follows the points are fractions rather than counts of their own."""
    if len({len(fraction) for fraction in fractions}) == 1:
        return True  # both readings give one order
    if any(fraction.endswith("0") and fraction != "0" for fraction in fractions):
        return False  # 1.10 after 1.9
    if not all(fractions):
        return True  # a point is missing where the fraction is none
    steps = np.diff(sorted(values))
    return bool(steps.min() > 0.98 * steps.max())


def open_folder(folder: Path, role: str) -> FrameSource:
    """The frames of a folder of pictures; raises `ClipError` without pictures."""
    paths = list_frames(folder)
    if not paths:
        others = [path for path in folder.iterdir() if not path.name.startswith(".")]
        kinds = sorted({path.suffix.lower() for path in others if path.is_file()} - {""})
        kind = f" ({', '.join(kinds[:5])})" if kinds else ""
        raise ClipError(
            f"expected pictures (png, jpg, webp ...) in the {role}'s folder {folder}, got none "
            f"among {len(others)} files{kind}; name the folder that holds the frames, or one file"
        )

    def pictures(indices: Sequence[int], size: int | None) -> Iterator[Picture]:
        shown = None
        for index in indices:
            picture = open_picture(paths[index], role, size)
            shown = shown or picture.size
            if picture.size != shown:
                raise ClipError(
                    f"expected frames of one size, got {_by(shown)} and {_by(picture.size)} "
                    f"({paths[index].name}) in {folder}; resize them alike"
                )
            yield picture

    return FrameSource((1 / DEFAULT_FPS,) * len(paths), pictures)


def _by(size: tuple[int, int]) -> str:
    """A picture's size for a message, width first."""
    return f"{size[1]}x{size[0]}"
