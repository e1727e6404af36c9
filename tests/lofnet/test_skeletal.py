"""Motion by skeletons: which source frames, which start, and when key points take over."""

import logging
from dataclasses import replace

import pytest
import torch

from anamodiff import creatures
from anamodiff.creatures import JOINTS
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.metrics import foreground_iou
from anamodiff.lofnet.animate import animate
from anamodiff.lofnet.joints import Joints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.skeletal import (
    AWAY,
    COPIED,
    FAMILIAR,
    FOLDER,
    FOREIGN,
    NEAR,
    OWN,
    RULE,
    SkeletalNetworks,
    moved_alike,
    nearest_poses,
    rule_share,
    skeletal_motion,
    start_offset,
)
from anamodiff.options import AdaptationOptions
from anamodiff.resources import find
from anamodiff.video.letterbox import from_pixels
from anamodiff.warp import resize_flow, warp


@pytest.fixture(scope="module")
def networks() -> SkeletalNetworks:
    return SkeletalNetworks.load(find(FOLDER))


@pytest.fixture(scope="module")
def pair() -> creatures.Pair:
    """A cat that stands, and a horse that gallops."""
    return creatures.draw_pair(
        3, source_species="cat", driving_species="horse", motion="gallop", source_motion="idle",
        size=128, frames=5,
    )  # fmt: skip


def clips(pair: creatures.Pair) -> tuple[torch.Tensor, ...]:
    return tuple(from_pixels(getattr(pair, k).frames) for k in ("source", "driving", "truth"))


def test_the_shipped_networks_move_an_unlike_character(
    networks: SkeletalNetworks, pair: creatures.Pair
) -> None:
    source, driving, truth = clips(pair)
    found = networks.detect(source), networks.detect(driving)
    motion = skeletal_motion(
        networks, source, found, AdaptationOptions(), frames=torch.arange(5), size=(128, 128)
    )
    moved = warp(source[motion.frames], motion.flow)
    held = foreground_iou(source[:1].expand_as(truth), truth)
    assert foreground_iou(moved, truth) > max(0.7, held + 0.05)
    assert motion.visible.min() >= 0 and motion.visible.max() <= 1
    torch.testing.assert_close(motion.mask.sum(1), torch.ones(5, 128, 128))


def test_the_driving_clips_place_and_size_do_not_matter(
    networks: SkeletalNetworks, pair: creatures.Pair
) -> None:
    source, driving, _ = clips(pair)
    own, other = networks.detect(source), networks.detect(driving)
    options, frames = AdaptationOptions(), torch.arange(5)
    one = skeletal_motion(networks, source, (own, other), options, frames=frames)
    elsewhere = replace(other, place=other.place * 0.7 + 0.2)
    two = skeletal_motion(networks, source, (own, elsewhere), options, frames=frames)
    torch.testing.assert_close(
        one.poses.target, two.poses.target, atol=1e-3, rtol=0, equal_nan=True
    )


@pytest.mark.parametrize(("start", "share"), [("absolute", 0.0), ("relative", 1.0)])
def test_start_offsets(start: str, share: float) -> None:
    apart = torch.tensor([[[0.3, 0.0], [0.0, 0.01]]])
    torch.testing.assert_close(start_offset(apart, start), share * apart)


def test_by_default_only_joints_that_are_nearly_there_begin_at_the_sources_own() -> None:
    offset = start_offset(torch.tensor([[[0.001, 0.0], [NEAR, 0.0], [0.5, 0.0]]]), "auto")[0, :, 0]
    torch.testing.assert_close(
        offset, torch.tensor([OWN * 0.001, OWN * NEAR / 2, 0.0]), atol=2e-4, rtol=1e-3
    )


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_characters_of_one_build_and_pose_are_displaced_alike(side: float) -> None:
    torch.manual_seed(0)
    walk = torch.randn(1, 9, 2) * 0.3 + torch.randn(4, 9, 2) * 0.05
    walk[:, 8] = torch.nan  # a joint that the driver lacks
    other = 0.5 * walk * torch.tensor([side, 1.0]) + 0.2
    learnt = torch.zeros_like(walk)
    moved = moved_alike(walk[:1], other, learnt, apart=0.0)
    torch.testing.assert_close(moved[:, :8], COPIED * walk[:, :8], atol=1e-5, rtol=0)
    assert (moved[:, 8] == 0).all()


def test_unlike_builds_or_places_follow_retargeting() -> None:
    torch.manual_seed(0)
    own, learnt = torch.randn(1, 9, 2) * 0.3, torch.randn(4, 9, 2)
    alike = own + torch.randn(4, 9, 2) * 0.02
    stretched = alike * torch.tensor([2.5, 1.0])
    assert torch.equal(moved_alike(own, stretched, learnt, apart=0.0), learnt)
    far = moved_alike(own, alike, learnt, apart=5 * AWAY)
    torch.testing.assert_close(far, learnt, atol=0.02, rtol=0)
    half = moved_alike(own, alike, learnt, apart=AWAY)
    torch.testing.assert_close(half, (learnt + moved_alike(own, alike, learnt, 0.0)) / 2)
    none = torch.full_like(own, torch.nan)
    assert torch.equal(moved_alike(none, alike, learnt, apart=0.0), learnt)


