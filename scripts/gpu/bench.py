"""What all parts share: device, size of the models, record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from costs.models import SD_V1_4, SMALL, Architecture
from measure.speed import mgif_network
from speed.stages import built_on

from anamodiff.lofnet.model import LOFNet, build_lofnet, mini_config
from gpu.record import Record


@dataclass(frozen=True)
class Bench:
    """Where and how large a part measures.

    Attributes:
        small: models and numbers of iterations for a trial on a CPU.
        folder: for files that come back.
    """

    device: torch.device
    small: bool
    folder: Path
    record: Record

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def size(self) -> Architecture:
        return SMALL if self.small else SD_V1_4

    def lofnet(self) -> LOFNet:
        """A LOFNet with random weights, on the device."""
        with built_on(self.device):
            return build_lofnet(mini_config()) if self.small else mgif_network()

    def settle(self) -> None:
        """Wait for the device, and free what is cached there."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
