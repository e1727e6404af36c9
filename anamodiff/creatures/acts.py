"""Motions other than gaits: jump, idle, graze, rear, swim, fly, wave.

Jump, idle, graze, rear and wave all start from one standing pose.

Each is a function from phases (`f`, in cycles; whole numbers are the same moment) to a `Pose`.
"""

import numpy as np

from anamodiff.creatures.pose import TAU, Pose, keys


def jump(t: np.ndarray, legs: int) -> Pose:
    """Crouch, take off nose up, fly with the hind legs stretched, land on the fore legs."""
    q = np.clip((np.mod(t, 1.0) - 0.27) / 0.5, 0, 1)
    front = np.stack(
        [
            keys(t, (0, 0), (0.24, 0), (0.38, 0.16), (0.54, 0.4), (0.7, 0.28), (0.78, 0.12)),
            keys(t, (0, 0), (0.24, 0), (0.38, 0.45), (0.54, 0.3), (0.7, 0.03), (0.78, 0)),
        ],
        axis=-1,
    )
    hind = np.stack(
        [
            keys(t, (0, 0), (0.2, 0.04), (0.38, -0.35), (0.54, -0.52), (0.7, -0.05), (0.82, 0.1)),
            keys(t, (0, 0), (0.28, 0), (0.4, 0.03), (0.54, 0.22), (0.7, 0.42), (0.82, 0)),
        ],
        axis=-1,
    )
    if legs == 2:
        hind = hind * np.array([0.6, 1.25])
    front_air = keys(t, (0, 0), (0.22, 0), (0.32, 1), (0.68, 1), (0.78, 0))
    hind_air = keys(t, (0, 0), (0.29, 0), (0.36, 1), (0.72 + 0.02 * (legs == 4), 1), (0.82, 0))
    apart = np.stack([0.03 * hind_air, 0 * t], axis=-1)  # near and far legs, in flight
    swing = keys(t, (0, 0), (0.2, -0.9), (0.38, 2.2), (0.58, 1.8), (0.8, 0.3))
    roll = keys(t, (0, 0), (0.24, 0.1), (0.38, 0.9), (0.55, 0.7), (0.7, 0.1), (0.82, 0))
    return Pose(
        t,
        lift=keys(t, (0, 0), (0.08, -0.06), (0.19, -0.3), (0.3, 0.04), (0.7, 0), (0.82, -0.27)),
        rise=0.3 * 4 * q * (1 - q),
        pitch=keys(t, (0, 0), (0.17, -0.03), (0.35, 0.4), (0.53, 0.03), (0.7, -0.34), (0.86, 0)),
        flex=keys(t, (0, 0), (0.18, 0.5), (0.38, -0.7), (0.56, -0.4), (0.72, 0.5), (0.86, 0.3)),
        neck=keys(t, (0, 0), (0.17, -0.3), (0.36, 0.1), (0.54, -0.1), (0.7, 0.12), (0.84, -0.2)),
        head=keys(t, (0, 0), (0.17, 0.12), (0.36, -0.15), (0.54, 0.0), (0.7, 0.18), (0.84, 0)),
        tail=keys(t, (0, 0), (0.18, 0.1), (0.38, -0.3), (0.6, 0.75), (0.8, 0.5)),
        wag=0.1 * np.sin(TAU * t),
        ear=keys(t, (0, 0), (0.18, -0.3), (0.36, -0.6), (0.6, 0.25), (0.8, 0.3)),
        feet=np.stack([front + apart, front - apart, hind + apart, hind - apart], axis=1),
        roll=np.stack([0.7 * roll, 0.7 * roll, roll, roll], axis=-1),
        air=np.stack([front_air, front_air, hind_air, hind_air], axis=-1),
        arms=np.stack([swing, 0.93 * swing], axis=-1),
        elbows=keys(t, (0, 0.15), (0.2, 0.6), (0.38, 0.3), (0.8, 0.7))[:, None],
        wave=keys(t, (0, 0.2), (0.2, 0.5), (0.4, 0.9), (0.8, 0.4)),
        beat=TAU * t,
        flap=keys(t, (0, 0), (0.2, 0.9), (0.34, -0.9), (0.5, 0.8), (0.64, -0.7), (0.8, 0.6)),
        spread=keys(t, (0, 0), (0.2, 0.35), (0.34, 1), (0.7, 1), (0.9, 0.1)),
    )


def idle(t: np.ndarray, legs: int) -> Pose:
    """Breathing, a look round, a flick of tail and ear."""
    breath = np.sin(TAU * t)
    return Pose(
        t,
        lift=-0.025 + 0.025 * np.cos(TAU * t),
        swell=0.03 * breath,
        neck=0.09 * breath,
        head=0.08 * (np.sin(TAU * t - 0.9) + np.sin(0.9)),
        wag=0.35 * np.sin(TAU * t),
        ear=keys(t, (0, 0), (0.3, 0), (0.45, 0.5), (0.6, 0)),
        arms=np.stack([0.08 * breath, -0.08 * breath], axis=-1),
        elbows=0.15 + 0.08 * breath[:, None],
        wave=0.2,
        beat=TAU * t,
        flap=0.25 * breath,
        spread=0.03 * (1 - np.cos(TAU * t)),
    )


