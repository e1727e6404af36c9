"""Textured grounds for drawn characters, still or seen by a drifting camera."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anamodiff.creatures.paint import Drawn

GroundKind = Literal["grass", "gravel", "brick", "sky", "sand", "leaves"]
KINDS: tuple[GroundKind, ...] = ("grass", "gravel", "brick", "sky", "sand", "leaves")
# Dark and light RGB of each.
PALETTES = {
    "grass": ((46, 92, 34), (138, 176, 84)),
    "gravel": ((92, 88, 84), (196, 190, 182)),
    "brick": ((122, 52, 40), (188, 96, 74)),
    "sky": ((92, 150, 214), (226, 236, 246)),
    "sand": ((184, 156, 110), (232, 212, 170)),
    "leaves": ((70, 58, 30), (196, 140, 60)),
}
MORTAR = (190, 182, 170)
#: How much larger than the drawn picture is what an outdoor camera sees.
DISTANCE = 1.25
Pictures = NDArray[np.uint8]


def draw_ground(kind: GroundKind, height: int, width: int, seed: int) -> Pictures:
    """One texture, bytes `h w 3`; its grains are as large as they are in a picture of 128 pixels
    or, of a larger one, as many."""
    lot = np.random.default_rng([seed, KINDS.index(kind)])
    unit = max(1.0, min(height, width) / 128)

    def noise(size: float) -> NDArray[np.float64]:
        """Noise in [0, 1] with grains of so many pixels."""
        field = cv2.GaussianBlur(lot.random((height, width)), (0, 0), max(0.3, size * unit))
        low, high = np.percentile(field, [2, 98])
        return ((field - low) / (high - low)).clip(0, 1)

    share = {
        "grass": lambda: 0.6 * _stretched(noise(0.6), unit) + 0.4 * noise(12),
        "gravel": lambda: 0.7 * noise(1.2) + 0.3 * noise(4),
        "brick": lambda: 0.5 * noise(0.7) + 0.5 * noise(5),
        "sky": lambda: 0.5 * np.linspace(0, 1, height)[:, None] + 0.5 * noise(14),
        "sand": lambda: 0.3 * noise(0.4) + 0.7 * noise(18),
        "leaves": lambda: np.round(3 * noise(2.5)) / 3 * 0.8 + 0.2 * noise(0.5),
    }[kind]()
    dark, light = (np.array(colour, np.float64) for colour in PALETTES[kind])
    picture = dark + share[..., None] * (light - dark)
    if kind == "brick":
        picture[_mortar(height, width, unit)] = MORTAR
    return picture.round().clip(0, 255).astype(np.uint8)


def _stretched(field: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Grains drawn out upwards, as blades are."""
    blades = cv2.blur(field, (1, max(1, round(5 * unit))))
    low, high = np.percentile(blades, [2, 98])
    return ((blades - low) / (high - low)).clip(0, 1)


def _mortar(height: int, width: int, unit: float) -> NDArray[np.bool_]:
    """Joints between bricks that are laid half a brick apart from row to row."""
    y, x = np.mgrid[:height, :width] / unit
    row = y // 10
    return (y % 10 < 1.2) | ((x + 10 * (row % 2)) % 20 < 1.2)


def outdoors(drawn: Drawn, kind: GroundKind, seed: int, *, drift: float = 0.06) -> Pictures:
    """A drawn clip on a texture, filmed by a hand-held camera, bytes `f n n 3`.

    Character and ground are seen from a step further away, as by `at_a_distance`, since the camera
    pans along a slow curve by up to `drift` of the picture's side, and turns and zooms by a little;
    with 0 it stands still.
    """
    frames, size = drawn.frames.shape[:2]
    side = round(size * DISTANCE)
    margin = round(side * (0.1 + drift))
    ground = draw_ground(kind, side + 2 * margin, side + 2 * margin, seed)
    world = np.repeat(ground[None], frames, axis=0)
    first = margin + (side - size) // 2
    part = (slice(None), slice(first, first + size), slice(first, first + size))
    world[part] = on_ground(drawn, world[part])
    cameras = camera(frames, side, seed, drift=drift, centre=side / 2 + margin)
    back = np.array([[0, 0, margin], [0, 0, margin]])
    return np.stack(
        [
            cv2.warpAffine(picture, matrix - back, (side, side), borderMode=cv2.BORDER_REFLECT_101)
            for picture, matrix in zip(world, cameras, strict=True)
        ]
    )


def at_a_distance(drawn: Drawn) -> Pictures:
    """A drawn clip on its own ground, in a picture `DISTANCE` times as large, bytes `f n n 3`."""
    size = drawn.frames.shape[1]
    side = round(size * DISTANCE)
    pictures = np.empty((len(drawn.frames), side, side, 3), np.uint8)
    pictures[:] = drawn.frames[0, 0, 0]
    first = (side - size) // 2
    pictures[:, first : first + size, first : first + size] = drawn.frames
    return pictures


def joints_at_a_distance(joints: NDArray[np.float32], drawn: Drawn) -> NDArray[np.float32]:
    """Joints `f j 2` of a drawn clip, (x, y) in [-1, 1], as `at_a_distance` shows them."""
    size = drawn.frames.shape[1]
    side = round(size * DISTANCE)
    pixel = (side - size) // 2 + (joints + 1) / 2 * (size - 1)
    return (pixel * (2 / (side - 1)) - 1).astype(np.float32)


def camera(
    frames: int, size: int, seed: int, *, drift: float, centre: float
) -> NDArray[np.float64]:
    """Matrices `f 2 3` of the camera's similarities, the first of them the identity."""
    lot = np.random.default_rng([seed, 77])
    time = np.linspace(0, 1, frames)
    angle = lot.uniform(0, 2 * np.pi)
    along, across = time * drift * size, 0.25 * drift * size * np.sin(2 * np.pi * time)
    x = along * np.cos(angle) - across * np.sin(angle)
    y = along * np.sin(angle) + across * np.cos(angle)
    turn = drift * 20 * lot.uniform(-1, 1) * np.sin(np.pi * time)  # degrees
    zoom = 1 + drift * 0.3 * lot.uniform(-1, 1) * time
    matrices = [
        cv2.getRotationMatrix2D((centre, centre), float(t), float(z))
        for t, z in zip(turn, zoom, strict=True)
    ]
    return np.stack(matrices) + np.stack(
        [np.stack([0 * x, 0 * x, x], 1), np.stack([0 * x, 0 * x, y], 1)], 1
    )


def on_ground(drawn: Drawn, ground: Pictures | tuple[int, int, int]) -> Pictures:
    """The frames of a drawn character on pictures `f h w 3`, `h w 3` or a colour."""
    share = 1 - drawn.coverage[..., None].astype(np.float64) / 255
    own = drawn.frames[0, 0, 0].astype(np.float64)  # no character reaches into a corner
    other = drawn.frames + share * (np.asarray(ground, np.float64) - own)
    return other.round().clip(0, 255).astype(np.uint8)
