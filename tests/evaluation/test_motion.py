"""Motion Fidelity and PCK: values worked out by hand, and what they must not depend on."""

import math

import numpy as np
import pytest
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.motion import STILL, STILL_STEP, body_sides, motion_fidelity, pck
from anamodiff.evaluation.tracklets import EXACT, Tracklets


def tracklets(*paths: list[tuple[float, float]]) -> Tracklets:
    """One point for each path of (x, y)."""
    return Tracklets(np.array(paths, np.float32), EXACT)


def walks(seed: int, points: int = 5, frames: int = 6) -> np.ndarray:
    """Random paths with steps from 0.05 to 0.15: ``n f 2``."""
    lot = np.random.default_rng(seed)
    angle = lot.uniform(0, 2 * np.pi, (points, frames))
    step = lot.uniform(0.05, 0.15, (points, frames, 1))
    steps = step * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return steps.cumsum(axis=1).astype(np.float32)


def moved(paths: np.ndarray) -> Tracklets:
    return Tracklets(paths, EXACT)


RIGHT = [(0.0, 0.0), (0.1, 0.0), (0.2, 0.0)]
UP = [(0.0, 0.0), (0.0, 0.1), (0.0, 0.2)]
CORNER = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.1)]


def test_three_points_against_two_by_hand() -> None:
    # Mean cosines of two steps: RIGHT with CORNER (1 + 0) / 2, UP with CORNER (0 + 1) / 2, RIGHT
    # with UP 0. Best matches of RIGHT, UP, CORNER among RIGHT, CORNER: 1, 1/2, 1; back: 1, 1.
    value = motion_fidelity(tracklets(RIGHT, UP, CORNER), tracklets(RIGHT, CORNER))
    assert value == pytest.approx(((1 + 0.5 + 1) / 3 + (1 + 1) / 2) / 2)


def test_diagonals_have_their_cosine() -> None:
    diagonal = [(0.0, 0.0), (0.1, 0.1), (0.2, 0.2)]
    value = motion_fidelity(tracklets(RIGHT), tracklets(diagonal))
    assert value == pytest.approx(math.sqrt(0.5))
    assert motion_fidelity(tracklets(RIGHT), tracklets(RIGHT[::-1])) == pytest.approx(-1)


def test_a_step_in_which_one_stands_still_counts_as_zero_and_of_both_not_at_all() -> None:
    waits = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.0)]
    assert motion_fidelity(tracklets(waits), tracklets(RIGHT)) == pytest.approx(0.5)
    assert motion_fidelity(tracklets(waits), tracklets(waits)) == pytest.approx(1)


def test_still_points_are_left_out() -> None:
    still = [(0.3, 0.3)] * 3
    trembling = [(0.3, 0.3), (0.3 + STILL_STEP * 2, 0.3), (0.3, 0.3)]
    assert 2 * STILL_STEP < STILL
    alone = motion_fidelity(tracklets(UP), tracklets(CORNER))
    with_still = motion_fidelity(tracklets(UP, still, trembling), tracklets(still, CORNER))
    assert with_still == alone == pytest.approx(0.5)


def test_a_still_result_has_zero_and_a_still_reference_nothing() -> None:
    still = tracklets([(0.3, 0.3)] * 3)
    none = Tracklets(np.zeros((0, 3, 2), np.float32), EXACT)
    for nothing in (still, none):
        assert motion_fidelity(nothing, tracklets(RIGHT)) == 0
        assert math.isnan(motion_fidelity(tracklets(RIGHT), nothing))
        assert math.isnan(motion_fidelity(nothing, nothing))


def test_lost_points_count_for_what_was_seen_of_them() -> None:
    nan = (math.nan, math.nan)
    lost = [*CORNER[:2], nan, nan, nan]
    longer = [*CORNER, (0.1, 0.2), (0.1, 0.3)]
    assert math.isnan(motion_fidelity(tracklets(longer), tracklets(lost))), "three of four steps"
    assert math.isnan(motion_fidelity(tracklets(lost), tracklets(longer))), "nobody knows"
    assert motion_fidelity(tracklets(lost, longer), tracklets(longer)) == pytest.approx(1)
    half = [*CORNER, nan, nan]
    assert motion_fidelity(tracklets(longer), tracklets(half)) == pytest.approx(1)
    other = [(0.0, 0.0), (0.1, 0.0), (0.2, 0.0), nan, nan]
    assert motion_fidelity(tracklets(longer), tracklets(other)) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(25))
def test_what_motion_fidelity_depends_on(seed: int) -> None:
    own, other = walks(seed), walks(seed + 1, points=7)
    value = motion_fidelity(moved(own), moved(other))
    assert -1 <= value <= 1
    assert motion_fidelity(moved(own), moved(own)) == pytest.approx(1, abs=1e-5)
    assert motion_fidelity(moved(own[:, ::-1]), moved(own)) < 1 - 1e-3, "backwards"
    assert motion_fidelity(moved(-own), moved(own)) < 1 - 1e-3, "the other way"
    assert motion_fidelity(moved(other), moved(own)) == pytest.approx(value, abs=1e-5), "symmetric"
    shift, order = np.float32([0.7, -0.4]), np.random.default_rng(seed).permutation(len(own))
    assert motion_fidelity(moved(own + shift), moved(other)) == pytest.approx(value, abs=1e-3)
    assert motion_fidelity(moved(2 * own), moved(other)) == pytest.approx(value, abs=1e-5)
    assert motion_fidelity(moved(own[order]), moved(other)) == pytest.approx(value, abs=1e-5)


def test_clips_of_other_lengths_are_refused() -> None:
    with pytest.raises(AnaMoDiffError, match="equally many frames, got 3 and 2"):
        motion_fidelity(tracklets(RIGHT), tracklets(RIGHT[:2]))
    with pytest.raises(AnaMoDiffError, match="at least 2 frames"):
        motion_fidelity(tracklets(RIGHT[:1]), tracklets(RIGHT[:1]))


def test_pck_by_hand() -> None:
    truth = torch.zeros(2, 3, 2)
    joints = truth.clone()
    joints[0, 0] = torch.tensor([0.09, 0.0])  # within a tenth of 1
    joints[0, 1] = torch.tensor([0.08, 0.08])  # 0.113
    joints[1, 0] = torch.tensor([0.0, 0.19])  # within a tenth of 2
    joints[1, 2] = torch.tensor([9.0, 9.0])  # does not count
    counted = torch.tensor([[True, True, True], [True, True, False]])
    assert pck(joints, truth, counted, torch.tensor([1.0, 2.0])) == pytest.approx(4 / 5)
    assert pck(truth, truth, counted, torch.tensor([1.0, 2.0])) == 1
    # A frame without a body is left out, and joints that the truth lacks.
    assert pck(joints, truth, counted, torch.tensor([1.0, 0.0])) == pytest.approx(2 / 3)
    truth[0, 1] = math.nan
    assert pck(joints, truth, counted, torch.tensor([1.0, 0.0])) == 1
    assert math.isnan(pck(joints, truth, counted, torch.zeros(2)))


def test_the_longer_side_of_the_body() -> None:
    frames = torch.ones(3, 3, 64, 64)
    frames[0, :, 20:36, 8:40] = -0.8
    frames[1, :, 4:60, 8:40] = -0.8
    # Half of the picture's side is 1.
    assert body_sides(frames).tolist() == pytest.approx([32 / 32, 56 / 32, 0])
