"""The first order model against its public source's numbers and shapes."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.testing import assert_close

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.tps_flow import OccludedFlow
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.warp import identity_grid


def test_names_and_shapes_are_the_published_ones(golden: Path) -> None:
    generator = json.loads((golden / "fomm_generator_shapes.json").read_text())["shapes"]
    detector = json.loads((golden / "fomm_mgif_kp_detector_shapes.json").read_text())
    with torch.device("meta"):
        model = FOMM()
    for name, wanted in (generator | {"kp_detector": detector}).items():
        state = getattr(model, name).state_dict()
        assert {key: list(value.shape) for key, value in state.items()} == wanted, name


def test_generator_and_occlusion_are_the_reference_s(golden: Path) -> None:
    file = golden / "fomm_generator.safetensors"
    with safe_open(file, "pt") as opened:
        config = json.loads(opened.metadata()["config"])
    numbers = load_file(file)
    model = FOMM(64, detector={**_PART, "temperature": 0.1}, **config).eval()
    head = "generator."
    state = {k.removeprefix(head): v for k, v in numbers.items() if k.startswith(head)}
    model.generator.load_state_dict(state)
    driving, source = (
        KeyPoints(numbers[value], numbers[jacobian])
        for value, jacobian in (
            ("driving", "driving_jacobian"), ("source_points", "source_jacobian"),
        )
    )  # fmt: skip
    with torch.no_grad():
        flow = model.flow(numbers["source"], driving, source)
        painted = model.paint(numbers["source"], driving, source)
    assert_close(flow.masks, numbers["masks"], atol=1e-4, rtol=0)
    # The flow that is blended where it is computed, not resized.
    assert_close(flow.flow, numbers["flow"], atol=1e-4, rtol=0)
    assert_close(flow.occlusions[0], numbers["occlusion"], atol=1e-4, rtol=0)
    assert_close(painted.deformed, numbers["deformed"], atol=1e-4, rtol=0)
    assert_close(painted.frames, numbers["frames"], atol=1e-4, rtol=0)


def test_equal_points_do_not_move(tiny_fomm: FOMM) -> None:
    frames = torch.rand(2, 3, 32, 32)
    points = tiny_fomm.points(frames)
    flow = tiny_fomm.flow(frames, points, points)
    assert_close(flow.flow, identity_grid(8, 8).expand(2, -1, -1, -1), atol=1e-4, rtol=0)
    assert_close(tiny_fomm.paint(frames, points, points).deformed, frames, atol=1e-4, rtol=0)


def test_nothing_comes_through_where_all_is_hidden(tiny_fomm: FOMM) -> None:
    frames = torch.rand(2, 3, 32, 32)
    still, masks = identity_grid(8, 8).expand(2, -1, -1, -1), torch.ones(2, 1, 8, 8)
    hidden = OccludedFlow(still, masks, [torch.zeros(2, 1, 8, 8)])
    made = tiny_fomm.generator(frames, hidden).frames
    assert_close(made[0], made[1])
    seen = OccludedFlow(still, masks, [torch.ones(2, 1, 8, 8)])
    made = tiny_fomm.generator(frames, seen).frames
    assert (made[0] - made[1]).abs().max() > 1e-4


_PART = {"block_expansion": 4, "max_features": 8, "num_blocks": 2, "scale_factor": 0.25}
