"""Animals with a spine: body, tail, neck and head, driven by a `Pose`."""

import numpy as np

from anamodiff.creatures.arms import ARMS
from anamodiff.creatures.features import BEHIND, BEHIND_HEAD, FEATURES
from anamodiff.creatures.figure import Figure, Look, skin
from anamodiff.creatures.geometry import Frame, polar, smooth_outline, tube
from anamodiff.creatures.heads import HEADS, NOSES
from anamodiff.creatures.legs import add_legs
from anamodiff.creatures.pose import Pose
from anamodiff.creatures.rig import ABOVE, BODY, Rig, spine_point
from anamodiff.creatures.species import Build


def vertebrate(build: Build, pose: Pose, look: Look) -> Figure:
    """Parts and joints of an animal in the given poses."""
    figure = Figure()
    body, rest = _body_frames(build, pose)
    rig = Rig(figure, build, pose, look, body)
    for side in ("far", "near"):
        if side == "near":
            _torso(rig)
        add_legs(rig, rest, side)
        if build.arms:
            ARMS[build.arms](rig, side)
    for feature in build.features:
        if feature in FEATURES:
            FEATURES[feature](rig)
    return figure


def body_size(build: Build) -> float:
    """The size that a jump's height is measured in: mean of standing height and length."""
    length, angle = build.neck[0], np.radians(build.neck[1])
    tail = build.tail[0] * np.cos(np.radians(build.tail[1])) * 0.6
    spine = np.radians(build.angle)
    wide = np.cos(spine) + 0.4 + length * np.cos(angle) + 0.6 * build.head[1] + max(tail, 0.0)
    tall = build.hind.length + np.sin(spine) + 0.2 + length * np.sin(angle) + 0.3 * build.head[1]
    return float(np.sqrt(wide * tall))


def _body_frames(build: Build, pose: Pose) -> tuple[Frame, Frame]:
    """The frame of the spine (hips at 0, shoulders at 1 on its x axis), moving and at rest."""
    angle = np.radians(build.angle)
    if build.front:
        angle = np.arcsin(build.front.length - build.hind.length)
    hips = np.array([0.0, build.hind.length - build.hind.shift * np.sin(angle)])
    rest = Frame(np.broadcast_to(hips, (len(pose.t), 2)), np.full(len(pose.t), angle))
    pivot = 0.5 if build.front else build.hind.shift
    lean, rear = pose.pitch * build.lean, pose.rear * build.lean
    up = pose.lift * build.hind.length + pose.rise * body_size(build)
    middle = hips + polar(pivot, angle + rear) + np.stack([0 * up, up], axis=-1)
    turn = angle + lean + rear
    return Frame(middle - polar(pivot, turn), turn), rest


def _torso(rig: Rig) -> None:
    """Tail, body, neck and head, painted as one mass."""
    build, pose, figure = rig.build, rig.pose, rig.figure
    _tail(rig)
    girth = np.array(build.girth)
    spine = np.stack([spine_point(rig, s) for s in girth[:, 0]], axis=1)
    rig.trunk = tube(spine, girth[:, 1], girth[:, 2], samples=14)
    outline = rig.trunk.outline()
    breath = (outline - outline.mean(axis=1, keepdims=True)) * pose.swell[:, None, None]
    figure.add(outline + breath)
    skin(figure, rig.trunk, rig.look, BODY, belly=True, share=6)
    _neck_and_head(rig)
    figure.joints["hip"] = spine_point(rig, 0.0)
    figure.joints["back"] = spine_point(rig, 0.5)
    figure.joints["shoulder"] = spine_point(rig, 1.0)
    figure.skeleton["spine"] = spine_point(rig, 0.5)
    figure.skeleton["tail_base"] = spine_point(rig, *build.tail_at)


def _tail(rig: Rig) -> None:
    """A tail of five points, along which the wag runs as a wave."""
    length, angle, base, tip, curl = rig.build.tail
    if length == 0:
        return
    pose, points = rig.pose, [spine_point(rig, *rig.build.tail_at)]
    lean = pose.pitch + pose.rear
    for step in np.linspace(0, 2, 4):
        raised = np.radians(angle + curl * step) + pose.tail * (0.35 + 0.2 * step)
        wag = pose.wag * (0.5 + 0.3 * step) * np.cos(0.8 * step)
        raised = raised + wag - 0.8 * lean * rig.build.lean
        points.append(points[-1] + polar(length / 4, np.pi - raised))
    radii = np.linspace(base, tip, 5)
    rig.tail = tube(np.stack(points[::-1], axis=1), radii[::-1])
    rig.figure.add(rig.tail.outline(), limb="tail")
    rig.figure.joints["tail"] = rig.figure.skeleton["tail_tip"] = points[-1]


