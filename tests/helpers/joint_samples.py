"""A pool of joint samples, for the tests of the joint trainings."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints.pool import Pool  # noqa: E402
from joints.samples import Samples  # noqa: E402

CPU = torch.device("cpu")


def pool_of(samples: Samples, kind: str = "drawn", room: int = 64) -> Pool:
    """The samples of one kind, on the CPU."""
    pool = Pool({kind: room}, CPU)
    pool.put(kind, samples)
    return pool
