"""Walk, trot and gallop: footfall tables, and the body that goes with them.

Footfall phases and duty factors are those of the symmetrical and asymmetrical gaits of mammals. A
motion is a function from phases (`f`, in cycles; whole numbers are the same moment) to a `Pose`.
"""

from dataclasses import dataclass

import numpy as np

from anamodiff.creatures.pose import TAU, Pose


@dataclass(frozen=True)
class Gait:
    """Footfalls (near front, far front, near hind, far hind; in cycles) and how legs swing."""

    falls: tuple[float, float, float, float]
    duty: float
    stride: float
    lift: float


WALK = {
    4: Gait((0.25, 0.75, 0.0, 0.5), 0.62, 0.85, 0.16),
    2: Gait((0.5, 0, 0, 0.5), 0.6, 0.8, 0.14),
}
TROT = {4: Gait((0.5, 0, 0, 0.5), 0.46, 1.0, 0.27), 2: Gait((0.5, 0, 0, 0.5), 0.44, 0.95, 0.26)}
GALLOP = {
    4: Gait((0.36, 0.48, 0.0, 0.1), 0.27, 1.35, 0.42),
    2: Gait((0.5, 0, 0, 0.5), 0.32, 1.3, 0.5),
}


def stepping(t: np.ndarray, gait: Gait) -> tuple[np.ndarray, np.ndarray]:
    """Foot displacements `f 4 2` and heel roll `f 4` of a gait."""
    p = np.mod(t[:, None] - np.array(gait.falls), 1.0)
    stance = p < gait.duty
    q = np.clip((p - gait.duty) / (1 - gait.duty), 0, 1)
    ease = q - np.sin(TAU * q) / TAU
    x = gait.stride * np.where(stance, 0.5 - p / gait.duty, ease - 0.5)
    y = gait.lift * np.where(stance, 0.0, np.sin(np.pi * q**0.85))
    late = np.clip((p / gait.duty - 0.7) / 0.3, 0, 1) * stance
    roll = 0.5 * late + np.where(stance, 0.0, 0.5 * (1 - q) + 0.6 * np.sin(np.pi * q**0.7))
    roll = np.where(~stance, roll * np.clip((1 - q) * 4, 0, 1), roll)
    return np.stack([x, y], axis=-1), roll * min(1.0, 0.45 + gait.lift * 1.6)


def swinging(feet: np.ndarray, amount: float) -> np.ndarray:
    """Arm swing `f 2` that follows what the front feet would do."""
    return feet[:, :2, 0] * amount


def walk(t: np.ndarray, legs: int) -> Pose:
    """Four beats, three feet on the ground; the head nods."""
    feet, roll = stepping(t, WALK[legs])
    return Pose(
        t,
        lift=-0.02 - 0.025 * np.cos(2 * TAU * t),
        pitch=0.02 * np.sin(2 * TAU * t),
        neck=0.07 * np.sin(2 * TAU * t + 0.6),
        head=-0.05 * np.sin(2 * TAU * t),
        wag=0.22 * np.sin(TAU * t),
        ear=0.1 * np.sin(2 * TAU * t),
        feet=feet,
        roll=roll,
        arms=swinging(feet, 0.8),
        elbows=0.25,
        wave=0.45,
        beat=TAU * t,
        flap=0.6 * np.sin(TAU * t),
        spread=0.12 + 0.08 * np.sin(2 * TAU * t),
    )


def trot(t: np.ndarray, legs: int) -> Pose:
    """Two beats, diagonal pairs, a short flight between them."""
    feet, roll = stepping(t, TROT[legs])
    bounce = np.cos(2 * TAU * (t - 0.23))
    return Pose(
        t,
        lift=0.0 - 0.06 * bounce,
        pitch=0.03 * np.sin(TAU * t),
        flex=0.1 * bounce,
        neck=0.06 + 0.05 * bounce,
        head=-0.04 * bounce,
        tail=0.25,
        wag=0.25 * np.sin(TAU * t),
        ear=0.2 * bounce,
        feet=feet,
        roll=roll,
        arms=swinging(feet, 0.9),
        elbows=0.9,
        wave=0.7,
        beat=TAU * t,
        flap=0.9 * np.sin(TAU * t),
        spread=0.25 + 0.1 * bounce,
    )


def gallop(t: np.ndarray, legs: int) -> Pose:
    """Hind pair, fore pair, gathered flight; the back bends and the body rocks."""
    feet, roll = stepping(t, GALLOP[legs])
    gathered = np.cos(TAU * (t - 0.86))
    step = np.cos(2 * TAU * (t - 0.16)) if legs == 2 else -gathered
    rock = 0.11 * np.sin(TAU * (t - 0.02)) if legs == 4 else np.full_like(t, -0.22)
    return Pose(
        t,
        lift=0.02 - (0.11 if legs == 4 else 0.09) * step,
        pitch=rock,
        flex=gathered if legs == 4 else 0.2 * step,
        neck=-0.12 - 0.16 * np.sin(TAU * (t - 0.02)),
        head=-0.05 + 0.1 * np.sin(TAU * t),
        tail=0.6,
        wag=0.3 * np.sin(TAU * t),
        ear=-0.5 + 0.25 * gathered,
        feet=feet,
        roll=roll,
        arms=swinging(feet, 0.95),
        elbows=1.4,
        wave=1.0,
        beat=TAU * t,
        flap=np.sin(TAU * t),
        spread=0.45 + 0.15 * gathered,
    )