def _neck_and_head(rig: Rig) -> None:
    """Neck, head and ears; grazing turns the neck down and the mouth to the ground."""
    build, pose, figure = rig.build, rig.pose, rig.figure
    length, rest, base, tip = build.neck
    low = np.radians(build.bow - rest) * pose.bow
    tilt = (pose.pitch + pose.rear) * build.lean
    angle = np.radians(rest) + 0.65 * tilt + pose.neck * build.lean + low
    start = spine_point(rig, *build.neck_at)
    sag = 0.35 if "swan_neck" in build.features else 0.1
    steps = [angle - sag * 0.6, angle, angle + sag * 0.6]
    points = [start - polar(0.5 * base, angle), start]
    for turn in steps:
        points.append(points[-1] + polar(length / 3, turn))
    rig.neck = tube(np.stack(points, axis=1), [base, base, *np.linspace(base, tip, 4)[1:]])
    figure.add(rig.neck.outline())
    if length > 0.5:
        skin(figure, rig.neck, rig.look, BODY, belly=False, share=4)
    shape, size, slope = build.head
    share = np.minimum(1.0, abs(build.bow - rest) / 60)
    nod = np.radians(-58 - slope) * share * pose.bow
    turn = np.radians(slope) + 0.4 * tilt + pose.head + nod
    rig.head_size = size
    rig.head = Frame(points[-1] - polar(0.2 * size, turn), turn)
    for feature in set(build.features) & set(BEHIND_HEAD):
        BEHIND_HEAD[feature](rig)
    HEADS[shape](rig)
    if build.ear:
        _ears(rig)
    figure.joints["neck"] = start
    figure.joints["head"] = rig.head.place([0.4 * size, 0.0])
    figure.joints["nose"] = rig.head.place([0.85 * size, -0.08 * size])
    tip = np.array(NOSES.get(shape, (1.02, -0.08))) * size
    figure.skeleton |= {"withers": start, "head": points[-1], "nose": rig.head.place(tip)}


EARS = {
    "leaf": "0,-.3 .3,-.5 .7,-.42 1,0 .7,.42 .3,.5 0,.3",
    "point": "-.1,-.55 .4,-.38 1,0 .4,.38 -.1,.55",
    "flop": "0,-.3 .4,-.45 .85,-.5 1,0 .85,.45 .4,.45 0,.3",
    "round": "-.2,-.4 .4,-.55 .9,-.3 .9,.3 .4,.55 -.2,.4",
    "elephant": ".3,0 .2,.42 -.25,.55 -.62,.3 -.6,-.3 -.3,-.8 .05,-.72 .25,-.35",
}  # fmt: skip


def _ears(rig: Rig) -> None:
    """A near ear over the head; the far one a little ahead and under it."""
    ear, size = rig.build.ear, rig.head_size
    swing = rig.pose.ear * (0.35 if ear.shape == "elephant" else 0.8)
    shape = smooth_outline(EARS[ear.shape]) * np.array([ear.length, ear.width]) * size
    if ear.shape == "elephant":
        shape = smooth_outline(EARS[ear.shape]) * ear.length * size
    place = (ear.at[0] * size, ear.at[1] * size)
    near = rig.head.child(place, np.radians(ear.angle) + swing)
    if ear.shape not in ("elephant", "flop") and ear.angle <= 150:
        ahead = (place[0] + 0.14 * size, place[1] + 0.01 * size)
        far = rig.head.child(ahead, np.radians(ear.angle - 14) + 0.8 * swing)
        rig.figure.add(far.place(shape), "body", BEHIND, far=True)
    rig.figure.add(near.place(shape), "body", ABOVE)
    if ear.shape == "elephant":
        rig.figure.decal(near.place(shape * 0.8), "shade", ABOVE)
    else:
        inner = shape * np.array([0.68, 0.5]) + np.array([0.12 * ear.length * size, 0])
        rig.figure.decal(near.place(inner), "inner", ABOVE)
