"""First-order-model's own files: loaded strictly, refused in one line, trained on from."""

import json
from collections import OrderedDict
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.fomm import MGIF, detector_keywords, load_fomm
from anamodiff.lofnet.keypoints import KeypointDetector
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.training.train import train_lofnet

SMALL = {
    "dataset_params": {"image_shape": [256, 256, 3]},
    "model_params": {
        "common_params": {"num_kp": 4, "num_channels": 3, "estimate_jacobian": True},
        "kp_detector_params": {
            "temperature": 0.1, "block_expansion": 8, "max_features": 16, "scale_factor": 0.125,
            "num_blocks": 2, "single_jacobian_map": True,
        },
        "generator_params": {"block_expansion": 64},
    },
}  # fmt: skip
NETWORK = {
    "frame_size": 32,
    "detector": {"num_kp": 9},
    "dense_motion": {
        "block_expansion": 4, "num_blocks": 2, "max_features": 8, "num_kp": 9, "num_channels": 4,
    },
}  # fmt: skip


def changed(**keywords) -> dict:
    config = deepcopy(SMALL)
    config["model_params"]["kp_detector_params"] |= keywords
    return config


def write_checkpoint(file: Path, detector: torch.nn.Module, *, old: bool = True) -> Path:
    """What FOMM's logger saves: all models' states, optimisers', the epoch."""
    optimiser = torch.optim.Adam(detector.parameters(), lr=2e-4)
    checkpoint = {
        "generator": OrderedDict(weight=torch.zeros(3)),
        "kp_detector": detector.state_dict(),
        "optimizer_kp_detector": optimiser.state_dict(),
        "epoch": 99,
    }
    # FOMM's published files are older than torch's zip format.
    torch.save(checkpoint, file, _use_new_zipfile_serialization=not old)
    return file


@pytest.fixture(scope="module")
def detector() -> KeypointDetector:
    torch.manual_seed(0)
    detector = KeypointDetector(**detector_keywords(SMALL)).eval()
    torch.nn.init.normal_(detector.jacobian.weight, std=0.1)
    return detector


@pytest.fixture(scope="module")
def files(detector: KeypointDetector, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("fomm")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return write_checkpoint(folder / "small-cpk.pth.tar", detector), folder / "small.yaml"


@pytest.mark.parametrize("old", [True, False], ids=["old format", "zip format"])
@torch.no_grad()
def test_the_reference_weights_give_the_reference_points(
    golden: Path, tmp_path: Path, old: bool
) -> None:
    with safe_open(golden / "fomm_lofnet.safetensors", framework="pt") as file:
        keywords = json.loads(file.metadata()["kp_detector"])
        numbers = {key: file.get_tensor(key) for key in file.keys()}
    common = {key: keywords.pop(key) for key in ("num_kp", "num_channels", "estimate_jacobian")}
    config = {"model_params": {"common_params": common, "kp_detector_params": keywords}}
    written = KeypointDetector(**common, **keywords)
    written.load_state_dict(
        {
            key.removeprefix("kp_detector."): value
            for key, value in numbers.items()
            if key.startswith("kp_detector.")
        }
    )
    loaded = load_fomm(write_checkpoint(tmp_path / "a.pth.tar", written, old=old), config)
    assert not loaded.training
    found = loaded(numbers["driving"])
    assert_close(found.value, numbers["driving_value"], atol=1e-4, rtol=1e-4)
    assert_close(found.jacobian, numbers["driving_jacobian"], atol=1e-4, rtol=1e-4)


def test_mgif_is_the_default_and_the_network_of_its_name(golden: Path) -> None:
    from anamodiff.cli import compose as config

    shapes = json.loads((golden / "fomm_mgif_kp_detector_shapes.json").read_text())
    with torch.device("meta"):
        state = KeypointDetector(**detector_keywords()).state_dict()
    assert {name: list(t.shape) for name, t in state.items()} == shapes
    assert detector_keywords() == detector_keywords(MGIF)
    network = config.plain(config.compose("train_lofnet", ["data=a", "network=mgif"]))["network"]
    assert network["frame_size"] == 256
    assert network["detector"].items() <= detector_keywords().items()


def test_keys_that_fomm_leaves_out_have_its_defaults(files: tuple[Path, Path]) -> None:
    keywords = detector_keywords(files[1])
    assert keywords["pad"] == 0 and keywords["single_jacobian_map"] is True
    bare = changed(pad=3)
    del bare["model_params"]["common_params"]["estimate_jacobian"]
    del bare["model_params"]["kp_detector_params"]["single_jacobian_map"]
    keywords = detector_keywords(bare)
    assert (keywords["pad"], keywords["estimate_jacobian"]) == (3, False)
    assert keywords["single_jacobian_map"] is False


def one_line(caught: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ({"num_blocks": 3}, r"missing predictor\.encoder\.down_blocks\.2.* and \d+ more"),
        ({"num_blocks": 1}, r"unexpected predictor\.encoder\.down_blocks\.1.* and \d+ more"),
        ({"single_jacobian_map": False}, r"other shapes jacobian.weight 4x11x7x7 for 16x11x7x7"),
        ({"scale_factor": 1}, r"unexpected down\.weight\)"),
    ],
)
def test_another_configuration_is_refused_with_the_keys(
    files: tuple[Path, Path], keywords: dict, line: str
) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        load_fomm(files[0], changed(**keywords))
    assert "lofnet.config" in one_line(caught)


