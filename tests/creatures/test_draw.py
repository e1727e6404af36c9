"""What a drawn clip promises: determinism, masks, joints, bounds, loops, speed."""

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from anamodiff import creatures
from anamodiff.creatures import COLOURS, MOTIONS, SPECIES, Character, draw
from anamodiff.errors import AnaMoDiffError

COMMON = ("walk", "trot", "gallop", "jump", "idle")


def dilate(masks: np.ndarray, by: int = 1) -> np.ndarray:
    """Masks `f h w` grown by `by` pixels in all eight directions."""
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in masks])


def joint_pixels(drawn: creatures.Drawn) -> np.ndarray:
    """Joints `f j 2` as whole pixel positions (x, y)."""
    size = drawn.frames.shape[1]
    return np.round((drawn.joints + 1) / 2 * (size - 1)).astype(int)


def test_world_is_large_enough() -> None:
    wanted = "turtle rhino giraffe horse cat elephant rabbit cow dog pig camel crocodile man robot"
    assert set(wanted.split()) | {"bird", "fish", "butterfly", "flag", "letter m"} <= set(SPECIES)
    assert len(SPECIES) >= 20
    assert sum(name.startswith("letter ") for name in SPECIES) >= 4
    assert set(COMMON) < set(MOTIONS)
    assert len(MOTIONS) >= 6
    for species in SPECIES:
        assert set(COMMON) <= set(creatures.motions_of(species)) <= set(MOTIONS)


def test_same_seed_draws_the_same_pixels() -> None:
    for seed in (0, 7, 23):
        first, second = (draw(Character.sample(seed), "trot", frames=4) for _ in range(2))
        assert np.array_equal(first.frames, second.frames)
        assert np.array_equal(first.masks, second.masks)
        assert np.array_equal(first.joints, second.joints)
    assert len({Character.sample(seed) for seed in range(50)}) == 50


def test_sample_keeps_what_is_given() -> None:
    for seed in range(20):
        made = Character.sample(
            seed, species="rhino", colour="orange", facing="left", background=(200, 220, 255)
        )
        assert (made.species, made.colour, made.facing) == ("rhino", "orange", "left")
        assert made.background == (200, 220, 255)
        assert made.caption == "an orange rhino"
        free = Character.sample(seed)
        assert replace(made, species=free.species, colour=free.colour).scale == free.scale


def test_captions() -> None:
    assert Character("turtle", "green").caption == "a green turtle"
    assert Character("letter m", "blue").caption == "a blue letter m"
    assert Character("elephant", "orange", pattern="spots").caption == "an orange elephant"


def test_looks_are_varied() -> None:
    made = [Character.sample(seed) for seed in range(600)]
    assert {c.species for c in made} == set(SPECIES)
    assert {c.colour for c in made} == set(COLOURS)
    assert {c.pattern for c in made} == {"plain", "spots", "stripes"}
    assert {c.facing for c in made} == {"left", "right"}
    assert 0.72 < np.mean([c.background == (255, 255, 255) for c in made]) < 0.88
    assert 0.01 < np.mean([c.silhouette for c in made]) < 0.1
    white = [c for c in made if c.colour == "white"]
    assert white and all(c.outline and not c.silhouette for c in white)


@pytest.mark.parametrize("species", SPECIES)
def test_every_motion_stays_in_the_picture(species: str) -> None:
    """No motion touches the border; frames agree with masks; joints lie on the figure."""
    character = Character.sample(hash_of(species), species=species, pattern="spots")
    paper = np.array(character.background, np.uint8)
    for motion in MOTIONS:
        drawn = draw(character, motion, frames=4, phase=0.037)
        assert drawn.frames.shape == (4, 128, 128, 3) and drawn.frames.dtype == np.uint8
        assert drawn.masks.shape == (4, 128, 128) and drawn.masks.dtype == bool
        assert drawn.joints.shape == (4, len(drawn.joint_names), 2)
        assert drawn.joints.dtype == np.float32
        border = np.ones((128, 128), bool)
        border[2:-2, 2:-2] = False
        assert not drawn.masks[:, border].any(), motion
        assert (drawn.frames[~dilate(drawn.masks)] == paper).all(), motion
        assert np.abs(drawn.joints).max() <= 1, motion
        x, y = np.moveaxis(joint_pixels(drawn), -1, 0)
        near = dilate(drawn.masks, 3)
        assert near[np.arange(4)[:, None], y, x].all(), motion


@pytest.mark.parametrize("species", SPECIES)
def test_size_in_the_picture(species: str) -> None:
    """Over a clip the figure fills a good part of the picture, and it is filled, not a sketch."""
    for motion in COMMON:
        drawn = draw(Character(species, "blue", scale=0.92), motion, frames=6)
        used = drawn.masks.any(axis=0)
        width, height = np.ptp(np.nonzero(used.any(axis=0))), np.ptp(np.nonzero(used.any(axis=1)))
        assert 0.5 <= max(width, height) / 128 <= 0.97, motion
        assert drawn.masks.mean() > 0.03, motion


@pytest.mark.parametrize("motion", MOTIONS)
def test_whole_cycles_loop(motion: str) -> None:
    character = Character.sample(3, species="horse")
    once = draw(character, motion, frames=8)
    twice = draw(character, motion, frames=16, cycles=2.0)
    assert np.array_equal(twice.frames[8:], twice.frames[:8])
    assert np.array_equal(once.frames, twice.frames[:8])
    later = draw(character, motion, frames=8, phase=0.25)
    np.testing.assert_allclose(later.joints, np.roll(once.joints, -2, axis=0), atol=1e-5)
    moved = np.abs(once.joints - once.joints[:1]).max()
    assert moved > 0.02


