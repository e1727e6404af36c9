"""The joints that all animals share, and which of them can be seen.

Near and far are by the camera, whichever way the animal faces. Joints lie inside the body at its
bones; nose, tail tip and feet lie on its surface.
"""

import numpy as np

from anamodiff.creatures.figure import Figure, Part

SIDES = ("near", "far")
FORE = ("shoulder", "elbow", "wrist", "front_foot")
HIND = ("hip", "knee", "hock", "hind_foot")
JOINTS: tuple[str, ...] = (
    *("nose", "head", "withers", "spine", "tail_base", "tail_tip"),
    *(f"{side}_{joint}" for limb in (FORE, HIND) for side in SIDES for joint in limb),
)
ABSENT, HIDDEN, SEEN = 0, 1, 2
#: The bones, as (from, to) in `JOINTS`: head, neck, the trunk's halves, tail, three a limb.
BONES: tuple[tuple[int, int], ...] = (
    *((1, 0), (2, 1), (3, 2), (4, 3), (4, 5)),
    *((start + i, start + i + 1) for start in (6, 10, 14, 18) for i in range(3)),
)
#: The part of the body of each bone: 0 head and neck, 1 trunk, 2 tail, 3 near fore limb, 4 far
#: fore limb, 5 near hind limb, 6 far hind limb.
PARTS: tuple[int, ...] = (0, 0, 1, 1, 2, *(3 + limb for limb in range(4) for _ in range(3)))
# Points on the surface are looked for a little way inside, towards the joint they hang on.
INWARDS = 0.15
INNER = {"nose": "head", "tail_tip": "tail_base"}
INNER |= {f"{side}_front_foot": f"{side}_wrist" for side in SIDES}
INNER |= {f"{side}_hind_foot": f"{side}_hock" for side in SIDES}


def skeleton_of(figure: Figure, frames: int) -> np.ndarray:
    """The shared joints `f 22 2` in figure units, NaN for those that the figure lacks."""
    absent = np.full((frames, 2), np.nan)
    return np.stack([figure.skeleton.get(name, absent) for name in JOINTS], axis=1)


def visibility_of(figure: Figure, frames: int) -> np.ndarray:
    """`ABSENT`, `HIDDEN` or `SEEN` for every shared joint, uint8 `f 22`.

    A joint is hidden where the part painted last over it belongs to none of the limbs that meet
    there.
    """
    answer = np.full((frames, len(JOINTS)), ABSENT, np.uint8)
    names = [name for name in JOINTS if name in figure.skeleton]
    if not names:
        return answer
    probes = np.stack([_probe(figure, name) for name in names], axis=1)  # f j 2
    own = [limbs_of(name) for name in names]
    seen = np.ones(probes.shape[:2], bool)
    for part in sorted(figure.parts, key=_layer):
        if np.any(part.edge):
            belongs = np.array([part.limb in limbs for limbs in own])
            seen = np.where(inside(probes, part.points), belongs, seen)
    answer[:, [JOINTS.index(name) for name in names]] = np.where(seen, SEEN, HIDDEN)
    return answer


def limbs_of(joint: str) -> tuple[str, ...]:
    """The limbs whose parts meet at a joint ("" is the trunk, with neck and head)."""
    side, _, rest = joint.partition("_")
    if side not in SIDES:
        return {"tail_tip": ("tail",), "tail_base": ("tail", "")}.get(joint, ("",))
    limb = f"{side}_front" if rest in FORE else f"{side}_hind"
    return (limb, "") if side == "near" and rest in ("shoulder", "hip") else (limb,)


def inside(places: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Whether places `f j 2` lie within a closed outline `f n 2`: bool `f j`."""
    after = np.roll(outline, -1, axis=1)
    x, y = places[..., None, 0], places[..., None, 1]  # f j 1
    (x0, y0), (x1, y1) = (np.moveaxis(end[:, None], -1, 0) for end in (outline, after))  # f 1 n
    crosses = (y0 > y) != (y1 > y)
    slope = (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)
    return (crosses & (x < x0 + (y - y0) * slope)).sum(axis=-1) % 2 == 1


def _probe(figure: Figure, name: str) -> np.ndarray:
    """Where to look for a joint `f 2`."""
    place = figure.skeleton[name]
    inner = figure.skeleton.get(INNER.get(name, name), place)
    return place + INWARDS * (inner - place)


def _layer(part: Part) -> int:
    return part.layer
