"""What makes a species itself: horns, trunks, shells, manes, humps, beaks and the like."""

from collections.abc import Callable

import numpy as np

from anamodiff.creatures.geometry import (
    Frame,
    ellipse,
    points,
    polar,
    smooth_outline,
    spline_weights,
    tube,
)
from anamodiff.creatures.rig import ABOVE, ARM, BODY, TOP, Rig

BEHIND = 1  # layer of far horns and ears


def _on_head(
    rig: Rig, shape: str | np.ndarray, ink: str, layer: int = BODY, *, decal: bool = False
) -> None:
    """Paint an outline `n 2` (or "x,y x,y ...") given in head lengths."""
    local = points(shape) if isinstance(shape, str) else shape
    paint = rig.figure.decal if decal else rig.figure.add
    paint(rig.head.place(local * rig.head_size), ink, layer)


def _spike(x: float, y: float, angle: float, length: float, width: float) -> np.ndarray:
    """A slightly curved spike `n 2` standing at (x, y) of the head."""
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shape = points("-.1,-.5 .4,-.42 .8,-.05 1,.35 .7,.4 .35,.45 -.1,.5")
    return (x, y) + (shape * (length, width)) @ axes


def nose_horns(rig: Rig) -> None:
    """A rhino's two horns."""
    _on_head(rig, _spike(0.9, 0.04, 1.75, 0.52, 0.2), "horn", ABOVE)
    _on_head(rig, _spike(0.62, 0.06, 1.8, 0.24, 0.16), "horn", ABOVE)


def horns(rig: Rig) -> None:
    """A cow's horns."""
    _on_head(rig, _spike(0.24, 0.26, 1.35, 0.36, 0.13), "horn", BEHIND)
    _on_head(rig, _spike(0.14, 0.28, 1.75, 0.4, 0.14), "horn", ABOVE)


def ossicones(rig: Rig) -> None:
    """A giraffe's two knobs."""
    for x, layer in ((0.22, BEHIND), (0.12, ABOVE)):
        _on_head(rig, points("-.04,0 .04,0 .02,.3 -.07,.3") + (x, 0.22), "body", layer)
        _on_head(rig, ellipse(x - 0.025, 0.52, 0.07, 0.07, 10), "horn", layer)


def antlers(rig: Rig) -> None:
    """A deer's branching antlers."""
    for dx, layer in ((0.12, BEHIND), (0.0, ABOVE)):
        for branch, thick in (
            (".12,.25 0,.65 -.1,.95 .05,1.3", 0.06),
            (".04,.5 .28,.62 .36,.82", 0.045),
            ("-.08,.86 .2,1 .26,1.2", 0.045),
        ):
            line = points(branch)[None] + (dx, 0.0)
            radii = np.linspace(thick, 0.022, line.shape[1])
            _on_head(rig, tube(line, radii, samples=8).outline()[0], "horn", layer)


def trunk(rig: Rig) -> None:
    """An elephant's trunk: it swings with the head and reaches the ground to graze."""
    pose, size = rig.pose, rig.head_size
    line = [rig.head.place([0.72 * size, 0.02 * size])]
    curl = np.array([-62.0, -84.0, -88.0, -62.0, -20.0])
    for step, angle in enumerate(np.radians(curl)):
        swing = pose.wag * 0.35 * step / 2 + 0.35 * pose.head + 0.7 * pose.rear * step / 2
        swing = swing - pose.bow * 0.12 * step + 0.9 * np.maximum(pose.ear * -0.3, 0) * step
        line.append(line[-1] + polar(0.4 * size * (1 + 0.08 * pose.bow), angle + swing))
    radii = np.array([0.26, 0.2, 0.16, 0.12, 0.1, 0.08]) * size
    rig.figure.add(tube(np.stack(line, axis=1), radii).outline())
    rig.figure.joints["trunk"] = line[-1]


def tusk(rig: Rig) -> None:
    """An ivory tusk."""
    _on_head(rig, ".62,-.32 .74,-.22 .95,-.4 1.16,-.4 .92,-.54", "ivory", ABOVE)


def mane(rig: Rig) -> None:
    """A horse's mane along the neck, and a forelock."""
    u = np.linspace(0.12, 1.0, 9)
    v = np.r_[np.full(9, 1.5), np.full(9, 0.45)]
    v[:9] += 0.25 * (np.arange(9) % 2)
    strip = rig.neck.at(np.r_[u, u[::-1]], v)
    strip[:, :9] += (polar(0.05, np.pi - 0.4 * rig.pose.tail))[:, None]
    rig.figure.add(strip, "hair", ABOVE)
    _on_head(rig, ".02,.2 .1,.36 .3,.26 .36,.1 .2,.2", "hair", ABOVE)


