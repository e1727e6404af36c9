"""LPIPS, a perceptual distance; its package is an extra: pip install "anamodiff[lpips]"."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError, one_line

SMALLEST = 64  # pixels: AlexNet's last maps vanish below half of that
AT_ONCE = 16  # frames
PATIENCE = 10.0  # seconds without an answer from where torchvision's weights are


class Lpips:
    """Learned perceptual distance of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep
    Features as a Perceptual Metric", with AlexNet, as its authors advise for comparisons.

    Args:
        network: as `lpips.LPIPS`: takes two batches ``f 3 h w`` in [-1, 1], gives ``f 1 1 1``.
        name: what results call it.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.name = name

    @classmethod
    def load(cls, device: str | torch.device = "cpu") -> Lpips:
        """With AlexNet's weights, which torchvision fetches once.

        Raises:
            AnaMoDiffError: the package is missing or broken, or the weights cannot be fetched.
        """
        try:
            package = import_module("lpips")
        except ImportError as error:
            raise AnaMoDiffError(
                f'expected the package lpips, got "{one_line(str(error))}": pip install '
                '"anamodiff[lpips]"'
            ) from None
        except (RuntimeError, OSError, AttributeError) as error:  # torchvision for another torch
            raise AnaMoDiffError(
                f'expected a working package lpips, got "{one_line(str(error))}": install a '
                "torchvision that fits torch"
            ) from None
        try:
            with _impatient(), warnings.catch_warnings():
                # The package calls torchvision by an older name of an argument.
                warnings.simplefilter("ignore", UserWarning)
                network = package.LPIPS(net="alex", verbose=False)
        except (OSError, RuntimeError) as error:
            raise AnaMoDiffError(
                f'expected AlexNet\'s weights, got "{one_line(str(error))}": run once with a '
                "network, or put torchvision's file into torch's hub cache (checkpoints/ in "
                "$TORCH_HOME/hub)"
            ) from None
        return cls(network.to(device), f"AlexNet, lpips {_version()}")

    @torch.inference_mode()
    def distance(self, frames: Tensor, truth: Tensor) -> float:
        """Mean distance over frames ``f 3 h w`` in [-1, 1]; 0 is best."""
        device = next(self.network.parameters(), frames).device
        found = []
        for parts in zip(frames.split(AT_ONCE), truth.split(AT_ONCE), strict=True):
            both = [_large_enough(part.float()).to(device) for part in parts]
            found.append(self.network(*both).flatten())
        return float(torch.cat(found).mean())


def _large_enough(frames: Tensor) -> Tensor:
    if min(frames.shape[-2:]) >= SMALLEST:
        return frames
    return F.interpolate(frames, (SMALLEST, SMALLEST), mode="bilinear", align_corners=False)


@contextmanager
def _impatient() -> Iterator[None]:
    """A network that does not answer counts as none; torchvision itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _version() -> str:
    try:
        return metadata.version("lpips")
    except metadata.PackageNotFoundError:
        return "of an unknown version"
