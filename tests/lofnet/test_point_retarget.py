"""Learnt retargeting of key points: what the answer follows and ignores, and where it is used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.animate import WarpedIntermediate, animate
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.point_retarget import PointRetargeter
from anamodiff.lofnet.windows import OVERLAP, WINDOW
from anamodiff.options import AdaptationOptions

POINTS = 5


@pytest.fixture(scope="module")
def tiny() -> PointRetargeter:
    """A network that says something: an untrained one moves points about their mean."""
    torch.manual_seed(0)
    net = PointRetargeter(POINTS, 12, 1, 2).eval()
    torch.nn.init.normal_(net.answer.weight, std=0.05)
    return net


def clip(frames: int, seed: int = 0, points: int = POINTS) -> KeyPoints:
    """Points that wander about places of their own."""
    lot = torch.Generator().manual_seed(seed)
    rest = torch.rand(points, 2, generator=lot) - 0.5
    value = rest + 0.1 * torch.randn(frames, points, 2, generator=lot)
    return KeyPoints(value, torch.randn(frames, points, 2, 2, generator=lot))


def placed(points: KeyPoints, scale: float, shift: tuple[float, float]) -> KeyPoints:
    return KeyPoints(scale * points.value + torch.tensor(shift), points.jacobian)


def test_the_answer_follows_the_sources_place_and_size(tiny: PointRetargeter) -> None:
    source, driving = clip(3), clip(4, seed=1)
    one, error = tiny.retarget(source, driving)
    two, same = tiny.retarget(placed(source, 0.6, (0.2, -0.3)), driving)
    torch.testing.assert_close(two.value, placed(one, 0.6, (0.2, -0.3)).value)
    torch.testing.assert_close(two.jacobian, one.jacobian)
    assert error == pytest.approx(same) and error > 0


def test_the_driving_clips_place_and_size_say_nothing(tiny: PointRetargeter) -> None:
    source, driving = clip(3), clip(4, seed=1)
    one, error = tiny.retarget(source, driving)
    two, same = tiny.retarget(source, placed(driving, 1.7, (-0.1, 0.4)))
    torch.testing.assert_close(two.value, one.value)
    assert error == pytest.approx(same)


def test_one_picture_and_one_frame_are_enough(tiny: PointRetargeter) -> None:
    found, _ = tiny.retarget(clip(1), clip(1, seed=1))
    assert found.value.shape == (1, POINTS, 2) and found.jacobian.shape == (1, POINTS, 2, 2)
    at_one_place = KeyPoints(torch.zeros(1, POINTS, 2), clip(1).jacobian)
    assert tiny.retarget(at_one_place, at_one_place)[0].value.isfinite().all()


def test_an_untrained_network_repeats_the_drivers_motion() -> None:
    source, driving = clip(2), clip(5, seed=1)
    found = PointRetargeter(POINTS, 12, 1, 2).retarget(source, driving)[0].value
    moved, other = found - found.mean(0), driving.value - driving.value.mean(0)
    ratio = moved.norm() / other.norm()
    torch.testing.assert_close(moved, ratio * other, atol=1e-6, rtol=1e-4)


def test_a_long_clip_is_looked_at_in_windows_that_agree(tiny: PointRetargeter) -> None:
    frames = 3 * WINDOW + 5
    source, one = clip(2), clip(1, seed=1)
    still = KeyPoints(one.value.expand(frames, -1, -1), one.jacobian.expand(frames, -1, -1, -1))
    found = tiny.retarget(source, still)[0].value
    torch.testing.assert_close(found, found[:1].expand_as(found))
    moving = tiny.retarget(source, clip(WINDOW + OVERLAP + 1, seed=2))[0].value
    assert moving.isfinite().all() and moving.std(0).mean() > 0.01


def test_it_is_saved_beside_the_flow_network(tmp_path: Path, tiny_backbone_folder: Path) -> None:
    lofnet = LOFNet.load(tiny_backbone_folder / "lofnet")
    assert lofnet.retargeter is None
    lofnet.retargeter = PointRetargeter(lofnet.detector.config["num_kp"], 12, 1, 2)
    lofnet.save(tmp_path)
    again = LOFNet.load(tmp_path).retargeter
    assert again is not None and again.config == lofnet.retargeter.config
    LOFNet.load(tiny_backbone_folder / "lofnet").load_state_dict(
        {k: v for k, v in lofnet.state_dict().items() if not k.startswith("retargeter.")}
    )


def test_one_for_other_points_is_refused(tmp_path: Path, tiny_backbone_folder: Path) -> None:
    lofnet = LOFNet.load(tiny_backbone_folder / "lofnet")
    lofnet.save(tmp_path)
    count = lofnet.detector.config["num_kp"] + 1
    PointRetargeter(count, 12, 1, 2).save(tmp_path / "point_retargeter")
    with pytest.raises(AnaMoDiffError, match=f"{count} key points"):
        LOFNet.load(tmp_path)


def warped(folder: Path, **given: Any) -> tuple[WarpedIntermediate, Tensor]:
    """A source of three frames along four, and where the network puts the first frame's points."""
    lot = torch.Generator().manual_seed(0)
    source, driving = (torch.rand(n, 3, 64, 64, generator=lot) * 2 - 1 for n in (3, 4))
    latents = torch.randn(3, 4, 16, 16, generator=lot)
    lofnet = LOFNet.load(folder / "lofnet")
    torch.manual_seed(0)
    lofnet.retargeter = PointRetargeter(lofnet.detector.config["num_kp"], 12, 1, 2).eval()
    torch.nn.init.normal_(lofnet.retargeter.answer.weight, std=0.3)
    start = given.pop("start_frame", "first")
    options = AdaptationOptions(**given)
    made = animate(lofnet, source, latents, driving, start=start, adaptation=options)
    aim, _ = lofnet.retargeter.retarget(lofnet.points(source), lofnet.points(driving))
    return made, aim.value.detach()


def test_learnt_points_are_the_default_and_the_rule_remains(tiny_backbone_folder: Path) -> None:
    made, aim = warped(tiny_backbone_folder)
    assert made.adapted_points is not None and made.source_points is not None
    torch.testing.assert_close(made.adapted_points.value, aim, atol=1e-5, rtol=1e-4)
    ruled, _ = warped(tiny_backbone_folder, scale="hull")
    assert ruled.adapted_points is not None and ruled.source_points is not None
    torch.testing.assert_close(ruled.adapted_points.value[0], ruled.source_points.value[0])
    assert (made.adapted_points.value[0] - ruled.adapted_points.value[0]).abs().max() > 0.01


def test_a_start_frame_by_number_is_the_only_one(tiny_backbone_folder: Path) -> None:
    made, _ = warped(tiny_backbone_folder, start_frame=2)
    assert made.source_frames.tolist() == [2] * 4
    made, _ = warped(tiny_backbone_folder, sources="start")
    assert len(made.source_frames.unique()) == 1


def test_a_relative_start_opens_with_the_sources_own_frame(tiny_backbone_folder: Path) -> None:
    made, aim = warped(tiny_backbone_folder, start="relative", start_frame=1)
    assert made.adapted_points is not None and made.source_points is not None
    torch.testing.assert_close(made.adapted_points.value[:1], made.source_points.value)
    still, _ = warped(tiny_backbone_folder, motion_scale=0.0)
    assert still.adapted_points is not None
    torch.testing.assert_close(
        still.adapted_points.value, aim[:1].expand_as(aim), atol=1e-5, rtol=1e-4
    )
