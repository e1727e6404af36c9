"""Training of the joint detector: a run, its resumption, its loss."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from joint_samples import pool_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import bank, objective  # noqa: E402
from joints.state import Average, rate_share  # noqa: E402
from joints.training import Options, Training  # noqa: E402

from anamodiff.creatures import ABSENT, HIDDEN, SEEN  # noqa: E402
from anamodiff.lofnet.joints import JointDetector, JointMaps  # noqa: E402

TINY = (4, 8, 8, 8, 8)


@pytest.fixture(autouse=True)
def always_the_same() -> None:
    random.seed(4)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(3)


def test_confidence_is_learnt_from_species_of_its_own() -> None:
    """Their samples move no place, limb or presence; the others' hardly move confidence."""
    torch.manual_seed(0)
    joints, visibility = torch.rand(2, 22, 2) - 0.5, torch.full((2, 22), SEEN)
    learnt, judged = torch.tensor([True, False]), torch.tensor([0.05, 1.0])
    maps = JointMaps(
        *(torch.randn(2, *shape, requires_grad=True)
          for shape in ((22, 16, 16), (22, 3), (22,), (5, 16, 16)))
    )  # fmt: skip
    batch = objective.Batch(torch.zeros(0), joints, visibility, learnt, judged)
    objective.total(objective.terms(maps, batch)).backward()
    for part in (maps.heat, maps.presence, maps.limbs):
        assert part.grad[0].abs().max() > 0 and part.grad[1].abs().max() == 0
    ratio = maps.confidence.grad[1].abs().mean() / maps.confidence.grad[0].abs().mean()
    assert 5 < ratio < 80


def perfect_maps(joints: torch.Tensor, visibility: torch.Tensor) -> JointMaps:
    """Maps of a detector that knows."""
    heat = objective.wanted_heat(joints.nan_to_num(0), 64).clamp_min(1e-9).log()
    presence = 20.0 * torch.nn.functional.one_hot(visibility, 3)
    limbs = objective.limb_map(joints, visibility, 64)
    limbs = 20.0 * torch.nn.functional.one_hot(limbs, 5).permute(0, 3, 1, 2)
    return JointMaps(heat, presence, torch.where(visibility > 0, 20.0, -20.0), limbs)


def test_loss_prefers_the_truth() -> None:
    torch.manual_seed(0)
    joints = torch.rand(2, 22, 2) * 1.6 - 0.8
    visibility = torch.randint(0, 3, (2, 22))
    joints[visibility == ABSENT] = torch.nan
    truth = objective.Batch(torch.zeros(0), joints, visibility)
    right = objective.terms(perfect_maps(joints, visibility), truth)
    moved = objective.terms(perfect_maps(joints + 0.1, visibility), truth)
    for name in ("heat", "place", "confidence", "order", "limbs"):
        assert right[name] < moved[name], name
    assert right["place"] < 1e-3 and right["presence"] < 1e-3
    assert all(part.isfinite() for part in right.values())


def test_order_loss_prefers_the_right_order() -> None:
    joints = torch.full((1, 22, 2), 0.0)
    joints[:, objective.NEAR, 0], joints[:, objective.FAR, 0] = 0.3, -0.3
    visibility = torch.full((1, 22), SEEN)
    swapped = joints.clone()
    swapped[:, objective.NEAR], swapped[:, objective.FAR] = (
        joints[:, objective.FAR], joints[:, objective.NEAR],
    )  # fmt: skip
    truth = objective.Batch(torch.zeros(0), joints, visibility)
    right, wrong = (
        objective.terms(perfect_maps(x, visibility), truth)["order"] for x in (joints, swapped)
    )
    assert right < 0.01 and wrong > 3
    together = joints * 0.01  # not apart: nothing to tell
    truth = objective.Batch(torch.zeros(0), together, visibility)
    assert objective.terms(perfect_maps(together, visibility), truth)["order"] == 0


def test_near_limbs_lie_over_far_ones() -> None:
    joints, visibility = torch.full((1, 22, 2), torch.nan), torch.zeros(1, 22, dtype=torch.long)
    for start in (6, 10):  # near and far fore limb, crossing in the middle
        lean = 0.4 if start == 6 else -0.4
        for i in range(4):
            joints[0, start + i] = torch.tensor([lean * (i - 1.5) / 1.5, 0.2 * i])
        visibility[0, start : start + 4] = SEEN
    shown = objective.limb_map(joints, visibility, 65)
    middle, foot_near, foot_far = (
        shown[0, round(32 * (y + 1)), round(32 * (x + 1))].item()
        for x, y in ((0.0, 0.3), (0.4, 0.6), (-0.4, 0.6))
    )
    assert (middle, foot_near, foot_far) == (1, 1, 2)
    visibility[0, 10:14] = HIDDEN
    assert not (objective.limb_map(joints, visibility, 65) == 2).any()


def test_rate_rises_and_falls() -> None:
    options = Options(steps=100, warmup=10, fall=0.3)
    shares = [rate_share(step / 100, step, options) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[50] == 1.0
    assert shares[99] == pytest.approx(1 / 30)


def test_a_resumed_run_goes_on_as_if_never_stopped(tmp_path, lot: np.random.Generator) -> None:
    options = Options(batch=2, warmup=1, bf16=False)
    torch.manual_seed(1)
    pool = pool_of(bank.new_samples("drawn", None, lot, 4))
    batches = [pool.next(2, 0.3) for _ in range(4)]
    whole = Training(JointDetector(TINY, 1, 2), options, tmp_path)
    for batch in batches[:2]:
        whole.train_on(batch)
    whole.save()
    for batch in batches[2:]:
        whole.train_on(batch)
    again = Training(JointDetector(TINY, 1, 2), options, tmp_path)
    assert again.resume() and again.step == 2
    for batch in batches[2:]:
        again.train_on(batch)
    assert again.step == whole.step == 4
    for name, value in whole.averaged.state_dict().items():
        torch.testing.assert_close(again.averaged.state_dict()[name], value)


def test_averages_follow_weights_and_statistics() -> None:
    module, averaged = (torch.nn.BatchNorm1d(2) for _ in range(2))
    average = Average(averaged, module)
    module.running_mean += 1
    module.weight.data += 1
    module.num_batches_tracked += 5
    average.update(0.75)
    assert averaged.running_mean.tolist() == [0.25] * 2 and averaged.weight.tolist() == [1.25] * 2
    assert averaged.num_batches_tracked == 5


def test_smoke(tmp_path, capsys) -> None:
    from train_joints import main

    assert main([str(tmp_path / "run"), "--smoke"]) == 0
    assert main([str(tmp_path / "run"), "--smoke", "--steps", "5"]) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "begun at step 0" in log and "resumed at step 4" in log
    assert "step 5 drawn: error" in log
    assert JointDetector.load(tmp_path / "run" / "detector").config["widths"] == [8] * 5
    assert main([str(tmp_path / "run"), "--smoke", "--measure"]) == 0
    assert "within a tenth" in capsys.readouterr().out