def test_the_rule_has_a_say_where_joints_are_less_sure() -> None:
    assert rule_share(FAMILIAR) == 0 and rule_share(1.0) == 0
    assert rule_share(FOREIGN) == RULE and rule_share(0.0) == RULE
    assert rule_share((FAMILIAR + FOREIGN) / 2) == pytest.approx(RULE / 2)


def test_the_rule_keeps_the_mean_pose_and_the_drivers_directions(
    networks: SkeletalNetworks, pair: creatures.Pair
) -> None:
    source, driving, _ = clips(pair)
    own, other = networks.detect(source), networks.detect(driving)
    words = own.place, own.trust(), other.place, other.trust()
    learnt, ruled = (networks.retargeter.retarget(*words, rule=r).place for r in (0.0, 1.0))
    torch.testing.assert_close(ruled.mean(0), learnt.mean(0), atol=1e-5, rtol=0, equal_nan=True)
    knee, hock = JOINTS.index("near_knee"), JOINTS.index("near_hock")

    def swing(joints: torch.Tensor) -> torch.Tensor:
        bone = joints[:, hock] - joints[:, knee]
        return torch.diff(torch.atan2(bone[:, 1], bone[:, 0]))

    # Lengths vary with the driver's, so directions about the mean agree but for a little.
    assert (swing(ruled) - swing(other.place)).abs().max() < 0.35
    assert (swing(ruled) - swing(other.place)).abs().max() < swing(other.place).abs().max()


def test_each_pose_takes_the_nearest_source_frame_and_hardly_better_ones_are_left() -> None:
    poses = torch.tensor([[[0.0, 0.0]], [[0.5, 0.0]]])
    target = torch.tensor([[[0.1, 0.0]], [[0.245, 0.0]], [[0.255, 0.0]], [[0.4, 0.0]]])
    assert nearest_poses(target, poses).tolist() == [0, 0, 0, 1]
    assert nearest_poses(target[2:], poses).tolist() == [0, 1]  # begins with the first
    assert nearest_poses(target[3:], poses).tolist() == [1]
    assert nearest_poses(torch.full((1, 1, 2), torch.nan), poses).tolist() == [0]


def test_a_start_frame_given_by_number_is_the_only_one(
    networks: SkeletalNetworks, pair: creatures.Pair
) -> None:
    source, driving, _ = clips(pair)
    lofnet, latents = LOFNet.load(find("checkpoints/mini/lofnet")), torch.rand(5, 4, 32, 32)
    made = animate(
        lofnet, source, latents, driving, start=3, adaptation=AdaptationOptions(),
        networks=networks,
    )  # fmt: skip
    assert made.start == 3 and made.source_frames.tolist() == [3] * 5
    assert made.poses is not None and made.driving_points is None


def test_pictures_are_warped_where_frames_can_be_encoded(
    networks: SkeletalNetworks, pair: creatures.Pair
) -> None:
    source, driving, truth = clips(pair)
    lofnet, latents = LOFNet.load(find("checkpoints/mini/lofnet")), torch.rand(5, 4, 32, 32)
    seen: list[torch.Tensor] = []

    def encode(frames: torch.Tensor) -> torch.Tensor:
        seen.append(frames)
        return torch.nn.functional.avg_pool2d(frames, 4)

    made = animate(
        lofnet, source, latents, driving, adaptation=AdaptationOptions(), networks=networks,
        encode=encode,
    )  # fmt: skip
    assert seen[0].shape == source.shape and made.warped.shape == (5, 3, 32, 32)
    assert made.flow.shape == (5, 32, 32, 2) and made.visible.shape == (5, 32, 32)
    coarse = warp(source[made.frames], resize_flow(made.flow, 128, 128))
    assert foreground_iou(seen[0], truth) > foreground_iou(coarse, truth)


def test_letters_move_by_key_points_and_say_so(
    networks: SkeletalNetworks, pair: creatures.Pair, caplog: pytest.LogCaptureFixture
) -> None:
    letter = creatures.draw(
        creatures.Character.sample(1, species="letter m", background=(255, 255, 255)),
        "walk",
        frames=5,
        size=128,
    )
    lofnet, latents = LOFNet.load(find("checkpoints/mini/lofnet")), torch.rand(5, 4, 32, 32)
    with caplog.at_level(logging.INFO):
        made = animate(
            lofnet, from_pixels(letter.frames), latents, clips(pair)[1],
            adaptation=AdaptationOptions(), networks=networks,
        )  # fmt: skip
    assert made.poses is None and made.driving_points is not None
    assert "key points" in caplog.text


def test_skeletons_without_their_networks_are_refused(pair: creatures.Pair) -> None:
    lofnet = LOFNet.load(find("checkpoints/mini/lofnet"))
    with pytest.raises(AnaMoDiffError, match="leave out --lofnet"):
        animate(
            lofnet, clips(pair)[0], torch.rand(5, 4, 32, 32), clips(pair)[1],
            adaptation=AdaptationOptions(pose="skeleton"),
        )  # fmt: skip


def test_a_clip_without_a_trunk_is_not_certain() -> None:
    presence = torch.zeros(2, 22, 3)
    presence[..., 0] = 1
    assert Joints(torch.zeros(2, 22, 2), torch.ones(2, 22), presence).certainty() == 0
