"""Trackers: optical flow finds how things really moved, joints are found once, places are right."""

import numpy as np
import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures import ground
from anamodiff.evaluation import tracklets as module
from anamodiff.evaluation.motion import motion_fidelity
from anamodiff.evaluation.pairs import drawn_pairs, known_joints
from anamodiff.evaluation.tracklets import PointTracker, Tracklets, follow_flow
from anamodiff.video.foreground import foreground_mask
from anamodiff.video.letterbox import from_pixels


@pytest.fixture(scope="module")
def pair() -> creatures.Pair:
    return creatures.draw_pair(
        7020, source_species="giraffe", driving_species="horse", motion="jump", frames=6
    )


@pytest.fixture(scope="module")
def tracker() -> PointTracker:
    return PointTracker.load()


def checked(left: int, top: int, colour: float = 0.0, frames: int = 1) -> torch.Tensor:
    """White frames with a square of 40 pixels that has a pattern to follow."""
    lot = np.random.default_rng(0)
    coarse = torch.from_numpy(lot.uniform(-0.9, 0.2, (1, 3, 8, 8))).float()
    pattern = torch.nn.functional.interpolate(coarse, size=40, mode="bilinear") + colour
    clip = torch.ones(frames, 3, 128, 128)
    clip[:, :, top : top + 40, left : left + 40] = pattern
    return clip


def moving(dx: int, dy: int, **look: float) -> torch.Tensor:
    return torch.cat([checked(40 + dx * f, 40 + dy * f, **look) for f in range(5)])


def test_flow_follows_a_square(tracker: PointTracker) -> None:
    found = follow_flow(moving(3, -2))
    assert found.tracker == "DIS optical flow" and 100 < len(found.places) < 400
    steps = np.diff(found.places, axis=1)
    kept = np.isfinite(steps).all(axis=(1, 2))
    assert kept.mean() > 0.8
    # Of a picture of 128 pixels, [-1, 1] wide.
    assert np.median(steps[kept], axis=(0, 1)) == pytest.approx([3 / 64, -2 / 64], abs=0.004)
    inside = (found.places[:, 0] + 1) * 63.5
    assert inside.min() > 38 and inside.max() < 81, "points lie on the foreground"


def test_flow_has_no_part_in_where_things_are_and_how_they_look() -> None:
    right = follow_flow(moving(3, 0))
    elsewhere = follow_flow(torch.roll(moving(3, 0), (20, 10), dims=(2, 3)))
    assert motion_fidelity(right, right) == pytest.approx(1)
    assert motion_fidelity(elsewhere, right) > 0.97
    assert motion_fidelity(follow_flow(moving(3, 0, colour=0.3)), right) > 0.97
    assert motion_fidelity(follow_flow(moving(-3, 0)), right) < -0.9
    assert abs(motion_fidelity(follow_flow(moving(0, 3)), right)) < 0.3


def test_what_does_not_move_is_still() -> None:
    still = follow_flow(checked(40, 40, frames=4))
    assert motion_fidelity(still, follow_flow(moving(3, 0)[:4])) == 0
    blank = follow_flow(torch.ones(4, 3, 128, 128))
    assert blank.places.shape == (0, 4, 2)
    assert motion_fidelity(blank, follow_flow(moving(3, 0)[:4])) == 0


def test_flow_follows_a_body_that_leaps() -> None:
    leaping = torch.cat([checked(20 + 16 * f, 70 - 14 * f) for f in range(4)])
    found = follow_flow(leaping)
    assert np.isfinite(found.places).all(axis=(1, 2)).mean() > 0.7, "20 pixels a frame"
    steps = np.nanmedian(np.diff(found.places, axis=1), axis=(0, 1))
    assert steps == pytest.approx([16 / 64, -14 / 64], abs=0.01)


def test_points_that_vanish_are_lost() -> None:
    clip = moving(3, 0)
    clip[2:] = 1
    places = follow_flow(clip).places
    assert np.isfinite(places[:, :2]).all(axis=-1).mean() > 0.9
    assert np.isnan(places[:, 2:]).all()


