"""Training of the joint detector: a run, its resumption, samples and augmentation."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import augment, drawn, objective  # noqa: E402
from joints.samples import Store, StoreWriter, cut_out  # noqa: E402
from joints.state import rate_share  # noqa: E402
from joints.training import Mixture, Options, Training, balanced  # noqa: E402

from anamodiff.creatures import ABSENT, HIDDEN, SEEN  # noqa: E402
from anamodiff.lofnet.joints import JointDetector, JointMaps  # noqa: E402

TINY = (4, 8, 8, 8, 8)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(3)


def marked() -> object:
    """A sample whose three joints are single bright pixels of different colours."""
    frame, mask = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
    mask[60:160, 70:200] = True
    joints = np.full((22, 2), np.nan, np.float32)
    for i, (x, y) in enumerate(((90, 80), (150, 100), (180, 140))):
        frame[y - 2 : y + 3, x - 2 : x + 3, i] = 255
        joints[i] = x, y
    return cut_out(frame, mask, joints, np.array([SEEN] * 3 + [ABSENT] * 19, np.uint8))


def test_joints_go_where_the_picture_goes(lot: np.random.Generator) -> None:
    sample = marked()
    for _ in range(20):
        mapping = augment.random_mapping(sample, lot)
        picture, _ = augment.warp(sample, mapping)
        places = mapping.forward(sample.joints)
        for i in range(3):
            others = np.delete(picture, i, axis=-1).max(-1)
            bright = np.clip(picture[..., i].astype(float) - others - 20, 0, None)
            if bright.sum() > 2000:
                y, x = (np.average(axis, weights=bright) for axis in np.indices((256, 256)))
                assert np.hypot(x - places[i, 0], y - places[i, 1]) < 1.6


def test_augmented_samples_keep_their_form(lot: np.random.Generator) -> None:
    samples = drawn.draw_samples(drawn.random_character(lot), lot, 2) * 15
    for sample in samples:
        picture, joints, visibility = augment.augment(sample, lot)
        assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8
        assert np.array_equal(np.isnan(joints).any(-1), visibility == ABSENT)
        assert not (visibility[(np.abs(joints) > 1).any(-1)] == SEEN).any()


def test_what_is_covered_is_hidden(lot: np.random.Generator) -> None:
    joints = np.stack(np.meshgrid(np.arange(0, 256, 4), np.arange(0, 256, 4)), -1).reshape(-1, 2)
    picture, visibility = np.full((256, 256, 3), 255, np.uint8), np.full(len(joints), SEEN)
    augment.cover(picture, joints.astype(float), visibility, lot)
    hidden = joints[visibility == HIDDEN]
    assert len(hidden) > 5
    assert (picture[hidden[:, 1], hidden[:, 0]] != 255).any(-1).mean() > 0.9


def test_kept_out_species_are_not_drawn(lot: np.random.Generator) -> None:
    made = [drawn.random_character(lot) for _ in range(300)]
    assert not {c.species for c in made} & set(drawn.HELD_OUT)
    assert sum(c.build is not None for c in made) > 100
    first, again = (drawn.held_out_samples(4) for _ in range(2))
    assert all(np.array_equal(a.cut, b.cut) for a, b in zip(first, again, strict=True))


def test_a_store_returns_what_was_written(tmp_path, lot: np.random.Generator) -> None:
    samples = drawn.held_out_samples(3)
    writer = StoreWriter(tmp_path)
    for sample, species in zip(samples, ("cow", "cow", "goat"), strict=True):
        writer.add(sample, species, species == "goat")
    writer.add(None, "cow", False)
    writer.close()
    store = Store(tmp_path)
    assert len(store) == 3
    for i, sample in enumerate(samples):
        assert np.array_equal(store[i].cut, sample.cut) and store[i].corner == sample.corner
        np.testing.assert_array_equal(store[i].joints, sample.joints)
    assert balanced(store, np.array([0, 1])).sum() == pytest.approx(1)
    options = Options(batch=6, drawn=0.5, fresh=1, pool=8)
    mixture = Mixture([store], options)
    assert set(mixture.rows[0]) == {0, 1}
    assert mixture.next(lot).pictures.shape == (6, 256, 256, 3)


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
    right = objective.terms(perfect_maps(joints, visibility), joints, visibility)
    moved = objective.terms(perfect_maps(joints + 0.1, visibility), joints, visibility)
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
    right, wrong = (
        objective.terms(perfect_maps(x, visibility), joints, visibility)["order"]
        for x in (joints, swapped)
    )
    assert right < 0.01 and wrong > 3
    together = joints * 0.01  # not apart: nothing to tell
    assert objective.terms(perfect_maps(together, visibility), together, visibility)["order"] == 0


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
    shares = [rate_share(step, options) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[50] == 1.0
    assert shares[99] == pytest.approx(1 / 30)


def test_a_resumed_run_goes_on_as_if_never_stopped(tmp_path, lot: np.random.Generator) -> None:
    options = Options(batch=2, warmup=1, bf16=False)
    torch.manual_seed(1)
    batches = [Mixture([], replace(options, pool=4)).next(lot) for _ in range(4)]
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
