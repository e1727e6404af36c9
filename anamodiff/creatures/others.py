"""Figures without limbs and a spine to hold them: fish, butterfly, snake, flag; letters too."""

from collections.abc import Callable
from functools import partial

import numpy as np

from anamodiff.creatures.figure import Figure, Look, Reach, skin
from anamodiff.creatures.geometry import Frame, Tube, ellipse, points, polar, smooth_outline, tube
from anamodiff.creatures.heads import HEADS
from anamodiff.creatures.letters import LETTERS, letter
from anamodiff.creatures.pose import Pose
from anamodiff.creatures.rig import ABOVE, BODY, NEAR, Rig


def fish(pose: Pose, look: Look, reach: Reach) -> Figure:
    """A fish that swims with its body and tail; gaits are swimming speeds, a jump is a leap."""
    figure, girth = Figure(), reach[2]
    turn = 1.5 * pose.pitch + 0.7 * pose.rear - 0.9 * pose.bow
    up = 0.75 + 0.35 * pose.lift + 1.5 * pose.rise - 0.2 * pose.bow
    body = Frame(np.stack([0 * up, up], axis=-1), turn)
    x = np.array([-0.8, -0.45, -0.1, 0.3, 0.62, 0.82])
    swing = np.sin(pose.beat[:, None] - 2.4 * (0.82 - x)) * (0.82 - x) ** 1.3
    arch = 0.2 * pose.flex[:, None] * (0.45 - x**2)
    y = 0.13 * pose.wave[:, None] * swing + arch
    spine = body.place(np.stack([np.broadcast_to(x, y.shape), y], axis=-1))
    upper = girth * np.array([0.1, 0.22, 0.36, 0.36, 0.2, 0.06])
    lower = girth * np.array([0.1, 0.22, 0.36, 0.34, 0.2, 0.08])
    trunk = tube(spine, upper, lower, samples=16)
    stroke = pose.wave * np.cos(pose.beat - 3.6)
    tail = _tail_fin(figure, spine, stroke, reach[4])
    back = np.array([0.25, 0.38, 0.5, 0.66, 0.74, 0.74, 0.25])
    figure.add(trunk.at(back, np.array([1.0, 1.5, 1.7, 1.35, 0.95, 0.7, 0.7])), "fin")
    belly = np.array([0.3, 0.24, 0.36, 0.46])
    figure.add(trunk.at(belly, np.array([-0.8, -1.7, -1.5, -0.8])), "fin")
    figure.add(trunk.outline())
    skin(figure, trunk, look, BODY, belly=True, share=5)
    figure.decal(body.place(ellipse(0.58, 0.07, 0.075, 0.08)), "eye_white")
    figure.decal(body.place(ellipse(0.6, 0.07, 0.045, 0.05)), "eye")
    figure.decal(body.place(points(".86,-.05 .68,-.1 .67,-.07 .7,-.07")), "line")
    flipper = body.child((0.22, -0.08), np.pi + 0.7 + 0.5 * stroke - 0.5 * pose.flap)
    fin = smooth_outline("0,.08 .3,.17 .42,0 .3,-.14 0,-.08")
    figure.add(flipper.place(fin), "fin", NEAR)
    figure.joints |= {"head": body.place([0.5, 0.0]), "back": trunk.path[:, 8], "tail": spine[:, 0]}
    figure.joints |= {"tail_fin": tail.place([-0.3, 0.0]), "near_fin": flipper.place([0.25, 0.0])}
    figure.skeleton |= {"nose": body.place([0.85, -0.02]), "head": body.place([0.5, 0.0])}
    figure.skeleton |= {"withers": trunk.path[:, 11], "spine": trunk.path[:, 7]}
    figure.skeleton |= {"tail_base": trunk.path[:, 2], "tail_tip": tail.place([-0.2, 0.0])}
    return figure


def _tail_fin(figure: Figure, spine: np.ndarray, stroke: np.ndarray, size: float) -> Frame:
    """The tail fin: it turns with the stroke, and looks shorter where it sweeps sideways."""
    way = spine[:, 1] - spine[:, 0]
    tail = Frame(spine[:, 0], np.arctan2(way[:, 1], way[:, 0]) + 0.35 * stroke)
    fin = smooth_outline(".12,.05 -.2,.3 -.5,.46 -.4,0 -.5,-.46 -.2,-.3 .12,-.05")
    squeeze = np.stack([0.75 - 0.25 * np.abs(stroke), 1 + 0 * stroke], axis=-1)[:, None]
    figure.add(tail.place(fin * squeeze * size), "fin")
    return tail


