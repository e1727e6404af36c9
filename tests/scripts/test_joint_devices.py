"""Both joint trainings on fake CUDA tensors: no device mixes, and no step waits for a value."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import drawn, exercises, objective, retargeting  # noqa: E402
from joints.pool import Pool  # noqa: E402
from joints.samples import Samples  # noqa: E402

from anamodiff.lofnet import bones, limbs  # noqa: E402
from anamodiff.lofnet.joints import JointDetector, read_joints, resized  # noqa: E402
from anamodiff.lofnet.retarget import Retargeter  # noqa: E402

CUDA = torch.device("cuda")


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    """A mode whose constants no other test sees."""
    cached = (bones._on, bones._ancestors, exercises._spreads, exercises._mask)
    for function in cached:
        function.cache_clear()
    # cuDNN's grid sampling has no fake kernel.
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.backends.cudnn.flags(False):
        yield mode
    for function in cached:
        function.cache_clear()


def test_a_step_of_the_detector(fake: FakeTensorMode) -> None:
    pool = Pool({"drawn": 6, "rendered": 6}, CUDA)
    for shelf in pool.shelves.values():
        shelf.count, shelf.names = 6, {"cow": 0, "boar": 1}
        shelf.species[:] = [0, 0, 0, 0, 1, 1]
    with CUDA:
        detector = JointDetector((8, 8, 8, 8, 8), 1, 2).train()
    batch = pool.next(16, 0.3)
    assert batch.pictures.is_cuda and batch.pictures.dtype == torch.float16
    frames = batch.frames().to(torch.bfloat16)
    with torch.autocast("cuda", torch.bfloat16):
        maps = detector(frames)
    parts = objective.terms(maps, batch)
    assert all(part.is_cuda for part in parts.values())
    assert objective.total(parts).is_cuda


def test_samples_go_to_the_device(fake: FakeTensorMode) -> None:
    with unset_fake_temporarily():
        samples = Samples.of(drawn.held_out_samples(2), ["dog", "dog"])
    pool = Pool({"drawn": 2}, CUDA)
    pool.put("drawn", samples)
    assert pool.next(4, 0.3).joints.is_cuda


def test_a_step_of_retargeting(fake: FakeTensorMode) -> None:
    bank = exercises.Drawn(
        torch.rand(5, 3, 40, 22, 2, device=CUDA).half(), torch.full((5,), 4, device=CUDA)
    )
    triples = torch.rand(5, 3, 10, 22, 2, device=CUDA)
    tracks = exercises.Tracks(
        torch.rand(4, 9, 22, 2, device=CUDA), torch.full((4,), 9, device=CUDA)
    )
    material = retargeting.Material(bank, triples, tracks)
    lot, options = np.random.default_rng(0), retargeting.Options(batch=20)
    with CUDA:
        network = Retargeter(20, 1, 2)
    for _ in range(3):
        task = retargeting.task_of(retargeting.next_exercise(material, options, lot), 0.2)
        start = torch.randint(0, 40, (len(task.target),), device=CUDA)
        with torch.autocast("cuda", torch.bfloat16):
            found = network(task.source, task.driving, start)
        assert found[0].dtype == torch.float32
        parts = retargeting.losses(*found, task)
        assert all(part.is_cuda for part in parts.values())
        assert retargeting.total(parts).is_cuda


@torch.no_grad()
def test_detection_and_retargeting(fake: FakeTensorMode) -> None:
    """Up to the search for limbs' order, which looks at values on the CPU."""
    with CUDA:
        detector, network = JointDetector((8, 8, 8, 8, 8), 1, 2).eval(), Retargeter(20, 1, 2)
    frames = torch.zeros(20, 3, 100, 120, device=CUDA)
    maps = detector(resized(frames))
    joints = read_joints(maps)
    pairs = limbs.read_pairs(maps.heat[:, limbs.NEAR[0]], maps.heat[:, limbs.FAR[0]])
    assert pairs.places.is_cuda and pairs.odds.is_cuda
    trust = joints.trust()
    found = network.retarget(joints.place, trust, joints.place, trust)
    assert found.place.is_cuda and found.place.shape == (20, 22, 2)
