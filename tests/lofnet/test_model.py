"""The network as a whole: shapes, what a new one does, saving, what is refused."""

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.flow import DenseMotion, invert_2x2, local_motions
from anamodiff.lofnet.hourglass import upsample_conv
from anamodiff.lofnet.keypoints import AntiAliasDownsample, KeypointDetector, KeyPoints
from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from anamodiff.resources import find
from anamodiff.warp import identity_grid

CONFIG = {
    "frame_size": 32,
    "detector": {
        "block_expansion": 4, "num_kp": 5, "num_channels": 3, "max_features": 16, "num_blocks": 2,
        "temperature": 0.1, "scale_factor": 0.5, "single_jacobian_map": True,
    },
    "dense_motion": {
        "block_expansion": 4, "num_blocks": 2, "max_features": 16, "num_kp": 5, "num_channels": 4,
    },
}  # fmt: skip


@pytest.fixture
def lofnet() -> LOFNet:
    torch.manual_seed(0)
    return build_lofnet(CONFIG).eval()


@torch.no_grad()
def test_shapes_and_broadcast(lofnet: LOFNet) -> None:
    frames = torch.rand(6, 3, 48, 48) * 2 - 1
    latents = torch.randn(6, 4, 16, 16)
    points = lofnet.points(frames)
    assert points.value.shape == (6, 5, 2) and points.jacobian.shape == (6, 5, 2, 2)
    assert points.value.abs().max() <= 1
    motion = lofnet.flow(latents[:1], points, points[0])
    assert motion.flow.shape == (6, 16, 16, 2) and motion.mask.shape == (6, 6, 16, 16)
    assert_close(motion.mask.sum(dim=1), torch.ones(6, 16, 16))
    one = lofnet.flow(latents[:1], points[3], points[0])
    assert_close(one.flow[0], motion.flow[3])


@torch.no_grad()
def test_equal_points_give_the_identity_flow(lofnet: LOFNet) -> None:
    points = lofnet.points(torch.rand(1, 3, 32, 32))
    flow = lofnet.flow(torch.randn(1, 4, 16, 16), points, points).flow
    assert_close(flow[0], identity_grid(16, 16), atol=1e-5, rtol=0)


def test_local_motion_is_the_affine_one_round_the_point() -> None:
    driving = KeyPoints(torch.tensor([[[0.5, 0.0]]]), torch.eye(2).expand(1, 1, 2, 2))
    source = KeyPoints(
        torch.tensor([[[-0.5, 0.25]]]), torch.diag(torch.tensor([2.0, 1.0]))[None, None]
    )
    motions = local_motions(driving, source, 5, 5)
    assert_close(motions[0, 0], identity_grid(5, 5))
    assert_close(motions[0, 1, 2, 3], torch.tensor([-0.5, 0.25]))  # the point itself
    assert_close(motions[0, 1, 2, 4], torch.tensor([0.5, 0.25]))  # stretched twofold along x
    shift = local_motions(KeyPoints(driving.value), KeyPoints(source.value), 5, 5)
    assert_close(shift[0, 1], identity_grid(5, 5) + torch.tensor([-1.0, 0.25]))


def test_inverse_of_flat_jacobians_is_finite() -> None:
    regular = torch.randn(10, 2, 2, generator=torch.Generator().manual_seed(0))
    assert_close(invert_2x2(regular), torch.linalg.inv(regular), atol=1e-4, rtol=1e-4)
    flat = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert invert_2x2(flat).isfinite().all()


def test_downsampling_by_strides_equals_blurring_whole_and_picking() -> None:
    down = AntiAliasDownsample(3, 0.25)
    assert down.weight.shape == (3, 1, 13, 13)
    x = torch.rand(1, 3, 32, 32)
    blurred = torch.nn.functional.conv2d(x, down.weight, padding=6, groups=3)
    assert_close(down(x), blurred[..., ::4, ::4])


@pytest.mark.parametrize("size", [(5, 4), (13, 12)], ids=["too few to fold", "folded"])
def test_folded_convolution_equals_doubling_first(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=generator)
    weight, bias = torch.randn(6, 3, 3, 3, generator=generator), torch.arange(6.0)
    doubled = torch.nn.functional.interpolate(x, scale_factor=2)
    expected = torch.nn.functional.conv2d(doubled, weight, bias, padding=1)
    assert_close(upsample_conv(x, weight, bias), expected, atol=1e-5, rtol=1e-5)


