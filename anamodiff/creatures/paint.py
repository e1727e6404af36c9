"""Painting figures with OpenCV: frames, foreground masks and joints."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from anamodiff.creatures.character import COLOURS, Character, Rgb, figure_of, legs_of, pose_of
from anamodiff.creatures.figure import Figure
from anamodiff.creatures.geometry import grow
from anamodiff.creatures.motion import POSES
from anamodiff.creatures.pose import Pose, join
from anamodiff.creatures.skeleton import skeleton_of, visibility_of
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import FRAMES

MARGIN = 0.94  # share of the picture's half-width that the widest motion may fill
EDGE = 0.02  # outline width, in half-widths of the picture
SPREAD = 0.5  # pixels by which OpenCV's smoothed polygons come out too large on every side
MODEST = ("walk", "trot", "idle")  # motions that reach no farther than the others do
COVERED = 24  # of 255: with a tenth painted, thin tips still belong to the foreground
SHIFT = 4  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True)
class Drawn:
    """A drawn clip and what is known about it.

    `frames` uint8 `f h w 3` (RGB); `masks` bool `f h w`, the foreground; `coverage` uint8 `f h w`,
    how much of each pixel is painted, so that `frames + (1 - coverage / 255) * (other -
    background)` is the same figure on another ground; `joints` float32 `f j 2`
    as (x, y) in [-1, 1] with the corners' pixel centres at -1 and 1, named in `joint_names`, which
    differ between species; `fps` frames a second. `skeleton` float32 `f 22 2` are the joints that
    all animals share (`JOINTS`), NaN for those that this one lacks; `visibility` uint8 `f 22` says
    of each whether it is absent (0), hidden behind another limb or the trunk (1), or seen (2).
    """

    frames: np.ndarray
    masks: np.ndarray
    coverage: np.ndarray
    joints: np.ndarray
    joint_names: tuple[str, ...]
    fps: float
    skeleton: np.ndarray
    visibility: np.ndarray


@dataclass(frozen=True)
class Fit:
    """From figure units to [-1, 1]: multiply by `scale`, then add `shift`."""

    scale: float
    shift: tuple[float, float]


def draw(
    character: Character,
    motion: str,
    *,
    frames: int = FRAMES,
    size: int = 128,
    phase: float = 0.0,
    cycles: float = 1.0,
    supersample: int = 1,
) -> Drawn:
    """Draw a character in motion: `frames` pictures, `size` pixels wide and high.

    Frame i shows the phase `phase + cycles * i / frames` (in cycles), so a clip of whole cycles
    loops. `supersample` draws that many times larger and averages. Raises `AnaMoDiffError` for an
    unknown motion or sizes below 16 pixels or 1 frame.
    """
    if frames < 1 or size < 16 or supersample < 1:
        raise AnaMoDiffError(
            f"expected frames >= 1, size >= 16, supersample >= 1; got {frames}, {size}, "
            f"{supersample}; choose larger numbers"
        )
    t = phase + cycles * np.arange(frames) / frames
    figure = figure_of(character, pose_of(character.species, motion, t))
    fit = fit_of(character)
    pictures, alpha = _paint(figure, character, fit, frames, size * supersample)
    if supersample > 1:
        pictures, alpha = _shrink(pictures, size), _shrink(alpha, size)
    names = tuple(figure.joints)
    joints = np.stack([place(figure.joints[n], character, fit) for n in names], axis=1)
    fps = frames / (cycles * (1.2 if motion in ("idle", "graze", "rear", "wave") else 0.9))
    skeleton = place(skeleton_of(figure, frames), character, fit).astype(np.float32)
    return Drawn(
        frames=pictures,
        masks=alpha > COVERED,
        coverage=alpha,
        joints=joints.astype(np.float32),
        joint_names=names,
        fps=float(fps),
        skeleton=skeleton,
        visibility=visibility_of(figure, frames),
    )


def fit_of(character: Character) -> Fit:
    """Where the figure stands in the picture: the same for all motions, none of which leaves it."""
    shape = replace(
        character, colour="grey", second_colour=None, background=(255, 255, 255), tint=(0, 0, 0),
        pattern="plain", shading="flat", belly=False, silhouette=False, pattern_seed=0, scale=1.0,
        offset=(0.0, 0.0), outline=True,
    )  # fmt: skip
    low_x, low_y, high_x, high_y = _extent(shape)
    largest = 2 * MARGIN / max(high_x - low_x, high_y - low_y)
    scale = largest * character.scale
    room_x = MARGIN - scale * (high_x - low_x) / 2
    room_y = MARGIN - scale * (high_y - low_y) / 2
    x = room_x * character.offset[0] - scale * (low_x + high_x) / 2
    y = 0.5 * room_y * character.offset[1] - scale * (low_y + high_y) / 2
    return Fit(scale, (x, y))


@lru_cache(maxsize=4096)
def _extent(shape: Character) -> tuple[float, float, float, float]:
    """Box around everything that a figure of this shape ever does, in figure units."""
    parts = figure_of(shape, _far_reaching(legs_of(shape.species))).parts
    x = np.concatenate([p.points[..., 0].ravel() for p in parts])
    y = np.concatenate([p.points[..., 1].ravel() for p in parts])
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@lru_cache(maxsize=2)
def _far_reaching(legs: int) -> Pose:
    """Moments of all motions that reach far, for two or four legs."""
    moments = np.arange(10) / 10
    return join([POSES[motion](moments, legs) for motion in POSES if motion not in MODEST])


def place(points: np.ndarray, character: Character, fit: Fit) -> np.ndarray:
    """Figure units to picture coordinates in [-1, 1], y down."""
    x = points[..., 0] * fit.scale + fit.shift[0]
    y = points[..., 1] * fit.scale + fit.shift[1]
    return np.stack([x if character.facing == "right" else -x, -y], axis=-1)


def _paint(
    figure: Figure, character: Character, fit: Fit, frames: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `f h w 3` and coverage `f h w`, both uint8."""
    paper = np.array([*character.background, 0], np.uint8).view(np.uint32)
    canvas = np.full((frames, size, size), paper[0], np.uint32).view(np.uint8)
    canvas = canvas.reshape(frames, size, size, 4)
    for points, colour in _strokes(figure, character, fit, size):
        for picture, outline in zip(canvas, points, strict=True):
            cv2.fillPoly(picture, [outline], colour, cv2.LINE_AA, SHIFT)
    tall = canvas.reshape(frames * size, size, 4)
    pictures, alpha = cv2.cvtColor(tall, cv2.COLOR_BGRA2BGR), cv2.extractChannel(tall, 3)
    return pictures.reshape(frames, size, size, 3), alpha.reshape(frames, size, size)


