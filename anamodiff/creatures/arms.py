"""What two-legged animals have in front: arms, claws, wings, flippers."""

import numpy as np

from anamodiff.creatures.geometry import Frame, ellipse, polar, smooth_outline, tube
from anamodiff.creatures.rig import ARM, FAR, Rig, spine_point


def _arm(rig: Rig, side: str) -> None:
    """A hanging arm with a hand."""
    near = side == "near"
    length, which = rig.build.arm_length, 0 if near else 1
    root = spine_point(rig, 0.9) + np.array([0.0 if near else 0.05, 0.0])
    tilt = (rig.pose.pitch + rig.pose.rear) * rig.build.lean
    angle = -np.pi / 2 + rig.pose.arms[:, which] + 0.7 * tilt
    elbow = root + polar(0.48 * length, angle)
    hand = elbow + polar(0.46 * length, angle + rig.pose.elbows[:, which])
    thick = 0.13 if "panel" in rig.build.features else 0.1
    arm = tube(np.stack([root, elbow, hand], axis=1), [thick, 0.85 * thick, 0.7 * thick])
    layer = ARM if near else FAR
    owner, ink = f"{side}_front", "second" if "panel" in rig.build.features else "skin"
    rig.figure.add(arm.outline(), "body", layer, far=not near, limb=owner)
    palm = Frame(hand, angle)
    outline = palm.place(ellipse(0.03, 0.0, 0.095, 0.085))
    rig.figure.add(outline, ink, layer, far=not near, limb=owner)
    rig.figure.joints[f"{side}_elbow"], rig.figure.joints[f"{side}_hand"] = elbow, hand
    tip = palm.place([0.11, 0.0])
    _name_joints(rig, side, shoulder=root, elbow=elbow, wrist=hand, front_foot=tip)


def _claws(rig: Rig, side: str) -> None:
    """The small bent arms of a dinosaur."""
    near = side == "near"
    length, which = rig.build.arm_length, 0 if near else 1
    root = spine_point(rig, 0.98, -0.16) + np.array([0.0 if near else 0.08, 0.0])
    angle = -np.pi / 2 + 0.5 * rig.pose.arms[:, which] - 0.2 + rig.body.angle
    elbow = root + polar(0.5 * length, angle)
    hand = elbow + polar(0.5 * length, angle + 1.1)
    arm = tube(np.stack([root, elbow, hand], axis=1), [0.09, 0.065, 0.04])
    layer, owner = ARM if near else FAR, f"{side}_front"
    rig.figure.add(arm.outline(), "body", layer, far=not near, limb=owner)
    rig.figure.joints[f"{side}_hand"] = hand
    wrist = elbow + 0.75 * (hand - elbow)
    _name_joints(rig, side, shoulder=root, elbow=elbow, wrist=wrist, front_foot=hand)


def _wing(rig: Rig, side: str) -> None:
    """A wing that lies along the body when folded and beats when open."""
    near, length = side == "near", rig.build.arm_length
    tilt, opened = rig.body.angle, rig.pose.spread
    stroke = rig.pose.flap * 1.15 + (0.0 if near else 0.25)
    folded = polar(0.85 * length, tilt + np.pi - 0.02)
    span = _blend(folded, _open_span(length, stroke, tilt), opened)
    chord = _blend(polar(0.42, tilt - np.pi / 2 - 0.05), polar(0.5, tilt + np.pi), opened)
    root = spine_point(rig, 0.86, 0.14) + np.array([0.0 if near else 0.06, 0.0])
    shape = smooth_outline("0,-.15 .35,-.2 .8,-.1 1,.15 .85,.45 .5,.75 .15,.85 0,.5")
    wing = root[:, None] + span[:, None] * shape[:, :1] + chord[:, None] * shape[:, 1:]
    layer, owner = ARM if near else FAR, f"{side}_front"
    rig.figure.add(wing, "wing", layer, far=not near, limb=owner)
    rig.figure.joints[f"{side}_wing"] = root + 0.8 * span + 0.15 * chord
    _name_joints(rig, side, shoulder=root, wrist=root + 0.7 * span + 0.15 * chord)


def _open_span(length: float, stroke: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    """The span of an open wing as seen from the side: it rises and sinks, and sweeps a little."""
    local = np.stack([-0.3 * length + 0 * stroke, 1.05 * length * np.sin(stroke)], axis=-1)
    return Frame(np.zeros_like(local), tilt).place(local[:, None])[:, 0]


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From the first vector `f 2` (share 0) to the second (share 1)."""
    return first + (second - first) * share[:, None]


def _flipper(rig: Rig, side: str) -> None:
    """A penguin's wing: a narrow leaf that hangs from the shoulder."""
    near, length = side == "near", rig.build.arm_length
    root = spine_point(rig, 0.88, 0.04) + np.array([0.0 if near else 0.1, 0.0])
    lifted = np.clip(rig.pose.arms[:, 0 if near else 1], -0.8, 2.2) * 0.7
    lifted = lifted - rig.pose.spread * (0.9 + 0.5 * rig.pose.flap)
    angle = rig.body.angle + np.pi + 0.1 + lifted
    end = root + polar(length, angle)
    leaf = tube(np.stack([root, (root + end) / 2, end], axis=1), [0.1, 0.13, 0.03])
    layer, owner = ARM if near else FAR, f"{side}_front"
    rig.figure.add(leaf.outline(), "wing", layer, far=not near, limb=owner)
    rig.figure.joints[f"{side}_wing"] = end
    _name_joints(rig, side, shoulder=root, wrist=root + 0.7 * (end - root))


def _name_joints(rig: Rig, side: str, **joints: np.ndarray) -> None:
    """An arm's or wing's joints in the skeleton that all animals share."""
    rig.figure.skeleton |= {f"{side}_{name}": place for name, place in joints.items()}


ARMS = {"arm": _arm, "claws": _claws, "wing": _wing, "flipper": _flipper}
