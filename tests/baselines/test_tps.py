"""TPS Motion against its public source's numbers and shapes, and what must hold for any weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from anamodiff.baselines.inpainting import InpaintingNetwork
from anamodiff.baselines.tps import TPSMotion
from anamodiff.baselines.tps_flow import BackgroundPredictor, OccludedFlow, SplineFlow
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.warp import identity_grid


def part(numbers: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one network."""
    head = f"{name}."
    return {k.removeprefix(head): v for k, v in numbers.items() if k.startswith(head)}


@pytest.fixture(scope="module")
def reference(golden: Path) -> tuple[TPSMotion, dict[str, Tensor]]:
    file = golden / "tps_motion.safetensors"
    with safe_open(file, "pt") as opened:
        config = json.loads(opened.metadata()["config"])
    numbers, model = load_file(file), TPSMotion(64, **config).eval()
    for name in ("dense_motion_network", "inpainting_network"):
        getattr(model, name).load_state_dict(part(numbers, name))
    return model, numbers


def test_names_and_shapes_are_the_published_ones(golden: Path) -> None:
    wanted = json.loads((golden / "tps_motion_shapes.json").read_text())["shapes"]
    with torch.device("meta"):
        model = TPSMotion(background=True)
    assert dict(model.named_children()).keys() == wanted.keys()
    for name, network in model.named_children():
        assert {k: list(v.shape) for k, v in network.state_dict().items()} == wanted[name], name


def test_flow_masks_and_occlusions_are_the_reference_s(
    reference: tuple[TPSMotion, dict[str, Tensor]],
) -> None:
    model, numbers = reference
    with torch.no_grad():
        found = model.dense_motion_network(
            numbers["source"], numbers["driving"], numbers["source_points"],
            background=numbers["background"],
        )  # fmt: skip
    assert_close(found.flow, numbers["flow"], atol=2e-4, rtol=0)
    assert_close(found.masks, numbers["masks"], atol=2e-4, rtol=0)
    for number, mask in enumerate(found.occlusions):
        assert_close(mask, numbers[f"occlusion.{number}"], atol=2e-4, rtol=0)


def test_inpainting_is_the_reference_s(reference: tuple[TPSMotion, dict[str, Tensor]]) -> None:
    model, numbers = reference
    masks = [numbers[f"occlusion.{i}"] for i in range(4)]
    with torch.no_grad():
        found = model.inpainting_network(
            numbers["source"], OccludedFlow(numbers["flow"], numbers["masks"], masks)
        )
    assert_close(found.deformed, numbers["deformed"], atol=1e-5, rtol=0)
    assert_close(found.frames, numbers["frames"], atol=1e-5, rtol=0)


def test_equal_points_do_not_move(tiny_tps: TPSMotion) -> None:
    frames = torch.rand(2, 3, 32, 32)
    points = tiny_tps.points(frames)
    flow = tiny_tps.flow(frames, points, points).flow
    assert_close(flow, identity_grid(8, 8).expand(2, -1, -1, -1), atol=1e-4, rtol=0)


def test_published_splines_are_smoothed_by_their_ridge() -> None:
    points = 1.6 * torch.rand(1, 10, 2) - 0.8
    published = SplineFlow(2, 3, 4, 3, 8)
    grid = identity_grid(8, 8)
    off = (published.motions(points, points, None, 8, 8)[:, 1:] - grid).abs().max()
    assert 1e-4 < off < 0.5
    exact = SplineFlow(2, 3, 4, 3, 8, exact=True).motions(points, points, None, 8, 8)
    assert_close(exact, grid.expand(1, 3, -1, -1, -1), atol=1e-4, rtol=0)


def test_what_is_visible_and_does_not_move_is_the_source() -> None:
    torch.manual_seed(0)
    network, source = InpaintingNetwork(3, 4), torch.rand(1, 3, 32, 32)
    still = identity_grid(8, 8)[None]
    seen = [torch.ones(1, 1, size, size) for size in (4, 8, 16, 32)]
    masks = torch.ones(1, 1, 8, 8)
    assert_close(network(source, OccludedFlow(still, masks, seen)).frames, source)
    hidden = [torch.zeros_like(mask) for mask in seen]
    painted = network(source, OccludedFlow(still, masks, hidden)).frames
    assert (painted - source).abs().max() > 0.1
    # Nothing of the source is left in what is painted anew.
    assert_close(network(source.flip(-1), OccludedFlow(still, masks, hidden)).frames, painted)


def test_every_occlusion_mask_has_its_level_s_size(tiny_tps: TPSMotion) -> None:
    frames = torch.rand(1, 3, 64, 64)
    points = tiny_tps.points(frames)
    flow = tiny_tps.flow(frames, points, points)
    assert [mask.shape[-1] for mask in flow.occlusions] == [8, 16, 32, 64]
    assert tiny_tps.paint(frames, points, points).frames.shape == frames.shape


def test_the_background_begins_still_and_moves_the_flow() -> None:
    predictor = BackgroundPredictor(width=4).eval()
    frames = torch.rand(2, 3, 32, 32)
    assert_close(predictor(frames, frames.flip(-1)), torch.eye(3).expand(2, -1, -1))
    points = 1.6 * torch.rand(1, 10, 2) - 0.8
    shift = torch.eye(3)[None].clone()
    shift[:, 0, 2] = 0.25
    motions = SplineFlow(2, 3, 4, 3, 8, exact=True).motions(points, points, shift, 8, 8)
    assert_close(motions[0, 0], identity_grid(8, 8) + torch.tensor([0.25, 0]))
    assert_close(motions[0, 1], identity_grid(8, 8), atol=1e-4, rtol=0)


def test_dropped_splines_leave_the_background(tiny_tps: TPSMotion) -> None:
    frames = torch.rand(64, 3, 32, 32)
    points = KeyPoints(1.6 * torch.rand(64, 10, 2) - 0.8)
    generator = torch.Generator().manual_seed(0)
    masks = tiny_tps.dense_motion_network(
        frames, points.value, points.value, dropout=0.5, generator=generator
    ).masks
    dropped = (masks.amax(dim=(2, 3)) == 0).float().mean(dim=0)
    assert dropped[0] == 0
    assert (dropped[1:] > 0.25).all() and (dropped[1:] < 0.75).all()
    assert_close(masks.sum(1), torch.ones(64, 8, 8))
