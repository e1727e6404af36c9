"""Thin-plate splines as motions: against TPS Motion's numbers, where points degenerate, in use."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from anamodiff.cli import compose as config
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.adapt import adapt_points
from anamodiff.lofnet.flow import drop_motions
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet, build_detector, build_lofnet
from anamodiff.lofnet.tps import SplineMotion, spline_motions
from anamodiff.lofnet.training.cache import cache_latents
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.lofnet.training.report import measure
from anamodiff.lofnet.training.train import train_lofnet
from anamodiff.warp import identity_grid

HOURGLASS = {
    "block_expansion": 8, "num_kp": 10, "num_channels": 3, "max_features": 16, "num_blocks": 2,
    "temperature": 0.1, "estimate_jacobian": False, "scale_factor": 0.5,
}  # fmt: skip
MOTION = {
    "block_expansion": 8, "num_blocks": 2, "max_features": 16, "num_kp": 10, "num_channels": 4,
    "dropout": 0.3,
}  # fmt: skip
TPS = {"motion": "tps", "frame_size": 32, "detector": HOURGLASS, "dense_motion": MOTION}
RESNET = TPS | {"detector": {"encoder": "resnet18", "num_kp": 10, "num_channels": 3}}
AFFINE = TPS | {"motion": "affine"}


def random_points(*shape: int, seed: int = 0) -> Tensor:
    return 1.6 * torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed)) - 0.8


def lofnet_of(network: dict) -> LOFNet:
    torch.manual_seed(0)
    return build_lofnet(network).eval()


# The splines


def test_splines_are_the_reference_s(golden: Path) -> None:
    numbers = load_file(golden / "tps_transforms.safetensors")
    height, width = numbers["grid"].shape[2:4]
    found = spline_motions(numbers["driving"], numbers["source"], height, width)
    assert_close(found, numbers["grid"], atol=1e-4, rtol=0)


def test_the_motions_take_driving_to_source_points() -> None:
    generator = torch.Generator().manual_seed(3)
    driving = random_points(2, 10)
    source = driving + 0.05 * torch.randn(2, 10, 2, generator=generator)
    motions = SplineMotion(**MOTION).local_motions(KeyPoints(driving), KeyPoints(source), 65, 65)
    assert motions.shape == (2, 3, 65, 65, 2)
    assert_close(motions[:, 0], identity_grid(65, 65).expand(2, -1, -1, -1))
    for group, points in enumerate((slice(0, 5), slice(5, 10))):
        motion = motions[:, group + 1].movedim(-1, 1)  # b xy h w
        met = torch.nn.functional.grid_sample(motion, driving[:, None, points], align_corners=True)
        assert (met[:, :, 0].mT - source[:, points]).abs().max() < 0.03  # the ridge smooths


def line(offset: float, seed: int) -> Tensor:
    """Many groups of five points that lie on a line but for `offset`."""
    generator = torch.Generator().manual_seed(seed)
    along = 1.4 * torch.rand(4000, 1, 5, 1, generator=generator) - 0.7
    way = torch.nn.functional.normalize(torch.randn(4000, 1, 1, 2, generator=generator), dim=-1)
    return along * way + offset * torch.randn(4000, 1, 5, 2, generator=generator)


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(1, 1, 5, 2),
        torch.full((1, 1, 5, 2), 0.7),
        torch.tensor([0.5, 0.5, -0.5, -0.5, 0.5])[None, None, :, None].expand(1, 1, 5, 2),
        line(0, 0), line(0.003, 1), line(0.01, 2), line(0.03, 3), line(0.1, 4),
    ],
    ids=["one place", "one other place", "two places", *("line " * 5).split()],
)  # fmt: skip
def test_degenerate_points_move_little_and_have_gradients(points: Tensor) -> None:
    generator = torch.Generator().manual_seed(9)
    driving = points.clone().requires_grad_()
    source = (points + 0.05 * torch.randn(points.shape, generator=generator)).requires_grad_()
    motions = spline_motions(driving, source, 4, 4)
    # Solved plainly, splines of points within 0.03 of a line throw places 1e5 frames away.
    assert motions.abs().max() < 100
    motions.square().mean().backward()
    assert driving.grad.isfinite().all() and source.grad.isfinite().all()


# The masks


@torch.no_grad()
def test_equal_points_give_the_identity_flow() -> None:
    points = KeyPoints(random_points(1, 10))
    flow = lofnet_of(TPS).flow(torch.randn(1, 4, 16, 16), points, points).flow
    assert_close(flow[0], identity_grid(16, 16), atol=1e-5, rtol=0)


def test_motions_left_out_leave_their_part_to_the_others() -> None:
    logits = torch.randn(400, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    dropped = drop_motions(logits, 0.25, generator=torch.Generator().manual_seed(1))
    again = drop_motions(logits, 0.25, generator=torch.Generator().manual_seed(1))
    assert torch.equal(dropped, again)
    gone = dropped.isinf()
    assert torch.equal(gone, gone[:, :, :1, :1].expand_as(gone))  # whole motions
    assert not gone[:, 0].any() and 0.2 < gone[:, 1:].float().mean() < 0.3
    mask = dropped.softmax(dim=1)
    assert_close(mask.sum(dim=1), torch.ones(400, 3, 3))
    assert mask[gone].max() == 0
    ratio = mask[:, 1:2] / mask[:, :1]
    kept = ~gone[:, 1:2]
    assert_close(ratio[kept], (logits[:, 1:2] - logits[:, :1]).exp()[kept])


@torch.no_grad()
def test_motions_are_left_out_while_training_only() -> None:
    lofnet = lofnet_of(TPS | {"dense_motion": MOTION | {"dropout": 0.9}})
    latents = torch.randn(64, 4, 8, 8)
    driving, source = (KeyPoints(random_points(64, 10, seed=seed)) for seed in (0, 1))
    assert (lofnet.flow(latents, driving, source).mask > 0).all()
    lofnet.train()
    masks = [
        lofnet.flow(latents, driving, source, generator=torch.Generator().manual_seed(seed)).mask
        for seed in (0, 0, 1)
    ]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert (masks[0][:, 0] > 0).all()
    assert 0.8 < (masks[0][:, 1:, 0, 0] == 0).float().mean() < 1


# The network


@pytest.mark.parametrize("network", [AFFINE, TPS, RESNET], ids=["affine", "tps", "resnet"])
@torch.no_grad()
def test_every_kind_is_saved_and_loaded(network: dict, tmp_path: Path) -> None:
    lofnet = lofnet_of(network)
    again = LOFNet.load(lofnet.save(tmp_path))
    assert json.loads((tmp_path / "lofnet.json").read_text())["motion"] == network["motion"]
    assert again.config == lofnet.config and type(again.detector) is type(lofnet.detector)
    frames, latents = torch.rand(3, 3, 40, 40) * 2 - 1, torch.randn(1, 4, 8, 8)
    flows = []
    for one in (lofnet, again):
        points = one.points(frames)
        assert points.value.shape == (3, 10, 2) and points.jacobian is None
        adapted = adapt_points(points, points[0], points[1])
        flows.append(one.flow(latents, adapted, points[1]).flow)
    assert torch.equal(*flows) and flows[0].isfinite().all()


def test_a_file_without_the_new_keys_is_affine(tmp_path: Path) -> None:
    folder = lofnet_of(AFFINE).save(tmp_path)
    old = json.loads((folder / "lofnet.json").read_text())
    del old["motion"], old["dense_motion"]["dropout"]
    (folder / "lofnet.json").write_text(json.dumps(old))
    assert LOFNet.load(folder).config == AFFINE | lofnet_of(old).config
    assert LOFNet.load(config.find("checkpoints/mini") / "lofnet").config["motion"] == "affine"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"motion": "rigid"}, "network.motion: .* affine, tps, got 'rigid'"),
        ({"detector": HOURGLASS | {"encoder": "vgg"}}, "encoder: .* hourglass, resnet18, got 'v"),
        ({"detector": HOURGLASS | {"num_kp": 15}}, "the same num_kp of .*, got 15 and 10"),
        ({"dense_motion": MOTION | {"num_kp": 12}}, "in groups of 5 for tps motions, got 12"),
        (
            {"dense_motion": MOTION | {"dropout": 1}},
            "dropout: .* at least 0 and below 1, got 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        build_lofnet(TPS | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "splines"), [("mini_tps", 4), ("mgif_tps", 10)])
@torch.no_grad()
def test_the_networks_of_the_configs(name: str, splines: int) -> None:
    network = config.plain(config.compose("train_lofnet", ["data=a", f"network={name}"]))["network"]
    with torch.device("meta"):
        lofnet = build_lofnet(network)
    assert isinstance(lofnet.dense_motion, SplineMotion)
    assert lofnet.dense_motion.mask.out_channels == splines + 1
    detector = build_detector(network["detector"]).eval()
    points = detector(torch.rand(1, 3, lofnet.frame_size, lofnet.frame_size))
    assert points.value.shape == (1, 5 * splines, 2) and points.jacobian is None


@pytest.mark.parametrize("network", [AFFINE, TPS, RESNET], ids=["affine", "tps", "resnet"])
@torch.no_grad()
def test_coordinates_stay_in_32_bits_under_autocast(network: dict) -> None:
    lofnet = lofnet_of(network)
    frames = torch.rand(2, 3, 32, 32) * 2 - 1
    source, driving = (KeyPoints(random_points(2, 10, seed=seed)) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        points = lofnet.points(frames)
        motion = lofnet.flow(torch.randn(2, 4, 16, 16), driving, source)
    for found in (points.value, motion.flow, motion.mask):
        assert found.dtype == torch.float32 and not torch.equal(found, found.bfloat16().float())


# In use


@pytest.fixture
def clips(folder: Path, backbone, tmp_path: Path) -> LatentClips:
    return cache_latents(folder, backbone=backbone, cache=tmp_path / "latents", progress=False)


QUIET = {"progress": False, "held_out": 0.0, "warmup": 2, "batch_size": 8}


def test_training_learns_to_follow_the_disc(clips: LatentClips, backbone, tmp_path: Path) -> None:
    output = train_lofnet(
        clips, backbone=backbone, output=tmp_path / "run", config=TPS, steps=60, lr=3e-3,
        average=0.9, equivariance=1.0, log_every=10, **QUIET,
    )  # fmt: skip
    assert measure(LOFNet.load(output), clips)["held_out_ratio"] < 0.7
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["equivariance_value"] > 0 and lines[0]["equivariance_jacobian"] == 0


def test_resumed_training_leaves_out_the_same_motions(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(step: int, figures: dict[str, float]) -> None:
        if step == 3:
            raise Killed

    options = {"backbone": backbone, "config": TPS, "steps": 4, "save_every": 2, **QUIET}
    whole = train_lofnet(clips, output=tmp_path / "whole", **options)
    with pytest.raises(Killed):
        train_lofnet(clips, output=tmp_path / "cut", on_step=kill, **options)
    cut = train_lofnet(clips, output=tmp_path / "cut", resume=True, **options)
    once, twice = LOFNet.load(whole).state_dict(), LOFNet.load(cut).state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    with pytest.raises(AnaMoDiffError, match="same LOFNet configuration"):
        train_lofnet(
            clips, output=tmp_path / "cut", resume=True, **(options | {"config": AFFINE})
        )  # fmt: skip


def test_a_run_from_before_the_new_keys_is_resumed(
    clips: LatentClips, backbone, tmp_path: Path
) -> None:
    affine = AFFINE | {"dense_motion": MOTION | {"dropout": 0.0}}
    options = {"backbone": backbone, "output": tmp_path / "run", "config": affine, **QUIET}
    train_lofnet(clips, steps=1, **options)
    state = torch.load(tmp_path / "run" / "training.pt", weights_only=True)
    del state["config"]["motion"], state["config"]["dense_motion"]["dropout"]
    torch.save(state, tmp_path / "run" / "training.pt")
    train_lofnet(clips, steps=2, resume=True, **options)


def test_the_pipeline_warps_with_splines(tiny_backbone_folder: Path, drawn_clips) -> None:
    from anamodiff.backbone.model import Backbone
    from anamodiff.run.motion_transfer import MotionTransfer
    from anamodiff.video.clip import read_clip

    backbone = Backbone.load(tiny_backbone_folder, device="cpu")
    mover = MotionTransfer(backbone, lofnet_of(TPS))
    source, driving = (read_clip(clip, frames=3, size=64) for clip in drawn_clips)
    made = mover.method.warp(source.frames, driving.frames, adaptation=mover.resolve().adaptation)
    assert made.warped.shape == (3, 4, 16, 16) and made.warped.isfinite().all()
    # The first frame's adapted points are the source's own: nothing moves.
    assert_close(made.flow[0], identity_grid(16, 16), atol=1e-4, rtol=0)
