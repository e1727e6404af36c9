"""Weights of the rivals: ours, published checkpoints by their shapes, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.tps import TPSMotion
from anamodiff.baselines.weights import (
    KINDS,
    is_rival,
    load_first_order,
    load_rival,
    load_tps,
    shipped,
)
from anamodiff.errors import AnaMoDiffError


def blank(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Tensors of the shapes that take no room in a file."""
    return {
        name: torch.ones((), dtype=torch.long if name.endswith("tracked") else None).expand(shape)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, dict]:
    """What published checkpoints hold, by rival."""
    read = {
        name: json.loads((golden / f"{name}.json").read_text())
        for name in ("tps_motion_shapes", "fomm_generator_shapes", "fomm_mgif_kp_detector_shapes")
    }
    tps = {name: blank(part) for name, part in read["tps_motion_shapes"]["shapes"].items()}
    fomm = {
        "generator": blank(read["fomm_generator_shapes"]["shapes"]["generator"]),
        "kp_detector": blank(read["fomm_mgif_kp_detector_shapes"]),
    }
    optimiser = {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0, 1]}]}
    return {
        "tps": tps | {"optimizer": optimiser, "epoch": 99, "avd_network": blank({"a": [2]})},
        "fomm": fomm | {"optimizer_generator": optimiser, "discriminator": blank({"a": [2]})},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_published_checkpoints_load_strictly(
    published: dict[str, dict], tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "vox.pth.tar"
    torch.save(published[kind], file)
    assert is_rival(file)
    model = load_rival(file)
    assert isinstance(model, KINDS[kind]) and not model.training
    assert all(not t.is_meta for t in model.state_dict().values())
    assert float(next(model.parameters()).detach().mean()) == 1


def test_mgif_has_no_background(published: dict[str, dict], tmp_path: Path) -> None:
    parts = {k: v for k, v in published["tps"].items() if k != "bg_predictor"}
    torch.save(parts, tmp_path / "mgif.pth.tar")
    model = load_tps(tmp_path / "mgif.pth.tar")
    assert model.bg_predictor is None and model.frame_size == 256


def test_other_shapes_and_missing_parts_are_named(
    published: dict[str, dict], tmp_path: Path
) -> None:
    file = tmp_path / "odd.pth.tar"
    narrow = blank({"maps.weight": [11, 7, 7, 7]})
    odd = {"dense_motion_network": published["tps"]["dense_motion_network"] | narrow}
    torch.save(published["tps"] | odd, file)
    with pytest.raises(AnaMoDiffError, match=r"maps\.weight 11x7x7x7 for 11x148x7x7"):
        load_tps(file)
    torch.save({"inpainting_network": published["tps"]["inpainting_network"]}, file)
    with pytest.raises(AnaMoDiffError, match="expected tensors under kp_detector"):
        load_rival(file)
    torch.save({"unet": blank({"a": [1]})}, file)
    with pytest.raises(AnaMoDiffError, match="has unet"):
        load_rival(file)
    file.write_bytes(b"no checkpoint")
    with pytest.raises(AnaMoDiffError, match="broken"):
        load_rival(file)
    with pytest.raises(AnaMoDiffError, match="found no file"):
        load_tps(tmp_path / "none.tar")


def test_fomm_s_other_configurations(published: dict[str, dict], tmp_path: Path) -> None:
    parts = {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True}
    detector = {
        "temperature": 0.1, "block_expansion": 32, "max_features": 1024, "scale_factor": 0.25,
        "num_blocks": 5, "single_jacobian_map": True,
    }  # fmt: skip
    generator = {"num_bottleneck_blocks": 3, "estimate_occlusion_map": True}
    config = {
        "model_params": {
            "common_params": parts, "kp_detector_params": detector, "generator_params": generator,
        }
    }  # fmt: skip
    torch.save(published["fomm"], tmp_path / "taichi.pth.tar")
    with pytest.raises(AnaMoDiffError, match=r"unexpected bottleneck\.r3"):
        load_first_order(tmp_path / "taichi.pth.tar", config)
    generator["num_bottleneck_blocks"] = 6
    assert isinstance(load_first_order(tmp_path / "taichi.pth.tar", config), FOMM)
    generator["depth"] = 3
    with pytest.raises(AnaMoDiffError, match="depth"):
        load_first_order(tmp_path / "taichi.pth.tar", config)


def test_our_own_weights_come_back(tiny_tps: TPSMotion, tps_folder: Path) -> None:
    assert is_rival(tps_folder)
    found = load_rival(tps_folder)
    frames = torch.rand(1, 3, 32, 32)
    assert_close(found.points(frames).value, tiny_tps.points(frames).value)
    assert found.frame_size == 32


def test_missing_weights_say_how_to_train_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anamodiff.baselines.weights.SHIPPED", "checkpoints/nowhere")
    with pytest.raises(AnaMoDiffError, match=r"scripts/train_baseline\.py fomm RUN --clips"):
        shipped("fomm")


def test_folders_of_clips_are_no_rivals(tmp_path: Path) -> None:
    (tmp_path / "turtle.mp4").touch()
    assert not is_rival(tmp_path)
    (tmp_path / "model.json").write_text("[1]")
    with pytest.raises(AnaMoDiffError, match="weights"):
        load_rival(tmp_path)
