"""TPS Motion's detector: a ResNet-18 of torchvision's names and numbers."""

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.testing import assert_close

from anamodiff.lofnet.resnet import ResNetDetector


def filled(name: str, tensor: Tensor, index: int) -> Tensor:
    """Numbers that need no file: the same ones were given to torchvision's network."""
    count = torch.arange(tensor.numel(), dtype=torch.float64)
    wave = torch.sin(0.37 * count**1.1 + index).float().reshape(tensor.shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * wave
    if tensor.dim() > 1:
        return wave * (2 / tensor[0].numel()) ** 0.5
    return 1 + 0.2 * wave if name.endswith("weight") else 0.1 * wave


@torch.no_grad()
def test_resnet_is_torchvision_s_by_name_and_number(golden: Path) -> None:
    reference = json.loads((golden / "resnet18.json").read_text())
    detector = ResNetDetector(num_kp=10).eval()
    state = detector.state_dict()
    shapes = {f"fg_encoder.{name}": shape for name, shape in reference["shapes"].items()}
    assert {name: list(t.shape) for name, t in state.items()} == shapes
    numbers = {
        name: filled(name, state[name], index) if state[name].is_floating_point() else state[name]
        for index, name in enumerate(shapes)
    }
    detector.load_state_dict(numbers)  # as TPS Motion's `kp_detector`, strictly
    count = torch.arange(2 * 3 * 64 * 48, dtype=torch.float64)
    frames = torch.sin(0.05 * count**1.02).float().reshape(2, 3, 64, 48)
    output = torch.tensor(reference["output"])
    assert_close(detector.fg_encoder(frames), output, atol=1e-4, rtol=1e-4)
    found = detector(frames)
    assert_close(found.value, (2 * output.sigmoid() - 1).reshape(2, 10, 2), atol=1e-4, rtol=1e-4)
    assert found.jacobian is None
