"""Letters: rigid strokes, and down strokes that walk."""

import numpy as np

from anamodiff.creatures.figure import Figure, Look, Reach, skin
from anamodiff.creatures.geometry import Frame, Tube, bend_limb, points, tube
from anamodiff.creatures.pose import FAR_FRONT, NEAR_FRONT, NEAR_HIND, Pose

MIDDLE = 0.9  # height that the rigid part turns about
HIND, FRONT, CENTRE = NEAR_HIND, NEAR_FRONT, FAR_FRONT
Leg = tuple[float, float, float, int]  # root x, root y, foot x, which foot of the pose

# Rigid strokes ("x,y x,y ..."), then legs.
LETTERS: dict[str, tuple[tuple[str, ...], tuple[Leg, ...]]] = {
    "m": (
        (
            "-.6,.85 -.6,1.3",
            "-.6,.9 -.54,1.16 -.32,1.32 -.1,1.16 -.04,.9",
            "-.04,.9 .02,1.16 .24,1.32 .46,1.16 .52,.9",
        ),
        ((-0.6, 0.9, -0.6, HIND), (-0.04, 0.9, -0.04, CENTRE), (0.52, 0.9, 0.52, FRONT)),
    ),
    "n": (
        ("-.4,.85 -.4,1.4", "-.4,.9 -.32,1.16 0,1.34 .3,1.18 .384,.9"),
        ((-0.4, 0.9, -0.4, HIND), (0.384, 0.9, 0.384, FRONT)),
    ),
    "h": (
        ("-.4,.85 -.4,1.95", "-.4,.9 -.32,1.16 0,1.34 .3,1.18 .384,.9"),
        ((-0.4, 0.9, -0.4, HIND), (0.384, 0.9, 0.384, FRONT)),
    ),
    "a": (
        ("-.29,.85 -.13,1.4 0,1.85", ".29,.85 .13,1.4 0,1.85", "-.27,.82 .27,.82"),
        ((-0.29, 0.85, -0.55, HIND), (0.29, 0.85, 0.55, FRONT)),
    ),
    "x": (
        ("0,.9 -.3,1.38 -.6,1.85", "0,.9 .3,1.38 .6,1.85"),
        ((0.0, 0.9, -0.62, HIND), (0.0, 0.9, 0.62, FRONT)),
    ),
    "k": (
        ("-.42,.85 -.42,1.85", "-.42,.86 .1,1.3 .5,1.8", "-.16,1.05 .06,.82"),
        ((-0.42, 0.9, -0.42, HIND), (0.06, 0.84, 0.56, FRONT)),
    ),
}


def letter(pose: Pose, look: Look, reach: Reach, *, which: str, left: bool = False) -> Figure:
    """A letter whose down strokes are legs with knees.

    `left` mirrors the letter but not its motion, so that it can still be read when the whole figure
    is mirrored to face left.
    """
    figure, (strokes, legs) = Figure(), LETTERS[which]
    high, wide = reach[0], 0.115 * reach[2]
    up = MIDDLE * high * (1 + pose.lift) + 1.5 * pose.rise
    turn = 0.8 * pose.pitch + 0.5 * pose.rear - 0.3 * pose.bow
    body = Frame(np.stack([0 * up, up], axis=-1), turn)
    squeeze = np.stack([1 - 0.12 * pose.flex, 1 + 0.05 * pose.flex], axis=-1)[:, None]
    if left:
        squeeze = squeeze * np.array([-1.0, 1.0])
    lines = []
    for stroke in strokes:
        local = (points(stroke) - (0, MIDDLE)) * squeeze
        lines.append(tube(body.place(local), np.full(local.shape[1], wide), samples=16))
    for root_x, root_y, foot_x, index in legs:
        root = body.place(np.array([[root_x, root_y - MIDDLE]]) * squeeze)[:, 0]
        side = -1.0 if left else 1.0
        leg = (side * (foot_x - root_x), side * foot_x, root_y * high, _mirrored(index, left))
        lines += _leg(figure, pose, root, leg, turn, wide)
    for line in lines:
        figure.add(line.outline())
    for line in lines:
        skin(figure, line, look, 2, belly=False, share=2 if line.path.shape[1] == 4 else 4)
    figure.joints["top"] = lines[1].path[:, 6]
    return figure


def _mirrored(index: int, left: bool) -> int:
    """The foot of the pose that a leg follows once hind and front have changed places."""
    return {HIND: FRONT, FRONT: HIND}.get(index, index) if left else index


def _leg(
    figure: Figure, pose: Pose, root: np.ndarray, leg: Leg, turn: np.ndarray, wide: float
) -> list[Tube]:
    """Two tubes from the root `f 2` to the foot; `leg` is (spread, foot x, height, foot index)."""
    spread, foot_x, height, index = leg
    air = pose.air[:, index, None]
    step = pose.feet[:, index] * height * np.array([0.62, 0.8])
    neutral = np.stack([np.full_like(pose.t, foot_x), np.full_like(pose.t, wide)], axis=-1)
    below = np.array([spread, wide - height]) + step
    hanging = Frame(root, 0.7 * turn).place(below[:, None])[:, 0]
    long = np.hypot(height - wide, spread) / 2 * 1.006
    knee, foot = bend_limb(root, (1 - air) * (neutral + step) + air * hanging, long, long, 1.0)
    name = {HIND: "hind", FRONT: "front"}.get(index, "middle")
    figure.joints |= {f"{name}_root": root, f"{name}_knee": knee, f"{name}_foot": foot}
    return [
        tube(np.stack(bone, axis=1), np.full(2, wide), samples=4)
        for bone in ((root, knee), (knee, foot))
    ]