def graze(t: np.ndarray, legs: int) -> Pose:
    """The head goes down to the ground, takes a few bites, and comes up."""
    bow = keys(t, (0, 0), (0.3, 1.0), (0.42, 0.86), (0.54, 1.0), (0.66, 0.86), (0.76, 1.0))
    return Pose(
        t,
        bow=bow,
        lift=-0.05 * bow,
        pitch=-0.07 * bow,
        jaw=0.3 * bow * np.sin(4 * TAU * t) ** 2,
        wag=0.3 * np.sin(2 * TAU * t),
        ear=0.2 * np.sin(2 * TAU * t),
        arms=0.35 * bow[:, None],
        elbows=0.15 + 0.35 * bow[:, None],
        wave=0.2,
        beat=TAU * t,
        flap=0.2 * bow,
    )


def rear(t: np.ndarray, legs: int) -> Pose:
    """Up on the hind legs, the fore legs strike, and down again."""
    up = keys(t, (0, 0), (0.12, -0.06), (0.4, 1), (0.64, 0.96), (0.9, -0.02))
    strike = np.sin(2 * TAU * t) * np.clip(up, 0, 1)
    clipped = np.clip(up, 0, 1)
    paws = np.stack([0.3 * clipped + 0.16 * strike, 0.34 * clipped + 0.14 * strike], axis=-1)
    other = np.stack([0.3 * clipped - 0.16 * strike, 0.34 * clipped - 0.14 * strike], axis=-1)
    still = np.zeros_like(paws)
    air = np.clip(up * 2.5, 0, 1)
    return Pose(
        t,
        rear=0.8 * up,
        lift=-0.08 * np.abs(up),
        flex=-0.15 * up,
        neck=-0.2 * up,
        head=-0.1 * up + 0.12 * strike,
        jaw=0.35 * clipped,
        tail=-0.5 * up,
        wag=0.2 * np.sin(TAU * t),
        ear=-0.4 * clipped,
        feet=np.stack([paws, other, still, still], axis=1),
        roll=np.stack([0.9 * clipped, 0.9 * clipped, 0 * up, 0 * up], axis=-1),
        air=np.stack([air, air, 0 * up, 0 * up], axis=-1),
        arms=np.stack([1.7 * clipped + 0.5 * strike, 1.7 * clipped - 0.5 * strike], axis=-1),
        elbows=0.15 + 0.8 * clipped[:, None],
        wave=0.2,
        beat=TAU * t,
        flap=strike,
        spread=clipped,
    )


def swim(t: np.ndarray, legs: int) -> Pose:
    """Off the ground, legs paddle, the body and its tail undulate."""
    turn = TAU * (t[:, None] - np.array([0.5, 0.0, 0.0, 0.5]))
    feet = np.stack([0.4 * np.cos(turn), 0.22 + 0.2 * np.sin(turn)], axis=-1)
    return Pose(
        t,
        rise=0.1 + 0.04 * np.sin(TAU * t),
        pitch=0.1 * np.cos(TAU * t),
        neck=-0.06 * np.cos(TAU * t),
        tail=0.3,
        wag=0.45 * np.sin(TAU * t),
        ear=0.2 * np.sin(TAU * t),
        feet=feet,
        roll=0.7 - 0.4 * np.sin(turn),
        air=1.0,
        arms=np.stack([1.2 + 0.9 * np.cos(TAU * t), 1.2 - 0.9 * np.cos(TAU * t)], axis=-1),
        elbows=0.3,
        wave=0.8,
        beat=TAU * t,
        flap=np.sin(TAU * t),
        spread=0.6,
    )


def fly(t: np.ndarray, legs: int) -> Pose:
    """Wings beat, legs trail, the body answers each stroke."""
    flap = np.sin(TAU * t)
    trail = np.array([[0.15, 0.4], [0.15, 0.4], [-0.5, 0.4], [-0.55, 0.36]])
    return Pose(
        t,
        rise=0.14 + 0.05 * np.cos(TAU * t),
        pitch=0.05 * np.sin(TAU * t),
        neck=-0.08 * flap - 0.15,
        head=0.06 * flap,
        tail=0.3 + 0.1 * flap,
        feet=trail + 0.04 * flap[:, None, None],
        roll=np.array([0.8, 0.8, 1.0, 1.0]),
        air=1.0,
        arms=np.stack([1.5 + 0.9 * flap, 1.5 + 0.9 * flap], axis=-1),
        elbows=0.2,
        wave=0.6,
        beat=TAU * t,
        flap=flap,
        spread=1.0,
    )


def wave(t: np.ndarray, legs: int) -> Pose:
    """A near fore limb is lifted and waves; flags and fins wave with all they have."""
    up = keys(t, (0, 0), (0.22, 1), (0.8, 1))
    beat = np.sin(3 * TAU * t) * up
    paw = np.stack([0.42 * up + 0.1 * beat, 0.5 * up + 0.16 * beat], axis=-1)
    still = np.zeros_like(paw)
    return Pose(
        t,
        lift=-0.03 * up,
        pitch=0.06 * up,
        neck=0.12 * up,
        head=0.05 * beat,
        wag=0.4 * np.sin(2 * TAU * t),
        ear=0.2 * beat,
        feet=np.stack([paw, still, still, still], axis=1),
        roll=np.stack([0.5 * up, 0 * up, 0 * up, 0 * up], axis=-1),
        air=np.stack([up, 0 * up, 0 * up, 0 * up], axis=-1),
        arms=np.stack([2.3 * up + 0.35 * beat, -0.1 * up], axis=-1),
        elbows=np.stack([0.15 + 0.5 * up + 0.3 * beat, 0.15 + 0 * up], axis=-1),
        wave=1.0,
        beat=TAU * t,
        flap=0.5 * beat + 0.4 * up,
        spread=0.8 * up,
    )
