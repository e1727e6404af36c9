"""The joints that all drawn animals share, and which of them are seen."""

from dataclasses import replace

import numpy as np
import pytest

from anamodiff.creatures import (
    ABSENT,
    HIDDEN,
    JOINTS,
    SEEN,
    SPECIES,
    Character,
    draw,
    hybrid,
    motions_of,
)
from anamodiff.creatures.figure import Figure
from anamodiff.creatures.skeleton import inside, visibility_of

FOUR_LEGGED = ("horse", "cat", "elephant", "turtle", "giraffe", "rhino", "camel", "dog", "pig")
BONELESS = tuple(s for s in SPECIES if s in ("flag", "butterfly") or s.startswith("letter"))


def at(drawn, name: str) -> np.ndarray:
    """A joint's path `f 2`."""
    return drawn.skeleton[:, JOINTS.index(name)]


def seen(drawn, name: str) -> np.ndarray:
    """A joint's visibility `f`."""
    return drawn.visibility[:, JOINTS.index(name)]


def test_the_names_are_those_of_the_motion_data() -> None:
    assert len(JOINTS) == len(set(JOINTS)) == 22
    assert JOINTS[:6] == ("nose", "head", "withers", "spine", "tail_base", "tail_tip")
    assert JOINTS[6:10] == ("near_shoulder", "near_elbow", "near_wrist", "near_front_foot")
    assert JOINTS[10] == "far_shoulder" and JOINTS[14] == "near_hip" and JOINTS[18] == "far_hip"
    assert JOINTS[21] == "far_hind_foot"


@pytest.mark.parametrize("species", SPECIES)
def test_every_species_says_which_joints_it_has(species: str) -> None:
    drawn = draw(Character(species, "grey"), "jump", frames=4, size=64)
    assert drawn.skeleton.shape == (4, 22, 2) and drawn.skeleton.dtype == np.float32
    assert drawn.visibility.shape == (4, 22) and drawn.visibility.dtype == np.uint8
    assert np.array_equal(np.isnan(drawn.skeleton).any(-1), drawn.visibility == ABSENT)
    there = (drawn.visibility != ABSENT).sum(-1)
    assert (there == there[0]).all()
    if species in FOUR_LEGGED:
        assert there[0] == 22
    elif species in BONELESS:
        assert there[0] == 0
    else:
        assert there[0] >= 6


@pytest.mark.parametrize("species", [s for s in SPECIES if s not in BONELESS])
def test_seen_joints_lie_on_the_figure(species: str) -> None:
    for motion in motions_of(species):
        drawn = draw(Character.sample(8, species=species), motion, frames=3, size=128)
        pixels = np.nan_to_num((drawn.skeleton + 1) / 2 * 127).round().astype(int)
        wide = np.pad(drawn.masks, ((0, 0), (4, 4), (4, 4)))
        grown = np.stack([np.roll(wide, (y, x), (1, 2)) for y in range(-4, 5) for x in (-4, 0, 4)])
        near = grown.any(0)[:, 4:-4, 4:-4]
        on = near[np.arange(3)[:, None], pixels[..., 1], pixels[..., 0]]
        assert on[drawn.visibility == SEEN].all(), motion


@pytest.mark.parametrize("facing", ["left", "right"])
def test_the_order_along_the_body(facing: str) -> None:
    """From the tail to the nose, and from the shoulder down to the foot, whichever way it faces."""
    drawn = draw(Character("horse", "brown", facing=facing), "idle", frames=2)
    sign = 1 if facing == "right" else -1
    line = [sign * at(drawn, name)[:, 0] for name in ("tail_base", "spine", "withers", "nose")]
    assert (np.diff(line, axis=0) > 0).all()
    for limb in (
        ("shoulder", "elbow", "wrist", "front_foot"),
        ("hip", "knee", "hock", "hind_foot"),
    ):
        heights = [at(drawn, f"near_{joint}")[:, 1] for joint in limb]
        assert (np.diff(heights, axis=0) > 0).all()


def test_hind_legs_bend_as_legs_do() -> None:
    """A standing horse's knee is ahead of its hock."""
    drawn = draw(Character("horse", "brown"), "idle", frames=1)
    assert at(drawn, "near_knee")[0, 0] > at(drawn, "near_hock")[0, 0] + 0.02


def test_the_far_shoulder_is_hidden_and_the_near_one_seen() -> None:
    drawn = draw(Character("cow", "brown"), "walk", frames=8)
    assert (seen(drawn, "far_shoulder") == HIDDEN).all()
    assert (seen(drawn, "far_hip") == HIDDEN).all()
    for name in ("near_shoulder", "near_wrist", "near_front_foot", "near_hind_foot", "nose"):
        assert (seen(drawn, name) == SEEN).all(), name
    far = seen(drawn, "far_hind_foot")
    assert (far == SEEN).any()


def test_a_leg_hides_what_it_passes() -> None:
    """Over a walk the near leg covers the far one's hock now and then."""
    drawn = draw(Character("elephant", "grey"), "walk", frames=24)
    hock = seen(drawn, "far_hock")
    apart = np.abs(at(drawn, "far_hock") - at(drawn, "near_hock")).max(-1)
    assert (hock == HIDDEN).any() and (hock == SEEN).any()
    assert apart[hock == SEEN].mean() > apart[hock == HIDDEN].mean()


def test_a_part_hides_a_joint_only_if_painted_later() -> None:
    square = np.array([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]])
    for layers, wanted in (((2, 4), HIDDEN), ((4, 2), SEEN)):
        figure = Figure(skeleton={"spine": np.zeros((1, 2))})
        figure.add(square, layer=layers[0])
        figure.add(square, layer=layers[1], limb="near_front")
        assert visibility_of(figure, 1)[0, JOINTS.index("spine")] == wanted


def test_inside_an_outline() -> None:
    triangle = np.array([[[0.0, 0], [2, 0], [0, 2]]])
    places = np.array([[[0.5, 0.5], [1.5, 1.5], [-0.1, 0.5], [0.5, 1.4]]])
    assert inside(places, triangle).tolist() == [[True, False, False, True]]


def test_hybrids_are_new_bodies_with_the_same_joints() -> None:
    character = Character.sample(4, species="horse")
    bodies = [hybrid(seed, "horse", ("cow", "cat", "man")) for seed in range(6)]
    assert hybrid(2, "horse", ("cow", "cat", "man")) == bodies[2]
    assert len(set(bodies)) == 6
    plain = draw(character, "walk", frames=2, size=64)
    for body in bodies:
        drawn = draw(replace(character, build=body), "walk", frames=2, size=64)
        assert not np.array_equal(drawn.frames, plain.frames)
        assert np.array_equal(drawn.visibility == ABSENT, plain.visibility == ABSENT)
        assert np.abs(drawn.skeleton).max() <= 1
    winged = hybrid(1, "bird", ("cow", "ostrich"))
    assert winged.arms == "wing" and winged.front is None