def short_mane(rig: Rig) -> None:
    """A giraffe's narrow mane."""
    u = np.linspace(0.1, 0.98, 8)
    strip = rig.neck.at(np.r_[u, u[::-1]], np.r_[np.full(8, 1.35), np.full(8, 0.75)])
    rig.figure.add(strip, "hair", ABOVE)


def lion_mane(rig: Rig) -> None:
    """A lion's mane: a shaggy disc behind the face."""
    turn = np.arange(28) * 2 * np.pi / 28
    radius = 0.78 + 0.06 * (np.arange(28) % 2)
    disc = np.stack([0.18 + 0.82 * radius * np.cos(turn), radius * np.sin(turn) - 0.08], axis=-1)
    _on_head(rig, disc, "hair")


def _at_tail(rig: Rig) -> Frame:
    """A frame at the tail's tip that looks along it."""
    way = rig.tail.path[:, 0] - rig.tail.path[:, 2]
    return Frame(rig.tail.path[:, 0], np.arctan2(way[:, 1], way[:, 0]))


def tuft_tail(rig: Rig) -> None:
    """A tuft of hair at the tip of the tail."""
    tuft = smooth_outline("-.06,0 .02,.05 .12,.055 .22,0 .12,-.055 .02,-.05")
    rig.figure.add(_at_tail(rig).place(tuft), "hair", ABOVE, limb="tail")


def brush_tail(rig: Rig) -> None:
    """A horse's tail of long hair."""
    line = rig.tail.path[:, ::-1][:, [0, 3, 6, 9, 11]]
    hair = tube(line, [0.06, 0.095, 0.11, 0.085, 0.02])
    rig.figure.add(hair.outline(), "hair", ABOVE, limb="tail")


def bushy_tail(rig: Rig) -> None:
    """A fox's brush with its pale tip."""
    line = rig.tail.path[:, ::-1][:, [0, 3, 6, 9, 11]]
    brush = tube(line, [0.06, 0.13, 0.18, 0.14, 0.02])
    rig.figure.add(brush.outline(), "body", limb="tail")
    along, across = points(".72,-.95 .66,0 .72,.95 .9,.95 1,0 .9,-.95").T
    tip = brush.at(along, across)
    rig.figure.decal(tip, "belly")


def curly_tail(rig: Rig) -> None:
    """A pig's curl."""
    turn = np.linspace(0, 2 * np.pi * 1.1, 10)
    ring = np.stack([0.09 * np.cos(turn), 0.09 * np.sin(turn)], axis=-1)[None]
    curl = tube(ring, np.full(10, 0.026), samples=14).outline()[0]
    rig.figure.add(_at_tail(rig).place(curl), "body", BODY, limb="tail")


def fan_tail(rig: Rig) -> None:
    """The flat tail feathers of a bird."""
    fan = smooth_outline("-.45,.06 0,.14 .12,.06 .14,-.1 0,-.12 -.45,-.1")
    rig.figure.add(_at_tail(rig).place(fan), "wing", BODY, limb="tail")


def snout(rig: Rig) -> None:
    """A pig's disc."""
    _on_head(rig, ellipse(1.02, -0.05, 0.085, 0.19, 14), "inner", ABOVE)


def muzzle(rig: Rig) -> None:
    """A paler muzzle with a nostril."""
    _on_head(rig, ellipse(0.92, -0.14, 0.16, 0.17, 14), "belly", decal=True)
    _on_head(rig, ellipse(0.99, -0.06, 0.035, 0.035, 8), "line", decal=True)


def nose(rig: Rig) -> None:
    """A dark nose."""
    _on_head(rig, ellipse(1.0, -0.01, 0.085, 0.07, 10), "eye", ABOVE)


def whiskers(rig: Rig) -> None:
    """A small pink nose and a cheek."""
    _on_head(rig, ellipse(0.94, 0.0, 0.06, 0.045, 10), "inner", ABOVE)
    _on_head(rig, ellipse(0.8, -0.16, 0.14, 0.11, 12), "belly", decal=True)


def udder(rig: Rig) -> None:
    """A cow's udder, before the hind legs."""
    spot = rig.body.child((0.16, -0.36))
    rig.figure.add(spot.place(ellipse(0.0, 0.0, 0.14, 0.12)), "inner", BEHIND)


def humps(rig: Rig) -> None:
    """A camel's two humps, part of the back."""
    for s in (0.22, 0.72):
        hump = smooth_outline("-.26,-.05 -.14,.2 0,.32 .13,.22 .27,-.05 0,-.1")
        world = rig.body.child((s, 0.2)).place(hump)
        rig.figure.add(world, "body", BODY)


