"""Heads: outlines in head lengths (0 the back of the skull, 1 the snout), eyes and mouths."""

from collections.abc import Callable
from functools import partial

import numpy as np

from anamodiff.creatures.geometry import ellipse, points, smooth_outline
from anamodiff.creatures.rig import Rig

OUTLINES = {
    "horse": "-.05,.1 .12,.27 .38,.22 .7,.08 .95,.04 1.04,-.1 .97,-.25 .72,-.24 .42,-.3 .15,-.34"
    " -.05,-.15",
    "dog": "0,.18 .18,.36 .42,.34 .58,.14 .92,.08 1.03,-.04 .92,-.2 .58,-.26 .3,-.34 .04,-.24",
    "fox": "0,.16 .16,.33 .38,.28 .6,.08 1,-.04 1.08,-.12 .98,-.18 .6,-.24 .3,-.36 .04,-.26",
    "cat": "0,.1 .12,.38 .42,.48 .72,.36 .92,.06 1,-.1 .88,-.28 .55,-.4 .16,-.34",
    "rabbit": "0,.12 .14,.36 .42,.42 .74,.24 .98,.02 1,-.14 .82,-.3 .5,-.38 .14,-.32",
    "cow": "-.02,.18 .16,.32 .5,.22 .82,.1 1.02,.06 1.1,-.14 1.02,-.33 .74,-.33 .45,-.36 .1,-.32",
    "pig": "0,.24 .24,.4 .54,.28 .8,.12 1,.12 1.02,-.2 .86,-.24 .56,-.38 .2,-.38",
    "elephant": "-.1,.1 .1,.44 .45,.5 .76,.3 .88,0 .84,-.3 .6,-.44 .3,-.42 0,-.3",
    "rhino": "-.05,.24 .15,.35 .42,.16 .72,.04 .95,.1 1.06,-.08 1.02,-.32 .75,-.36 .4,-.4 .05,-.34",
    "turtle": "0,.12 .28,.32 .64,.32 .94,.12 1.02,-.06 .86,-.22 .4,-.26 0,-.2",
    "human": "0,.1 .04,.42 .3,.62 .64,.6 .86,.36 .88,.14 .98,.02 .88,-.08 .86,-.26 .68,-.38"
    " .36,-.32 .1,-.12",
    "bird": "0,.1 .14,.38 .44,.48 .74,.34 .86,.05 .74,-.26 .42,-.36 .12,-.26",
}  # fmt: skip
EYES = {
    "horse": (0.34, 0.1, 0.055), "dog": (0.48, 0.13, 0.06), "fox": (0.46, 0.08, 0.055),
    "cat": (0.64, 0.12, 0.085), "rabbit": (0.58, 0.1, 0.085), "cow": (0.36, 0.08, 0.06),
    "pig": (0.52, 0.1, 0.06), "elephant": (0.55, 0.12, 0.045), "rhino": (0.42, 0.02, 0.045),
    "turtle": (0.66, 0.1, 0.08), "human": (0.7, 0.16, 0.065), "bird": (0.58, 0.12, 0.095),
}  # fmt: skip


def animal_head(rig: Rig, shape: str) -> None:
    """A closed head with an eye and a mouth line."""
    size, figure = rig.head_size, rig.figure
    outline = smooth_outline(OUTLINES[shape])
    figure.add(rig.head.place(outline * size), "skin" if shape == "human" else "body")
    if rig.look.shading == "shaded" and shape != "human":
        low = outline * np.array([0.94, 0.94])
        low[:, 1] = np.minimum(low[:, 1], -0.14)
        figure.decal(rig.head.place(low * size), "shade")
    if shape not in ("bird", "human", "elephant"):
        mouth = points(".96,-.14 .66,-.2 .62,-.16 .66,-.165")
        figure.decal(rig.head.place(mouth * size), "line")
    eye(rig, *EYES[shape])


def eye(rig: Rig, x: float, y: float, r: float) -> None:
    """A white eye with a dark pupil that looks ahead."""
    size = rig.head_size
    r = max(r, 0.036 / size)
    rig.figure.decal(rig.head.place(ellipse(x, y, r * 1.25, r * 1.35, 12) * size), "eye_white")
    rig.figure.decal(rig.head.place(ellipse(x + 0.25 * r, y, r * 0.8, r * 0.9, 10) * size), "eye")


def jawed_head(rig: Rig, upper: str, lower: str, spot: tuple[float, float, float]) -> None:
    """A head whose lower jaw opens."""
    size = rig.head_size
    jaw = rig.head.child((0.12 * size, -0.06 * size), -rig.pose.jaw - 0.04)
    rig.figure.add(jaw.place(smooth_outline(lower) * size))
    rig.figure.add(rig.head.place(smooth_outline(upper) * size))
    eye(rig, *spot)


def robot_head(rig: Rig) -> None:
    """A box with a visor."""
    size = rig.head_size
    box = points("-.05,-.25 .85,-.25 .9,0 .85,.5 0,.5 -.1,.2")
    visor = points(".42,.02 .86,.02 .83,.3 .42,.3")
    rig.figure.add(rig.head.place(box * size))
    rig.figure.decal(rig.head.place(visor * size), "eye")
    rig.figure.decal(rig.head.place(ellipse(0.7, 0.16, 0.07, 0.07, 10) * size), "eye_white")


CROCODILE = (
    "-.05,.14 .15,.22 .26,.24 .36,.14 .6,.08 .88,.1 1.02,.07 1.04,-.02 .9,-.06 .4,-.06 0,-.1",
    "-.1,.02 .3,.03 .86,.02 .9,-.04 .7,-.1 .3,-.13 -.1,-.1",
    (0.24, 0.15, 0.04),
)  # fmt: skip
TREX = (
    "-.05,.1 .12,.3 .36,.36 .52,.26 .85,.22 1.02,.1 1.02,-.04 .85,-.08 .45,-.08 0,-.14",
    "-.12,.04 .3,.06 .8,.03 .84,-.05 .65,-.14 .25,-.18 -.1,-.12",
    (0.38, 0.2, 0.045),
)  # fmt: skip

# Where the face ends, in head lengths: the beak's tip, the snout, the root of a trunk.
NOSES = {
    "horse": (1.03, -0.1), "dog": (1.03, -0.03), "fox": (1.06, -0.11), "cat": (0.98, -0.08),
    "cow": (1.09, -0.13), "pig": (1.1, -0.05), "elephant": (0.84, 0.0), "rhino": (1.05, -0.08),
    "human": (0.97, 0.02), "bird": (1.26, -0.06), "robot": (0.89, 0.05), "trex": (1.02, 0.02),
    "crocodile": (1.03, 0.0),
}  # fmt: skip

HEADS: dict[str, Callable[[Rig], None]] = {
    **{name: partial(animal_head, shape=name) for name in OUTLINES},
    "robot": robot_head,
    "crocodile": partial(jawed_head, upper=CROCODILE[0], lower=CROCODILE[1], spot=CROCODILE[2]),
    "trex": partial(jawed_head, upper=TREX[0], lower=TREX[1], spot=TREX[2]),
}
