"""Rivals with random weights, of widths that take no time."""

from pathlib import Path

import pytest
import torch

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.tps import TPSMotion

PART = {"block_expansion": 4, "max_features": 8, "num_blocks": 2, "scale_factor": 0.25}


@pytest.fixture(scope="session")
def tiny_tps() -> TPSMotion:
    torch.manual_seed(0)
    model = TPSMotion(
        32, num_tps=2, block_expansion=4, motion_expansion=4, motion_features=8, motion_blocks=3,
        detector_width=4, exact=True, padding_mode="border", background=True,
    )  # fmt: skip
    torch.nn.init.normal_(model.kp_detector.fg_encoder.fc.bias)
    return model.eval()


@pytest.fixture(scope="session")
def tiny_fomm() -> FOMM:
    torch.manual_seed(0)
    return FOMM(
        32, num_kp=3, block_expansion=4, max_features=8, num_bottleneck_blocks=1,
        detector=PART | {"temperature": 0.1, "pad": 3}, dense_motion=PART,
    ).eval()  # fmt: skip


@pytest.fixture(scope="session")
def tps_folder(tiny_tps: TPSMotion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as `scripts/train_baseline.py` leaves them."""
    folder = tmp_path_factory.mktemp("tps")
    tiny_tps.save(folder / "model")
    return folder
