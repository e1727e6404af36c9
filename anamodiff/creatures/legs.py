"""Legs: the feet go where the motion wants them, the joints follow."""

import numpy as np

from anamodiff.creatures.figure import root_fade
from anamodiff.creatures.geometry import Frame, bend_limb, points, polar, smooth_outline, tube
from anamodiff.creatures.pose import FAR_FRONT, FAR_HIND, NEAR_FRONT, NEAR_HIND
from anamodiff.creatures.rig import FAR, NEAR, Rig, spine_point
from anamodiff.creatures.species import Limb

FEET = {
    "hoof": "-.75,0 .95,0 .6,1.15 -.6,1.15",
    "paw": "-.9,0 1.35,0 1.6,.35 1.2,.85 .3,1.1 -.8,1",
    "pad": "-1,0 1.1,0 1,.8 -.9,.8",
    "shoe": "-1.9,0 .45,0 .75,.3 .5,.8 -.8,1.25 -1.9,1.2",
    "web": "-1.1,0 .7,0 .6,.25 -.8,.5",
    "claw": "-.6,0 1.15,0 .35,.4 -.1,.6 -.4,.4",
}


def add_legs(rig: Rig, rest: Frame, side: str) -> None:
    """The two legs of one side ("near" or "far"); `rest` is the frame of the resting spine."""
    hind, front = (NEAR_HIND, NEAR_FRONT) if side == "near" else (FAR_HIND, FAR_FRONT)
    _leg(rig, rest, rig.build.hind, 0.0, hind, f"{side}_hind")
    if rig.build.front:
        _leg(rig, rest, rig.build.front, 1.0, front, f"{side}_front")


def _leg(rig: Rig, rest: Frame, limb: Limb, s: float, index: int, name: str) -> None:
    """One leg: the foot goes where the motion wants it, the joints follow."""
    pose, build, size = rig.pose, rig.build, limb.length
    far = name.startswith("far")
    beside = (0.1 if name.endswith("front") else -0.1) * far
    toe, shift = np.radians(limb.toe), limb.shift
    bone = np.array(limb.bones) * size
    root_rest = rest.place([s + shift, 0.0])
    neutral = np.stack([root_rest[:, 0] + 0.6 * bone[2] * np.sin(toe), 0 * pose.t], axis=-1)
    root = spine_point(rig, s + shift)
    air = pose.air[:, index, None]
    step = pose.feet[:, index] * size * np.array([build.stride, 1.0])
    tilt = (pose.pitch + pose.rear) * build.lean
    hanging = Frame(root, 0.75 * tilt).place((neutral - root_rest + step)[:, None])[:, 0]
    foot = (1 - air) * (neutral + step) + air * hanging
    turn = toe + pose.roll[:, index] + 0.75 * air[:, 0] * tilt
    ankle = foot + polar(bone[2], np.pi / 2 + turn)
    knee, reached = bend_limb(root, ankle, bone[0], bone[1], 1.0)
    foot = foot + reached - ankle
    aside = np.array([beside, 0.03 * far])
    root, knee, ankle, foot = (p + aside for p in (root, knee, reached, foot))
    _paint_leg(rig, limb, (root, knee, ankle, foot), turn - toe, name)
    _name_joints(rig, (root, knee, ankle, foot), name)
    rig.figure.joints[f"{name}_knee"] = knee
    rig.figure.joints[f"{name}_foot"] = foot


def _paint_leg(
    rig: Rig, limb: Limb, joints: tuple[np.ndarray, ...], turn: np.ndarray, name: str
) -> None:
    """One tapered piece per bone, and the foot, turned by `turn` `f` when the heel lifts."""
    root, knee, ankle, foot = joints
    far = name.startswith("far")
    layer = FAR if far else NEAR
    toe = foot + polar(limb.size * 0.6, np.pi / 2 + turn)
    joints = (root, knee, ankle, toe)
    # One tapered piece per bone: a single bent tube would overlap itself at a sharp knee.
    bones = [
        tube(np.stack(joints[i : i + 2], axis=1), limb.radii[i : i + 2], samples=3)
        for i in range(3)
    ]
    for i, bone in enumerate(bones):
        outline, thick = bone.outline(), limb.radii[0]
        fade = root_fade(outline, root, 1.05 * thick, 1.7 * thick) if i == 0 else 1.0
        rig.figure.add(outline, limb.ink, layer, edge=fade, far=far, limb=name)
    if rig.look.pattern == "stripes" and limb.length > 0.6:
        for u in (0.3, 0.7):
            band = bones[1].at(np.array([u, u, u + 0.2, u + 0.2]), np.array([-0.9, 0.9, 0.9, -0.9]))
            rig.figure.decal(band, "second", layer, far=far)
    shape = (points if limb.foot in ("hoof", "pad") else smooth_outline)(FEET[limb.foot])
    ink = {"paw": "body", "pad": "shade", "claw": "horn", "web": "horn"}.get(limb.foot, "hoof")
    sole = Frame(foot, -turn * 0.9).place(shape * limb.size)
    rig.figure.add(sole, ink, layer, far=far, limb=name)


def _name_joints(rig: Rig, joints: tuple[np.ndarray, ...], name: str) -> None:
    """The leg in the skeleton that all animals share.

    A fore leg bends forward at the wrist: its elbow lies inside the upper piece. A bird's hips are
    under its feathers, and no joint of its skeleton.
    """
    (root, knee, ankle, foot), (side, end) = joints, name.split("_")
    if end == "front":
        named = {"shoulder": root, "elbow": 0.5 * (root + knee), "wrist": knee, "front_foot": foot}
    else:
        named = {"hip": root, "knee": knee, "hock": ankle, "hind_foot": foot}
        if rig.build.arms in ("wing", "flipper"):
            del named["hip"]
    rig.figure.skeleton |= {f"{side}_{joint}": place for joint, place in named.items()}
