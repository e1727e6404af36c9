"""What a body does at a moment, in units of its own legs and size, so that any body can do it."""

from dataclasses import dataclass, field, fields

import numpy as np

TAU = 2 * np.pi
NEAR_FRONT, FAR_FRONT, NEAR_HIND, FAR_HIND = range(4)


@dataclass
class Pose:
    """Body parameters for `f` frames; everything left out is at rest.

    Lengths are in leg lengths, except `rise` (body sizes); angles are in radians, up positive.
    `feet` `f 4 2` are displacements from the resting foot; `air` `f 4` says how far a foot hangs on
    the body (1) instead of standing on the ground (0); `roll` `f 4` lifts the heel.
    """

    t: np.ndarray
    lift: np.ndarray = field(default=None)  # body up, in leg lengths
    rise: np.ndarray = field(default=None)  # body up, in body sizes: a jump
    pitch: np.ndarray = field(default=None)  # about the middle of the body
    rear: np.ndarray = field(default=None)  # about the hips
    flex: np.ndarray = field(default=None)  # back arched (1) or hollow (-1)
    neck: np.ndarray = field(default=None)
    head: np.ndarray = field(default=None)
    bow: np.ndarray = field(default=None)  # 0 rest, 1 mouth at the ground
    jaw: np.ndarray = field(default=None)
    tail: np.ndarray = field(default=None)  # tail raised
    wag: np.ndarray = field(default=None)  # wave that runs down the tail
    ear: np.ndarray = field(default=None)
    wave: np.ndarray = field(default=None)  # amplitude of an undulating body, 0 to 1
    beat: np.ndarray = field(default=None)  # phase of that undulation, radians
    flap: np.ndarray = field(default=None)  # wings down (-1) or up (1)
    spread: np.ndarray = field(default=None)  # wings folded (0) or open (1)
    swell: np.ndarray = field(default=None)  # breath, fraction of the girth
    arms: np.ndarray = field(default=None)  # f 2 (near, far): swing to the front
    elbows: np.ndarray = field(default=None)  # f 2
    feet: np.ndarray = field(default=None)  # f 4 2
    roll: np.ndarray = field(default=None)  # f 4
    air: np.ndarray = field(default=None)  # f 4

    def __post_init__(self) -> None:
        shapes = {"arms": (2,), "elbows": (2,), "feet": (4, 2), "roll": (4,), "air": (4,)}
        for entry in fields(self):
            value = getattr(self, entry.name)
            shape = (len(self.t), *shapes.get(entry.name, ()))
            value = np.zeros(shape) if value is None else np.broadcast_to(value, shape)
            setattr(self, entry.name, value)


def join(poses: list[Pose]) -> Pose:
    """Poses one after the other."""
    return Pose(
        **{e.name: np.concatenate([getattr(p, e.name) for p in poses]) for e in fields(Pose)}
    )


def keys(t: np.ndarray, *pairs: tuple[float, float]) -> np.ndarray:
    """Values `f` between (time, value) keys, smooth, repeating every cycle.

    The first key is at 0; the last one leads back to it.
    """
    t = np.mod(t, 1.0)
    times = np.array([time for time, _ in pairs] + [1.0])
    values = np.array([value for _, value in pairs] + [pairs[0][1]])
    low = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    s = (t - times[low]) / (times[low + 1] - times[low])
    return values[low] + (values[low + 1] - values[low]) * s * s * (3 - 2 * s)