@pytest.mark.parametrize("species", SPECIES)
def test_a_jump_goes_up(species: str) -> None:
    """The centre of mass rises by a tenth to a quarter of the picture, then comes back."""
    drawn = draw(Character(species, "red"), "jump", frames=20)
    rows = np.arange(128)[:, None]
    centre = np.array([(rows * mask).sum() / mask.sum() for mask in drawn.masks]) / 128
    up = centre[0] - centre.min()
    assert 0.08 < up < 0.28
    assert 5 <= centre.argmin() <= 13
    assert abs(centre[0] - centre[-1]) < 0.05


def test_gaits_differ_in_their_footfalls() -> None:
    """Near and far feet alternate in a walk; diagonal feet move together in a trot."""
    character = Character("horse", "brown")
    feet = {}
    for motion in ("walk", "trot", "gallop"):
        drawn = draw(character, motion, frames=40)
        feet[motion] = {
            name: drawn.joints[:, drawn.joint_names.index(f"{name}_foot"), 0]
            for name in ("near_front", "far_front", "near_hind", "far_hind")
        }

    def together(motion: str, first: str, second: str) -> float:
        return float(np.corrcoef(feet[motion][first], feet[motion][second])[0, 1])

    assert together("walk", "near_hind", "far_hind") < -0.8
    assert together("trot", "near_front", "far_hind") > 0.95
    assert together("trot", "near_front", "near_hind") < -0.8
    assert together("gallop", "near_hind", "far_hind") > 0.6


def test_facing_left_mirrors_the_picture() -> None:
    right = draw(Character("camel", "tan"), "walk", frames=3)
    left = draw(Character("camel", "tan", facing="left"), "walk", frames=3)
    overlap = left.masks & right.masks[:, :, ::-1]
    assert overlap.sum() > 0.97 * right.masks.sum()
    np.testing.assert_allclose(left.joints, right.joints * (-1, 1), atol=1e-6)


def test_letters_stay_readable_when_they_face_left() -> None:
    """A letter is not mirrored, only its motion is."""
    right = draw(Character("letter k", "red"), "idle", frames=1)
    left = draw(Character("letter k", "red", facing="left"), "idle", frames=1)
    assert (right.masks & left.masks).sum() > 0.8 * right.masks.sum()


def test_same_motion_moves_all_species_alike() -> None:
    """The hips of a turtle and of a rhino go up and down at the same moments of a jump."""
    heights = []
    for species in ("rhino", "turtle", "giraffe", "man"):
        drawn = draw(Character(species, "grey"), "jump", frames=30)
        heights.append(drawn.joints[:, drawn.joint_names.index("hip"), 1])
    assert np.corrcoef(heights).min() > 0.8


@pytest.mark.parametrize("size", [16, 64, 200, 512])
def test_any_size_shows_the_same_picture(size: int) -> None:
    character = Character.sample(5, species="elephant", pattern="stripes")
    small, drawn = draw(character, "walk", frames=2), draw(character, "walk", frames=2, size=size)
    assert drawn.frames.shape == (2, size, size, 3)
    assert np.array_equal(drawn.joints, small.joints)
    assert abs(drawn.masks.mean() - small.masks.mean()) < (0.03 if size >= 64 else 0.2)


def test_supersampling_smooths_but_does_not_move() -> None:
    character = Character.sample(9, species="cat")
    plain, fine = (
        draw(character, "idle", frames=1),
        draw(character, "idle", frames=1, supersample=3),
    )
    assert fine.frames.shape == plain.frames.shape
    assert (fine.masks & plain.masks).sum() > 0.93 * plain.masks.sum()


def test_silhouette_has_one_colour() -> None:
    drawn = draw(Character("rabbit", "purple", silhouette=True), "idle", frames=1)
    inside = ~dilate(~drawn.masks, 2)
    assert (drawn.frames[inside] == COLOURS["purple"]).all(axis=-1).mean() > 0.98


def test_drawing_is_fast() -> None:
    """Generous: a millisecond a frame on a free core, five at most; the best of three counts."""
    characters = [Character.sample(seed) for seed in range(8)]
    spent = []
    for _ in range(3):
        start = time.process_time()
        for character in characters:
            draw(character, "gallop", frames=10)
        spent.append((time.process_time() - start) / 80)
    assert min(spent) < 0.005


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Character("unicorn", "red"), "unicorn"),
        (lambda: Character("cat", "mauve"), "mauve"),
        (lambda: Character("cat", "red", facing="up"), "up"),
        (lambda: draw(Character("cat", "red"), "moonwalk"), "moonwalk"),
        (lambda: draw(Character("cat", "red"), "walk", frames=0), "frames"),
        (lambda: draw(Character("cat", "red"), "walk", size=4), "size"),
    ],
)
def test_mistakes_are_named(make, words: str) -> None:
    with pytest.raises(AnaMoDiffError, match=words) as caught:
        make()
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


def hash_of(name: str) -> int:
    """A seed that does not change between runs, as Python's own hash does."""
    return sum(ord(letter) * 31**i for i, letter in enumerate(name)) % 10_000
