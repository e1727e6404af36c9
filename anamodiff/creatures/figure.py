"""A drawn figure: painted outlines for every frame, its joints, and the skin on its tubes."""

from dataclasses import dataclass, field

import numpy as np

from anamodiff.creatures.geometry import Tube

Reach = tuple[float, float, float, float, float]  # legs, neck, girth, head, tail: multipliers


@dataclass(frozen=True)
class Look:
    """What of a character's looks changes its shapes rather than its paints."""

    pattern: str = "plain"
    shading: str = "flat"
    belly: bool = False
    pattern_seed: int = 0


@dataclass(frozen=True)
class Part:
    """One painted outline `f n 2`.

    `ink` names the paint; `layer` orders the parts (outlines of a layer lie under its fills);
    `edge` is the weight of the outline, a number or one per point `n`; 0 marks a decal. `limb` is
    the limb it belongs to: a side and an end (`near_front`), `tail`, or nothing for the trunk.
    """

    points: np.ndarray
    ink: str
    layer: int
    edge: float | np.ndarray = 1.0
    far: bool = False
    limb: str = ""


@dataclass
class Figure:
    """Parts in painting order and named joints `f 2`, in figure units, the ground at y = 0.

    `joints` are the species' own; `skeleton` holds those that all animals share, by the names of
    `skeleton.JOINTS`, as far as the figure has them.
    """

    parts: list[Part] = field(default_factory=list)
    joints: dict[str, np.ndarray] = field(default_factory=dict)
    skeleton: dict[str, np.ndarray] = field(default_factory=dict)

    def add(
        self,
        points: np.ndarray,
        ink: str = "body",
        layer: int = 2,
        *,
        edge: float | np.ndarray = 1.0,
        far: bool = False,
        limb: str = "",
    ) -> None:
        """Paint an outline over what is there."""
        self.parts.append(Part(points, ink, layer, edge, far, limb))

    def decal(self, points: np.ndarray, ink: str, layer: int = 2, *, far: bool = False) -> None:
        """Paint something that lies inside a part that has been added before."""
        self.parts.append(Part(points, ink, layer, 0.0, far))


def root_fade(points: np.ndarray, root: np.ndarray, start: float, end: float) -> np.ndarray:
    """Outline weights `n` that vanish near a limb's root `f 2`: it grows out of the body."""
    distance = np.sqrt(((points[0] - root[0]) ** 2).sum(-1))
    share = (distance - start) / max(end - start, 1e-6)
    # Below zero the line shrinks under its own fill, so that not even a smoothed edge shows.
    return np.clip(share, 0, 1) * 1.6 - 0.6


def skin(figure: Figure, tube: Tube, look: Look, layer: int, *, belly: bool, share: int) -> None:
    """Shade a tube and lay the pattern on it; `share` is the number of spots or stripes."""
    if belly and look.belly:
        figure.decal(tube.strip(-0.3, -0.93, 0.02, 0.98), "belly", layer)
    elif look.shading == "shaded":
        figure.decal(tube.strip(-0.4, -0.93, 0.0, 1.0), "shade", layer)
    if look.shading == "shaded":
        figure.decal(tube.strip(0.3, 0.78, 0.05, 0.95), "light", layer)
    draw = np.random.default_rng([look.pattern_seed, layer, share])
    if look.pattern == "spots":
        _spots(figure, tube, layer, share, draw)
    elif look.pattern == "stripes":
        _stripes(figure, tube, layer, share)


def _spots(figure: Figure, tube: Tube, layer: int, share: int, draw: np.random.Generator) -> None:
    """Round spots along a tube, all within it."""
    turn = np.arange(10) * 2 * np.pi / 10
    for place in (np.arange(share) + 0.5) / share:
        u0 = place + draw.uniform(-0.25, 0.25) / share
        v0, ru = draw.uniform(-0.35, 0.75), draw.uniform(0.3, 0.5) / share
        rv = draw.uniform(0.2, 0.42)
        u = np.clip(u0 + ru * np.cos(turn + 0.3), 0.02, 0.98)
        v = np.clip(v0 + rv * np.sin(turn), -0.9, 0.9)
        figure.decal(tube.at(u, v), "second", layer)


def _stripes(figure: Figure, tube: Tube, layer: int, share: int) -> None:
    """Wedges from the back downwards."""
    width = 0.24 / share
    for u0 in (np.arange(share) + 0.5) / share:
        u = u0 + width * np.array([-1.0, -0.8, -0.4, 0.3, 0.6, 0.9, 1.0])
        v = np.array([0.92, 0.3, -0.4, -0.55, -0.1, 0.4, 0.92])
        figure.decal(tube.at(np.clip(u, 0.01, 0.99), v), "second", layer)