def _strokes(
    figure: Figure, character: Character, fit: Fit, size: int
) -> list[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """Outlines in OpenCV's fixed-point pixels (`f n 2` int32) and their colours, in order.

    All outlines go through the arithmetic as one array: they are many and small.
    """
    inks = palette(character)
    order = []
    for layer in sorted({part.layer for part in figure.parts}):
        parts = [part for part in figure.parts if part.layer == layer]
        if character.outline and not character.silhouette:
            order += [(part, part.edge, inks["line"]) for part in parts if np.any(part.edge)]
        for part in parts:
            dim = part.far and not character.silhouette
            order.append((part, 0.0, _far(inks[part.ink]) if dim else inks[part.ink]))
    counts = [part.points.shape[1] for part, _, _ in order]
    points = np.concatenate([part.points for part, _, _ in order], axis=1)
    edges = [np.broadcast_to(edge, n) for n, (_, edge, _) in zip(counts, order, strict=True)]
    spread = SPREAD * 2 / (size - 1) / fit.scale
    grown = grow(points, EDGE / fit.scale * np.concatenate(edges) - spread, counts)
    to_pixels = (size - 1) / 2 * (1 << SHIFT)
    pixels = np.round((place(grown, character, fit) + 1) * to_pixels).astype(np.int32, order="C")
    ends = np.cumsum(counts)
    return [
        (pixels[:, end - n : end], (*colour, 255))
        for end, n, (_, _, colour) in zip(ends, counts, order, strict=True)
    ]


def _shrink(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures averaged down to `size` pixels."""
    return np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in pictures])


def _mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """`first` with a share of `second`."""
    return tuple(int(round(a + (b - a) * share)) for a, b in zip(first, second, strict=True))


def _far(colour: Rgb) -> Rgb:
    """The darker tone of limbs on the far side."""
    return _mix(colour, (10, 10, 20), 0.2)


# Paints that lean from the body's colour towards another one, and by how much.
MIXED: dict[str, tuple[Rgb, float]] = {
    "belly": ((255, 250, 240), 0.5),
    "dark": ((20, 16, 24), 0.65),
    "fin": ((20, 16, 40), 0.22),
    "fleece": ((255, 255, 255), 0.12),
    "hair": ((34, 24, 20), 0.6),
    "hoof": ((40, 34, 34), 0.7),
    "inner": ((245, 160, 160), 0.5),
    "light": ((255, 255, 255), 0.22),
    "line": ((14, 12, 20), 0.78),
    "plate": ((60, 40, 20), 0.22),
    "rim": ((50, 34, 20), 0.6),
    "shade": ((20, 16, 40), 0.2),
    "shell": ((60, 40, 20), 0.42),
    "trousers": ((16, 14, 40), 0.42),
    "veil": ((20, 16, 40), 0.13),
    "wing": ((20, 16, 40), 0.24),
}
FIXED: dict[str, Rgb] = {
    "beak": (240, 168, 48),
    "bib": (248, 248, 244),
    "eye": (24, 22, 26),
    "eye_white": (252, 252, 252),
    "gold": (226, 184, 60),
    "horn": (226, 208, 170),
    "ivory": (250, 244, 226),
    "skin": (240, 200, 164),
    "tongue": (206, 44, 60),
    "wood": (128, 92, 58),
}


def palette(character: Character) -> dict[str, Rgb]:
    """The paint for every ink that figures use."""
    base = COLOURS[character.colour]
    body = tuple(int(np.clip(b + t, 0, 255)) for b, t in zip(base, character.tint, strict=True))
    mixed = {name: _mix(body, other, share) for name, (other, share) in MIXED.items()}
    second = COLOURS.get(character.second_colour, _mix(body, (16, 14, 24), 0.45))
    inks = {"body": body, "second": second} | mixed | FIXED
    if character.colour == "black":
        inks["hair"] = (96, 92, 96)
    return dict.fromkeys(inks, body) if character.silhouette else inks