WINGS = {
    "hind": ".05,.05 .1,.5 -.06,.82 -.4,.85 -.62,.55 -.4,.15",
    "fore": ".22,.03 .5,.3 .86,.78 .78,1.02 .4,.98 .1,.6 0,.1",
}


def butterfly(pose: Pose, look: Look, reach: Reach) -> Figure:
    """A butterfly seen from above: wings open and close on both sides of a slanted body."""
    figure = Figure()
    up = 1.15 + 0.6 * pose.lift + 1.6 * pose.rise - 0.3 * pose.bow
    turn = 1.08 + pose.pitch + 0.4 * pose.rear - 0.7 * pose.bow
    body = Frame(np.stack([0.05 * np.sin(pose.beat) * pose.wave, up], axis=-1), turn)
    for side, far in ((1.0, False), (-1.0, True)):
        beat = np.clip(pose.flap + 0.12 * side, -1, 1)
        opened = side * (0.62 + 0.38 * beat)
        stretch = np.stack([1 + 0 * opened, opened], axis=-1)[:, None]
        for name, outline in WINGS.items():
            shape = smooth_outline(outline) * np.array([1.0, reach[4]])
            wing = body.place(shape * stretch)
            figure.add(wing, "body", 1 if far else BODY, far=far)
            centre = wing.mean(axis=1, keepdims=True)
            _wing_marks(figure, wing, centre, look, far)
            tip = 0.75 * wing[:, 9 if name == "fore" else 12] + 0.25 * centre[:, 0]
            figure.joints[f"{'far' if far else 'near'}_{name}_wing"] = tip
    path = body.place(points("-.55,0 -.2,0 .15,0 .42,0"))
    for bend in (0.22, -0.22):
        feeler = body.place([(0.42, 0.0), (0.62, bend * 0.5), (0.8, bend * 1.3)])
        figure.add(tube(feeler, [0.025, 0.02, 0.03]).outline(), "dark", ABOVE)
    figure.add(tube(path, [0.05, 0.085, 0.1, 0.11]).outline(), "dark", ABOVE)
    figure.joints |= {"head": path[:, 3], "back": path[:, 2], "tail": path[:, 0]}
    return figure


def _wing_marks(
    figure: Figure, wing: np.ndarray, centre: np.ndarray, look: Look, far: bool
) -> None:
    """A butterfly's pattern: rings for stripes, one field for spots, a paler field if plain."""
    layer = 1 if far else BODY
    if look.pattern == "stripes":
        figure.decal(centre + (wing - centre) * 0.72, "second", layer, far=far)
        figure.decal(centre + (wing - centre) * 0.45, "body", layer, far=far)
    else:
        ink = "second" if look.pattern == "spots" else "belly"
        figure.decal(centre + (wing - centre) * 0.5, ink, layer, far=far)


def snake(pose: Pose, look: Look, reach: Reach) -> Figure:
    """A snake with a raised head: waves run along the body; a jump throws it up in an arch."""
    figure, thick = Figure(), 0.13 * reach[2]
    spine = _snake_spine(pose, thick)
    angle = 1.15 + 0.5 * pose.neck + 0.5 * pose.pitch - 1.2 * pose.bow + 0.35 * pose.rear
    for step in (-0.5, 0.05, 0.25):
        length = 0.27 * reach[1] * (1 + 0.6 * np.maximum(pose.rear, 0))
        spine.append(spine[-1] + polar(length, angle + step))
    radii = thick * np.array([0.2, 0.55, 0.85, 1, 1, 1, 1, 0.95, 0.9, 0.85])
    body = tube(np.stack(spine, axis=1), radii, samples=30)
    figure.add(body.outline())
    skin(figure, body, look, BODY, belly=True, share=11)
    turn = 0.1 + 0.4 * pose.pitch + pose.head - 0.8 * pose.bow
    size = 0.5 * reach[3]
    head = Frame(spine[-1] - polar(0.25 * size, turn), turn)
    tongue = points(".95,-.1 1.2,-.08 1.34,-.02 1.26,-.1 1.34,-.18 1.2,-.14 .95,-.14")
    out = 0.5 + 0.5 * np.sin(2 * pose.beat)[:, None]
    x = 0.95 + np.maximum(tongue[:, 0] - 0.95, 0) * out
    flick = np.stack([x, np.broadcast_to(tongue[:, 1], x.shape)], axis=-1)
    figure.add(head.place(flick * size), "tongue", 1)
    HEADS["turtle"](Rig(figure, None, pose, look, head, head=head, head_size=size))
    figure.joints |= {f"spine_{i}": p for i, p in enumerate(spine)}
    figure.joints["head"] = head.place([0.5 * size, 0.0])
    figure.skeleton |= {"nose": head.place([1.0 * size, -0.06 * size]), "head": spine[-1]}
    figure.skeleton |= {"withers": spine[6], "spine": spine[4]}
    figure.skeleton |= {"tail_base": spine[2], "tail_tip": spine[0]}
    return figure