def test_scaled_dense_motion_gives_a_flow_of_the_latents_size() -> None:
    network = DenseMotion(4, 2, 16, num_kp=3, num_channels=4, scale_factor=0.5).eval()
    points = KeyPoints(torch.rand(1, 3, 2))
    motion = network(torch.randn(1, 4, 32, 32), points, points)
    assert motion.flow.shape == (1, 32, 32, 2) and motion.mask.shape == (1, 4, 16, 16)
    assert_close(motion.flow[0], identity_grid(32, 32), atol=1e-5, rtol=0)


def test_a_new_detector_predicts_identity_jacobians() -> None:
    detector = KeypointDetector(4, 5, 3, 16, 2, 0.1, scale_factor=0.5).eval()
    found = detector(torch.rand(2, 3, 32, 32))
    assert_close(found.jacobian, torch.eye(2).expand(2, 5, 2, 2))
    assert (
        KeypointDetector(4, 5, 3, 16, 2, 0.1, estimate_jacobian=False)(
            torch.rand(1, 3, 16, 16)
        ).jacobian
        is None
    )


def test_key_points_index_and_expand() -> None:
    points = KeyPoints(torch.arange(12.0).reshape(3, 2, 2), torch.zeros(3, 2, 2, 2))
    assert len(points) == 3 and len(points[1]) == 1 and len(points[1:]) == 2
    assert_close(points[-1].value, points.value[2:])
    assert len(points[0].expand(4)) == 4
    assert points.to(torch.float64).jacobian.dtype == torch.float64


@torch.no_grad()
def test_save_and_load(lofnet: LOFNet, tmp_path: Path) -> None:
    lofnet.detector.predictor.encoder.down_blocks[0].norm.running_mean.fill_(0.3)
    again = LOFNet.load(lofnet.save(tmp_path / "a" / "b"))
    assert again.config == lofnet.config and not again.training
    frames = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.points(frames).value, lofnet.points(frames).value)


def test_unusable_folders_and_sizes_are_refused(lofnet: LOFNet, tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="lacks lofnet.json and lofnet.safetensors"):
        LOFNet.load(tmp_path)
    folder = lofnet.save(tmp_path / "cut")
    weights = folder / "lofnet.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AnaMoDiffError, match="expected whole LOFNet files"):
        LOFNet.load(folder)
    folder = lofnet.save(tmp_path / "other")
    other = CONFIG | {"detector": CONFIG["detector"] | {"num_kp": 6}}
    (folder / "lofnet.json").write_text(json.dumps(other))
    with pytest.raises(AnaMoDiffError, match="expected whole LOFNet files"):
        LOFNet.load(folder)
    (folder / "lofnet.json").write_text(json.dumps(CONFIG | {"frame_sise": 64}))
    with pytest.raises(AnaMoDiffError, match="did you mean network.frame_size.*train or fetch"):
        LOFNet.load(folder)
    with pytest.raises(AnaMoDiffError, match="multiples of 4, got 18x18"):
        lofnet.detector(torch.rand(1, 3, 36, 36))


def changed(part: str, **keywords: object) -> dict:
    return CONFIG | {part: CONFIG[part] | keywords}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "with detector and dense_motion, got: 'detector'"),
        ({"detector": CONFIG["detector"]}, "with detector and dense_motion, got: 'dense_motion'"),
        (CONFIG | {"detector": 3}, "with detector and dense_motion, got: 'int' object is not"),
        (CONFIG | {"dense_motion": {"num_kp": 5}}, "missing .* 'block_expansion'"),
        (CONFIG | {"detecter": {}}, "setting 'network.detecter'; did you mean network.detector"),
        (CONFIG | {"frame_size": "32"}, "network.frame_size: expected a whole number .*, got '32'"),
        (changed("detector", num_kps=5), "'network.detector.num_kps'; did you mean .*num_kp"),
        (changed("detector", temperature=0), "network.detector.temperature: .* above 0, got 0"),
        (changed("dense_motion", dropuot=0.1), "'network.dense_motion.dropuot'; did .*dropout"),
        (changed("dense_motion", num_channels=0), "num_channels: .* of at least 1, got 0"),
    ],
)
def test_wrong_configurations_are_refused_in_one_line(config: dict, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        build_lofnet(config)
    assert "\n" not in str(caught.value)


def test_none_stands_for_the_default() -> None:
    given = changed("dense_motion", dropout=None) | {"motion": None, "frame_size": None}
    built = build_lofnet(given).config
    assert (built["motion"], built["frame_size"]) == ("affine", 256)
    assert built["dense_motion"]["dropout"] == 0


def test_the_mini_configuration_is_the_shipped_network_s() -> None:
    with torch.device("meta"):
        built = build_lofnet(mini_config()).config
    assert built == LOFNet.load(find("checkpoints/mini/lofnet")).config
    other = mini_config(frame_size=64, latent_channels=5)
    assert (other["frame_size"], other["dense_motion"]["num_channels"]) == (64, 5)