def test_who_enters_later_is_followed_from_there() -> None:
    clip = moving(3, 0)
    clip[:2] = 1
    found = follow_flow(clip)
    assert len(found.places) > 100 and np.isnan(found.places[:, :2]).all()
    assert np.isfinite(found.places[:, 2:]).all(axis=-1).mean() > 0.9
    whole = follow_flow(moving(3, 0))
    assert motion_fidelity(found, whole) > 0.4, "half of the steps, the rest unseen"


@pytest.mark.parametrize("kind", ["flow", "joints"])
def test_a_drawn_clip_is_followed_much_as_its_exact_joints_move(
    kind: str, pair: creatures.Pair, tracker: PointTracker
) -> None:
    found = tracker.follow(from_pixels(pair.truth.frames), kind)
    exact = Tracklets.of_joints(pair.truth.skeleton)
    assert exact.tracker == "exact joints" and exact.places.shape == (22, 6, 2)
    right = motion_fidelity(found, exact)
    assert right > 0.8, "also in a jump that takes six frames"
    backwards = Tracklets(found.places[:, ::-1], found.tracker)
    assert motion_fidelity(backwards, exact) < right - 0.3
    assert motion_fidelity(found, Tracklets.of_joints(pair.driving.skeleton)) > 0.75


def test_joints_are_found_once_for_each_clip(
    pair: creatures.Pair, tracker: PointTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = PointTracker(tracker.detector, "joints")
    calls = []
    detect = counted.detector.detect
    monkeypatch.setattr(
        counted.detector, "detect", lambda frames: calls.append(len(frames)) or detect(frames)
    )
    frames = from_pixels(pair.truth.frames[:2])
    first = counted.joints(frames)
    assert counted.joints(frames.clone()) is first
    counted.follow(frames)
    assert calls == [2]
    monkeypatch.setattr(module, "KEPT_CLIPS", 1)
    for shade in (0.1, 0.2, 0.3):
        counted.joints(frames - shade)
    assert counted.joints(frames) is not first, "only the last few are remembered"
    assert len(counted._found) == 2


def test_joints_are_found_on_a_coloured_ground_as_on_white(
    pair: creatures.Pair, tracker: PointTracker
) -> None:
    drawn = pair.truth
    white = tracker.joints(from_pixels(ground.on_ground(drawn, (255, 255, 255))[:2]))
    blue = tracker.joints(from_pixels(ground.on_ground(drawn, (90, 120, 250))[:2]))
    apart = (white.place - blue.place).norm(dim=-1)
    assert apart.median() < 0.02


def test_drawn_pairs_know_their_joints(tmp_path) -> None:
    found = list(drawn_pairs(tmp_path, limit=3))
    for pair in found:
        joints = pair.joints
        assert joints is not None and len(joints.driving) == len(joints.truth) == 10
        assert np.isfinite(Tracklets.of_joints(joints.truth).places).all()
        chosen = joints.at((0, 5), (1, 1))
        assert (chosen.driving[1] == joints.driving[5]).all()
        assert (chosen.named[0] == joints.named[1]).all() or np.isnan(joints.named).any()


def test_letters_have_joints_of_their_own() -> None:
    drawn = creatures.draw_pair(
        7000, source_species="letter m", driving_species="fox", motion="walk", frames=3, size=32
    )
    joints = known_joints(drawn, at_a_distance=False)
    assert np.isnan(joints.named).all() and not joints.visibility.any()
    assert np.isfinite(joints.truth).all() and joints.driving.shape == (3, 22, 2)


def test_outdoors_joints_are_where_the_truth_shows_them(tmp_path) -> None:
    (pair,) = drawn_pairs(tmp_path, "creatures-outdoors", limit=1)
    _, _, truth = pair.read(10, 160)
    mask = foreground_mask(truth.frames, thin=True).numpy()
    assert pair.joints is not None
    seen = pair.joints.visibility == creatures.SEEN
    column, row = ((pair.joints.named + 1) / 2 * 159).round().astype(int)[seen].T
    frame = np.nonzero(seen)[0]
    assert mask[frame, row, column].mean() > 0.9
