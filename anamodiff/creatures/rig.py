"""What the parts of an animal hold on to: its frames, its back, its neck and head."""

from dataclasses import dataclass

import numpy as np

from anamodiff.creatures.figure import Figure, Look
from anamodiff.creatures.geometry import Frame, Tube
from anamodiff.creatures.pose import Pose
from anamodiff.creatures.species import Build

FAR, BODY, ABOVE, NEAR, ARM, TOP = 0, 2, 3, 4, 5, 6  # layers, from the back to the front


@dataclass
class Rig:
    """What the features of a species hold on to."""

    figure: Figure
    build: Build
    pose: Pose
    look: Look
    body: Frame
    trunk: Tube | None = None
    neck: Tube | None = None
    head: Frame | None = None
    head_size: float = 0.0
    tail: Tube | None = None


def spine_point(rig: Rig, s: float, height: float = 0.0) -> np.ndarray:
    """A point `f 2` of the bent back, `s` along it (0 hips, 1 shoulders) and `height` above it."""
    flex = rig.pose.flex * rig.build.bend
    x = 0.5 + (s - 0.5) * (1 - 0.1 * flex)
    y = 0.13 * flex * (4 * s * (1 - s) - 0.3) + height
    return rig.body.place(np.stack([x, y], axis=-1)[:, None])[:, 0]
