"""Pairs whose answer is known."""

import numpy as np
import pytest

from anamodiff.creatures import MOTIONS, SPECIES, Character, draw, draw_pair


def figure_colour(drawn) -> np.ndarray:
    """Mean colour inside the masks."""
    return drawn.frames[drawn.masks].mean(axis=0)


def test_turtle_jumps_like_a_rhino() -> None:
    pair = draw_pair(
        1, source_species="turtle", driving_species="rhino", motion="jump", source_motion="idle"
    )
    assert pair.source_caption.endswith(" turtle") and pair.driving_caption.endswith(" rhino")
    for drawn in (pair.source, pair.driving, pair.truth):
        assert drawn.frames.shape == (10, 128, 128, 3)
    assert np.array_equal(pair.source.frames[0], pair.truth.frames[0])
    assert (pair.source.masks[5] != pair.truth.masks[5]).mean() > 0.05


@pytest.mark.parametrize("seed", range(8))
def test_source_and_truth_are_one_character(seed: int) -> None:
    pair = draw_pair(seed)
    assert np.abs(figure_colour(pair.source) - figure_colour(pair.truth)).max() < 14
    assert pair.source.joint_names == pair.truth.joint_names
    assert pair.source_character.facing == pair.driving_character.facing
    assert pair.source_character.species in SPECIES and pair.motion in MOTIONS
    areas = pair.truth.masks.sum(axis=(1, 2)) / pair.source.masks.sum(axis=(1, 2)).mean()
    assert areas.min() > 0.6 and areas.max() < 1.6


@pytest.mark.parametrize("motion", ["walk", "trot", "gallop", "jump"])
@pytest.mark.parametrize("source_motion", ["idle", "walk", "gallop"])
def test_start_poses_are_as_near_as_the_motions_allow(motion: str, source_motion: str) -> None:
    """No other phase of the source's motion begins nearer to the truth's first frame."""
    pair = draw_pair(
        4, source_species="horse", driving_species="cat", motion=motion, source_motion=source_motion
    )
    start = np.square(pair.source.joints[0] - pair.truth.joints[0]).sum()
    all_phases = draw(pair.source_character, source_motion, frames=24, size=16).joints
    assert start <= np.square(all_phases - pair.truth.joints[0]).sum(axis=(1, 2)).min() + 1e-5
    shared = (pair.source.masks[0] & pair.truth.masks[0]).sum()
    assert shared / (pair.source.masks[0] | pair.truth.masks[0]).sum() > 0.5


def test_start_poses_can_be_as_far_apart_as_the_motions_allow() -> None:
    names = {"source_species": "pig", "driving_species": "rhino", "motion": "jump"}
    pair = draw_pair(4, **names, source_motion="rear", start="different")
    start = np.square(pair.source.joints[0] - pair.truth.joints[0]).sum()
    all_phases = draw(pair.source_character, "rear", frames=24, size=16).joints
    assert start >= np.square(all_phases - pair.truth.joints[0]).sum(axis=(1, 2)).max() - 1e-5
    similar = draw_pair(4, **names, source_motion="rear")
    assert np.array_equal(pair.truth.frames, similar.truth.frames)
    assert start > 4 * np.square(similar.source.joints[0] - similar.truth.joints[0]).sum()


def test_pairs_are_deterministic_and_keep_what_is_given() -> None:
    first, second = draw_pair(11, size=64, frames=4), draw_pair(11, size=64, frames=4)
    for name in ("source", "driving", "truth"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.frames.shape == (4, 64, 64, 3)
        assert np.array_equal(one.frames, other.frames)
    given = draw_pair(11, source_species="flag", driving_species="fish", motion="wave", frames=3)
    assert given.source_character.species == "flag" and given.motion == "wave"
    assert isinstance(given.source_character, Character)
