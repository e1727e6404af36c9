"""Pairs with known flows, how they are placed at random, and the training command."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from limb_flow.batches import Resident, augment  # noqa: E402
from limb_flow.drawn import drawn_pairs, follow  # noqa: E402
from limb_flow.pairs import Pairs  # noqa: E402

from anamodiff.creatures import Character  # noqa: E402
from anamodiff.lofnet.limb_flow import LimbFlow  # noqa: E402
from anamodiff.warp import warp  # noqa: E402


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    character = Character.sample(3, species="horse", background=(255, 255, 255))
    made = drawn_pairs(np.random.default_rng(0), frames=3, count=4, character=character)
    assert made is not None
    return made


def warped(source: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    return warp(source, torch.nan_to_num(flow, nan=-1.0))


def test_the_true_flow_makes_the_target_of_the_source(pairs: Pairs) -> None:
    source, target = (
        torch.from_numpy(part).permute(0, 3, 1, 2).float() for part in (pairs.source, pairs.target)
    )
    flow, seen = torch.from_numpy(pairs.flow).float(), torch.from_numpy(pairs.seen)
    inside = seen & (target[:, 3] == 255)
    assert inside.sum() > 500
    off = (warped(source, flow) - target)[:, :3].abs().mean(1)[inside].mean()
    held = (source - target)[:, :3].abs().mean(1)[inside].mean()
    assert off < 8 < held


def test_points_follow_their_outline() -> None:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = 40 * np.stack([np.cos(angle), np.sin(angle)], -1) + 100
    turned = (outline - 100) @ np.array([[0, 1], [-1, 0]]) + (120, 90)
    found = follow(np.array([[100.0, 100.0], [120.0, 100.0]]), outline, turned)
    np.testing.assert_allclose(found, [[120, 90], [120, 110]], atol=0.5)


def test_augmented_pairs_stay_true(pairs: Pairs) -> None:
    torch.manual_seed(0)
    resident = Resident(torch.device("cpu"), 100)
    resident.add(pairs)
    batch = augment(resident.take(64))
    inside = batch.seen & (batch.target[:, 3] > 0.99)
    off = (warp(batch.source, batch.flow) - batch.target)[:, :3].abs().mean(1)[inside].mean()
    held = (batch.source - batch.target)[:, :3].abs().mean(1)[inside].mean()
    assert off < 0.12 < held


def test_joints_move_with_their_pictures(pairs: Pairs) -> None:
    """A nose stays on the character, wherever it goes and however it is mirrored."""
    torch.manual_seed(1)
    resident = Resident(torch.device("cpu"), 100)
    resident.add(pairs)
    batch = augment(resident.take(64))
    trunk = batch.joints_target[:, 3]  # the spine
    inside = (trunk.abs() < 0.95).all(-1)
    cover = warp(batch.target[:, 3:], trunk[:, None, None])[:, 0, 0, 0]
    assert inside.sum() > 40 and (cover[inside] > 0.9).float().mean() > 0.95


def test_the_oldest_pairs_give_way(pairs: Pairs) -> None:
    resident = Resident(torch.device("cpu"), 6)
    for _ in range(3):
        resident.add(pairs)
    assert resident.count == 6 and resident.next == 0


@pytest.mark.slow
def test_making_and_training_from_the_command_line(tmp_path: Path, monkeypatch) -> None:
    import train_limb_flow
    from limb_flow import bank

    monkeypatch.setattr(bank, "SHARD", 12)
    (tmp_path / "bank").mkdir()
    bank.work(tmp_path / "bank", None, seconds=1.0, seed=0)
    run = tmp_path / "run"

    def train(*more: str) -> None:
        train_limb_flow.main(
            ["train", str(run), "--bank", str(tmp_path / "bank"), "--workers", "0", "--batch", "4"]
            + ["--resident", "50", "--held-out", "2", *more]
        )

    train("--steps", "2")
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 2
    train("--steps", "3")
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 3
    assert LimbFlow.load(run / "limb_flow").config == LimbFlow().config
    assert (run / "scores.json").is_file() and (run / "scores-bones-alone.json").is_file()
    train("--seconds", "14")
    assert "over after" in (run / "log.txt").read_text()