def wool(rig: Rig) -> None:
    """A sheep's fleece: a cloud over the body and a tuft on the head."""
    ring = ellipse(0.45, 0.05, 0.7, 0.36, 28).copy()
    ring[1::2] = ellipse(0.45, 0.05, 0.79, 0.44, 28)[1::2]
    fleece = rig.body.place(spline_weights(28, 84, closed=True) @ ring)
    rig.figure.add(fleece, "fleece", ARM)
    _on_head(rig, ellipse(0.16, 0.32, 0.24, 0.16), "fleece", ABOVE)


def shell(rig: Rig) -> None:
    """A turtle's shell: dome, rim and plates."""
    arc = np.linspace(np.pi, 0, 13)
    dome = np.stack([0.46 + 0.86 * np.cos(arc), 0.06 + 0.72 * np.sin(arc) ** 0.85], axis=-1)
    under = points("1.3,-.04 .9,-.14 .05,-.14 -.38,-.04")
    rig.figure.add(rig.body.place(np.concatenate([dome, under])), "shell", ARM)
    rim = points("-.4,.1 1.32,.1 1.34,.02 1.28,-.05 -.36,-.05 -.42,.02")
    rig.figure.add(rig.body.place(rim), "rim", TOP)
    plate = points("-1,-.16 1,-.16 .75,.16 -.75,.16")
    for x, y, wide in ((0.0, 0.3, 0.15), (0.31, 0.4, 0.17), (0.64, 0.4, 0.17), (0.95, 0.3, 0.15)):
        rig.figure.decal(rig.body.place(plate * (wide, 1.0) + (x, y)), "plate", ARM)


def ridge(rig: Rig) -> None:
    """Spikes along back and tail."""
    for line, count, high in ((rig.trunk, 7, 1.5), (rig.tail, 6, 1.9)):
        u = np.linspace(0.3 if line is rig.tail else 0.05, 0.95, 2 * count + 1)
        top = np.where(np.arange(len(u)) % 2, high, 0.9)
        spikes = line.at(np.r_[u, u[::-1]], np.r_[top, np.full(len(u), 0.5)])
        rig.figure.add(spikes, "rim", BODY, limb="tail" if line is rig.tail else "")


def teeth(rig: Rig) -> None:
    """A row of teeth under the upper jaw."""
    x = np.linspace(0.55, 0.95, 9)
    y = np.where(np.arange(9) % 2, -0.15, -0.06)
    _on_head(rig, np.r_[np.stack([x, y], -1), [(0.95, -0.02), (0.55, -0.02)]], "ivory")


def beak(rig: Rig) -> None:
    """A bird's beak in two halves."""
    opened = 0.25 * rig.pose.jaw
    lower = rig.head.child((0.72 * rig.head_size, -0.02 * rig.head_size), -opened)
    rig.figure.add(lower.place(points("0,.02 .44,-.03 0,-.16") * rig.head_size), "beak", ABOVE)
    _on_head(rig, ".72,.16 .95,.1 1.28,-.06 .95,-.06 .72,-.06", "beak", ABOVE)


def bib(rig: Rig) -> None:
    """A penguin's pale front."""
    rig.figure.decal(rig.trunk.strip(0.1, -0.88, 0.02, 0.99), "bib")


def hair(rig: Rig) -> None:
    """A head of hair."""
    _on_head(rig, "0,.02 -.04,.4 .22,.68 .66,.66 .86,.42 .5,.44 .3,.3 .22,.08", "hair", ABOVE)


def antenna(rig: Rig) -> None:
    """A rod with a lamp, and an ear disc."""
    _on_head(rig, ".3,.46 .36,.46 .35,.8 .31,.8", "line")
    _on_head(rig, ellipse(0.33, 0.82, 0.085, 0.085, 10), "second", ABOVE)
    _on_head(rig, ellipse(0.16, 0.1, 0.12, 0.12, 10), "second", decal=True)


def panel(rig: Rig) -> None:
    """A robot's chest panel."""
    rig.figure.decal(rig.body.place(points(".45,-.2 .45,.08 .88,.08 .88,-.2")), "second")


FEATURES: dict[str, Callable[[Rig], None]] = {
    feature.__name__: feature
    for feature in (
        nose_horns, horns, ossicones, antlers, trunk, tusk, mane, short_mane, tuft_tail,
        brush_tail, bushy_tail, curly_tail, fan_tail, snout, muzzle, nose, whiskers, udder, humps,
        wool, shell, ridge, teeth, beak, bib, hair, antenna, panel,
    )
}  # fmt: skip
BEHIND_HEAD: dict[str, Callable[[Rig], None]] = {"lion_mane": lion_mane}
