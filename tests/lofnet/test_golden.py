"""The detector, adaptation and flow against first-order-model's own numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.testing import assert_close

from anamodiff.lofnet.adapt import adapt_points
from anamodiff.lofnet.flow import DenseMotion
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.warp import warp

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def reference(golden: Path) -> tuple[dict[str, Tensor], dict[str, dict]]:
    with safe_open(golden / "fomm_lofnet.safetensors", framework="pt") as file:
        numbers = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    parts = ("kp_detector", "dense_motion")
    return numbers, {part: json.loads(metadata[part]) for part in parts}


def part_of(numbers: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix)}


def points_of(numbers: dict[str, Tensor], name: str) -> KeyPoints:
    return KeyPoints(numbers[f"{name}_value"], numbers[f"{name}_jacobian"])


@torch.no_grad()
def test_key_points_and_jacobians(reference) -> None:
    numbers, config = reference
    detector = KeypointDetector(**config["kp_detector"]).eval()
    detector.load_state_dict(part_of(numbers, "kp_detector."), strict=True)
    for name in ("source", "driving"):
        found = detector(numbers[name])
        assert_close(found.value, numbers[f"{name}_value"], **CLOSE)
        assert_close(found.jacobian, numbers[f"{name}_jacobian"], **CLOSE)


def test_adaptation(reference) -> None:
    numbers, _ = reference
    driving = points_of(numbers, "driving")
    adapted = adapt_points(driving, driving[0], points_of(numbers, "source"))
    assert_close(adapted.value, numbers["adapted_value"], **CLOSE)
    assert_close(adapted.jacobian, numbers["adapted_jacobian"], **CLOSE)


@torch.no_grad()
def test_masks_flow_and_warped_latent(reference) -> None:
    numbers, config = reference
    network = DenseMotion(**config["dense_motion"], align_corners=False).eval()
    network.load_state_dict(part_of(numbers, "dense_motion_network."), strict=True)
    adapted, source = points_of(numbers, "adapted"), points_of(numbers, "source").expand(4)
    latent = numbers["latent"]
    motion = network(latent.expand(4, -1, -1, -1), adapted, source)
    assert_close(motion.mask, numbers["mask"], **CLOSE)
    assert_close(motion.flow, numbers["deformation"], **CLOSE)
    warped = warp(latent, motion.flow, align_corners=False, padding_mode="zeros")
    assert_close(warped, numbers["warped"], **CLOSE)


def test_mgif_detector_has_the_published_names_and_shapes(golden: Path) -> None:
    shapes = json.loads((golden / "fomm_mgif_kp_detector_shapes.json").read_text())
    detector = KeypointDetector(
        block_expansion=32, num_kp=10, num_channels=3, max_features=1024, num_blocks=5,
        temperature=0.1, estimate_jacobian=True, scale_factor=0.25, single_jacobian_map=True, pad=0,
    )  # fmt: skip
    assert {name: list(t.shape) for name, t in detector.state_dict().items()} == shapes