def _snake_spine(pose: Pose, thick: float) -> list[np.ndarray]:
    """Points `f 2` from the tail to where the neck rises."""
    x = np.array([-1.35, -1.05, -0.75, -0.45, -0.15, 0.15, 0.45])
    height = 0.3 * (0.25 + 0.75 * pose.wave[:, None])
    y = height * (0.5 + 0.5 * np.sin(3.6 * x - pose.beat[:, None])) * np.clip((x + 1.6), 0, 1)
    y = y + 1.4 * pose.rise[:, None] + 0.25 * pose.lift[:, None]
    y = y + 0.3 * pose.flex[:, None] * (0.6 - x**2 / 2)
    y = np.maximum(y + np.tan(0.8 * pose.pitch)[:, None] * (x + 0.4), 0)
    x = x * (1 - 0.08 * pose.flex[:, None])
    return list(np.moveaxis(np.stack([x, y + thick], axis=-1), 1, 0))


def flag(pose: Pose, look: Look, reach: Reach) -> Figure:
    """A flag on a pole: waves run along the cloth; gaits are winds, and it can hop."""
    figure = Figure()
    base = np.stack([np.full_like(pose.t, -0.85), 1.6 * pose.rise], axis=-1)
    crouch = 1 + 0.35 * np.minimum(pose.lift, 0) * (pose.wave + 0.5)
    crouch = crouch - 0.15 * np.maximum(pose.flex, 0)
    pole = Frame(base, 0.4 * pose.pitch - 0.25 * pose.bow + 0.15 * pose.rear)
    size = np.stack([1 + 0 * crouch, crouch], axis=-1)[:, None]
    cloth = _cloth(figure, pole, pose, size, reach)
    if look.pattern == "stripes":
        figure.decal(_ribbon(cloth, 0.33), "second")
    else:
        turn = np.arange(16) * 2 * np.pi / 16
        disc = cloth.at(0.48 + 0.17 * np.cos(turn), 0.55 * np.sin(turn))
        figure.decal(disc, "second" if look.pattern == "spots" else "belly")
    if look.shading == "shaded":
        for k in (0.2, 0.65):
            fold = cloth.at(np.array([k, k + 0.12, k + 0.12, k]), 0.96 * np.array([1, 1, -1, -1]))
            figure.decal(fold, "veil")
    rod = points("-.05,0 .05,0 .05,2.25 -.05,2.25")
    figure.add(pole.place(rod * size), "wood", ABOVE)
    figure.add(pole.place(ellipse(0, 2.3, 0.09, 0.09) * size), "gold", ABOVE)
    figure.joints |= {"pole_foot": pole.place([0.0, 0.05]), "pole_top": cloth.path[:, 0]}
    figure.joints |= {f"cloth_{i}": cloth.path[:, 7 * i] for i in (1, 2, 3)}
    return figure


def _cloth(figure: Figure, pole: Frame, pose: Pose, size: np.ndarray, reach: Reach) -> Tube:
    """The waving cloth, as an upright tube that starts at the pole."""
    u, wave = np.linspace(0, 1, 9), pose.wave[:, None]
    ripple = np.sin(2 * np.pi * 1.15 * u - pose.beat[:, None])
    y = 1.62 + (0.05 + 0.2 * wave) * u**0.7 * ripple
    y = y + u**2 * (0.075 * pose.flap[:, None] * wave - 0.3 * (1 - wave))
    x = 1.65 * reach[4] * u * (1 - 0.12 * wave)
    line = pole.place(np.stack([x, y], axis=-1) * size)
    cloth = tube(line, np.full(9, 0.46 * reach[2]), samples=22, upright=True)
    figure.add(_ribbon(cloth, 1.0))
    return cloth


def _ribbon(cloth: Tube, high: float) -> np.ndarray:
    """The outline of the middle `high` (0 to 1) of the cloth, with square ends."""
    u = np.linspace(0, 1, 22)
    return cloth.at(np.r_[u, u[::-1]], high * np.r_[np.ones(22), -np.ones(22)])


OTHERS: dict[str, Callable[..., Figure]] = {
    "fish": fish,
    "butterfly": butterfly,
    "snake": snake,
    "flag": flag,
    **{f"letter {name}": partial(letter, which=name) for name in LETTERS},
}
