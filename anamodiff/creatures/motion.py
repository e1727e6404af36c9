"""The motions by name."""

from collections.abc import Callable

import numpy as np

from anamodiff.creatures.acts import fly, graze, idle, jump, rear, swim, wave
from anamodiff.creatures.gaits import gallop, trot, walk
from anamodiff.creatures.pose import Pose

POSES: dict[str, Callable[[np.ndarray, int], Pose]] = {
    "walk": walk,
    "trot": trot,
    "gallop": gallop,
    "jump": jump,
    "idle": idle,
    "graze": graze,
    "rear": rear,
    "swim": swim,
    "fly": fly,
    "wave": wave,
}
COMMON = ("walk", "trot", "gallop", "jump", "idle")
STARTS_STANDING = ("jump", "idle", "graze", "rear", "wave")