def test_checkpoints_that_are_none_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="found no file .*nowhere.*lofnet.checkpoint") as none:
        load_fomm(tmp_path / "nowhere.pth.tar", SMALL)
    one_line(none)
    cut = tmp_path / "cut.pth.tar"
    cut.write_bytes(files[0].read_bytes()[:3000])
    with pytest.raises(AnaMoDiffError, match="cut.pth.tar is broken .*fetch it again") as broken:
        load_fomm(cut, SMALL)
    one_line(broken)
    torch.save({"generator": {}, "epoch": 3}, cut)
    with pytest.raises(AnaMoDiffError, match="under kp_detector in .*, got generator, epoch"):
        load_fomm(cut, SMALL)
    torch.save({"kp_detector": {"a": 1}}, cut)
    with pytest.raises(AnaMoDiffError, match="expected tensors under kp_detector"):
        load_fomm(cut, SMALL)
    torch.save([torch.zeros(1)], cut)
    with pytest.raises(AnaMoDiffError, match="got a list"):
        load_fomm(cut, SMALL)


class Trap:
    """Unpickled carelessly, it writes a file."""

    def __reduce__(self):
        return (Path.write_text, (Path("sprung"), "code ran"))


def test_no_code_in_a_checkpoint_is_run(
    tmp_path: Path, detector: KeypointDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"kp_detector": detector.state_dict(), "trap": Trap()}, "trap.pth.tar")
    with pytest.raises(AnaMoDiffError, match="broken or holds more than tensors"):
        load_fomm("trap.pth.tar", SMALL)
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, r"found no file .*wrong\.yaml.*lofnet\.config"),
        ("a: [b", r"is no yaml file"),
        ("", r"common_params and kp_detector_params in .*wrong\.yaml"),
        ("model_params: {common_params: {num_kp: 10}}", r"got none of kp_detector_params"),
        (yaml.safe_dump(changed(kernel=7)), r"wrong about kernel"),
        (yaml.safe_dump(changed(temperature="hot")), r"temperature in .*: expected a number above"),
        (yaml.safe_dump(changed(num_kp=None)), r"num_kp in .*: expected a whole number"),
    ],
)
def test_configurations_that_are_none_are_refused(
    files: tuple[Path, Path], tmp_path: Path, text: str | None, line: str
) -> None:
    if text is not None:
        (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        load_fomm(files[0], tmp_path / "wrong.yaml")
    one_line(caught)


@pytest.mark.parametrize("detector_lr", [0, 1e-2], ids=["frozen", "tuned along"])
def test_training_starts_from_fomm(
    folder: Path,
    backbone,
    tmp_path: Path,
    files: tuple[Path, Path],
    detector: KeypointDetector,
    detector_lr: float,
) -> None:
    output = train_lofnet(
        folder, backbone=backbone, output=tmp_path / "run", config=NETWORK, detector="fomm",
        checkpoint=files[0], detector_config=files[1], detector_lr=detector_lr, steps=1,
        batch_size=2, warmup=0, frames_per_clip=2, progress=False, average=0.0,
    )  # fmt: skip
    lofnet = LOFNet.load(output)
    assert lofnet.frame_size == 256 and lofnet.dense_motion.config["num_kp"] == 4
    kept = [
        torch.equal(lofnet.detector.state_dict()[name], value)
        for name, value in detector.state_dict().items()
        if value.is_floating_point() and name != "down.weight"
    ]
    assert all(kept) if detector_lr == 0 else not any(kept)
    assert lofnet.points(torch.zeros(1, 3, 48, 48)).jacobian.shape == (1, 4, 2, 2)


def test_incomplete_options_are_refused(folder: Path, backbone, tmp_path: Path, files) -> None:
    options = {"backbone": backbone, "output": tmp_path / "run", "progress": False}
    with pytest.raises(AnaMoDiffError, match="lofnet.checkpoint=PATH"):
        train_lofnet(folder, detector="fomm", **options)
    with pytest.raises(AnaMoDiffError, match="ask for lofnet.detector=fomm"):
        train_lofnet(folder, checkpoint=files[0], **options)
    with pytest.raises(AnaMoDiffError, match="own or fomm, got 'tps'"):
        train_lofnet(folder, detector="tps", **options)
    assert not (tmp_path / "run").exists()
