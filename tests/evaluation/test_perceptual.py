"""LPIPS: measured where its package and weights are, and one line where they are not."""

import socket
import sys
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation import perceptual
from anamodiff.evaluation.instruments import Instruments
from anamodiff.evaluation.measure import Case, measure
from anamodiff.evaluation.perceptual import PATIENCE, SMALLEST, Lpips


class RandomLpips(nn.Module):
    """The package's interface over random weights: features of unit length, squared differences."""

    def __init__(self, net: str = "alex", verbose: bool = True) -> None:
        super().__init__()
        assert net == "alex"
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        a, b = (nn.functional.normalize(self.features(x), dim=1) for x in (one, other))
        return (a - b).square().sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    package = SimpleNamespace(LPIPS=RandomLpips)
    monkeypatch.setitem(sys.modules, "lpips", package)
    return package


def test_distance_of_stubbed_weights(
    stub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = torch.rand(3, 3, 96, 96) * 2 - 1
    measured = Lpips.load()
    assert measured.distance(frames, frames) == 0
    near, far = frames + 0.02 * torch.randn_like(frames), torch.rand(3, 3, 96, 96) * 2 - 1
    assert 0 < measured.distance(near, frames) < measured.distance(far, frames)
    by_frame = [measured.distance(far[f : f + 1], frames[f : f + 1]) for f in range(3)]
    assert measured.distance(far, frames) == pytest.approx(sum(by_frame) / 3, rel=1e-4)
    monkeypatch.setattr(perceptual, "AT_ONCE", 2)  # a part of two frames, and one of one
    assert measured.distance(far, frames) == pytest.approx(sum(by_frame) / 3, rel=1e-4)
    assert not any(p.requires_grad for p in measured.network.parameters())


def test_small_frames_are_enlarged(stub: SimpleNamespace) -> None:
    measured, seen = Lpips.load(), []
    measured.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    measured.distance(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
    measured.distance(torch.zeros(1, 3, 80, 80), torch.ones(1, 3, 80, 80))
    assert seen == [SMALLEST, 80]


def test_the_instruments_use_it(stub: SimpleNamespace) -> None:
    tools = Instruments.load("none", torch.device("cpu"))
    assert tools.lpips is not None and tools.described["lpips"].startswith("AlexNet, lpips ")
    frames = torch.ones(2, 3, 64, 64)
    frames[:, :, 20:40, 20:40] = -0.5
    found = measure(Case(frames, truth=frames), tools)
    assert found.values["lpips"] == 0 and found.tools["lpips"] == tools.described["lpips"]
    assert "lpips" not in found.skipped


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(AnaMoDiffError, match=r'pip install "anamodiff\[lpips\]"') as caught:
        Lpips.load()
    assert "\n" not in str(caught.value)
    tools = Instruments.load("none", torch.device("cpu"))
    assert tools.lpips is None and "anamodiff[lpips]" in tools.missing["lpips"]


@pytest.mark.parametrize(
    "error", [URLError("Name or\nservice not known"), TimeoutError("timed out"), RuntimeError("x")]
)
def test_weights_that_cannot_be_fetched_are_one_line(
    stub: SimpleNamespace, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = []

    def fails(**_: object) -> None:
        patience.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr(stub, "LPIPS", fails)
    with pytest.raises(
        AnaMoDiffError, match=r"expected AlexNet's weights, got .*network"
    ) as caught:
        Lpips.load()
    assert "\n" not in str(caught.value)
    assert patience == [PATIENCE] and socket.getdefaulttimeout() is None
