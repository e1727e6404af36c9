"""Training of retargeting: banks, exercises, losses, a run and its resumption."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import banks, exercises, reshaped, retargeting  # noqa: E402

from anamodiff.creatures import JOINTS, MOTIONS, Character, draw  # noqa: E402
from anamodiff.lofnet.bones import ORDER, PARENT, fill_in  # noqa: E402
from anamodiff.lofnet.retarget import Retargeter  # noqa: E402


@pytest.fixture(scope="module")
def bank() -> banks.Bank:
    return banks.make_bank(5, seed=1)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(2)


def test_a_bank_holds_what_is_drawn() -> None:
    made = banks.make_bank(1, 4, ["cow"])
    seed = int(np.random.default_rng([4, 7]).integers(2**31))
    for motion in ("walk", "jump"):
        drawn = draw(Character.sample(seed, species="cow"), motion, frames=4, size=16)
        tracks = made.tracks[0, MOTIONS.index(motion), :: banks.PHASES // 4]
        np.testing.assert_allclose(tracks, drawn.skeleton, atol=1e-5)
    assert made.legs.tolist() == [4]


def test_banks_come_back_from_their_files(bank: banks.Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / "tracks-00.npz")
    bank.save(tmp_path / "tracks-01.npz")
    again = banks.Bank.load([tmp_path / "tracks-00.npz", tmp_path / "tracks-01.npz"])
    assert again.legs.tolist() == [*bank.legs, *bank.legs]
    np.testing.assert_allclose(again.tracks[5:], bank.tracks, atol=1e-3)


def test_drawn_exercises_are_exact(bank: banks.Bank) -> None:
    """The target is the source's body: mean bone lengths agree better than with the driver's."""
    torch.manual_seed(0)
    made = exercises.drawn_exercise(exercises.Drawn.of(bank), 12, (8, 9))
    assert made.source.shape == (12, 8, 22, 2) and made.target.shape == (12, 9, 22, 2)
    absent = made.source.isnan().any(-1).all(1)
    assert torch.equal(absent, made.target.isnan().any(-1).all(1))


def test_another_body_keeps_the_motion(bank: banks.Bank) -> None:
    """Bones are turned by constant angles and stretched by constant factors."""
    track = torch.from_numpy(bank.tracks[:3, 0, :12])
    change = exercises.random_change(3)
    after = exercises.rebuilt(track, change)
    there = (~track.isnan().any(-1)).float()
    old, new = (fill_in(x, there)[2] for x in (track, after))
    for i in ORDER:
        if not JOINTS[i].startswith("near") or (there[:, :, i] == 0).any():
            continue
        turn = torch.view_as_complex(new[:, :, i].contiguous()) / torch.view_as_complex(
            old[:, :, i].contiguous()
        )
        torch.testing.assert_close(
            torch.view_as_real(turn), change[:, None, i].expand(-1, 12, -1), atol=2e-3, rtol=1e-2
        )
    assert torch.equal(after.isnan(), track.isnan())
    assert len(PARENT) == 22


def test_noise_is_measured_by_its_weight() -> None:
    torch.manual_seed(0)
    joints = torch.zeros(400, 4, 22, 2)
    clean, weight = exercises.observed(joints, torch.ones(400), 0.0)
    assert torch.equal(clean, joints) and (weight == 1).all()
    noisy, weight = exercises.observed(joints, torch.ones(400), 0.2)
    error = noisy.norm(dim=-1)
    trusted, doubted = weight > 0.8, (weight > 0) & (weight < 0.5)
    assert error[trusted].mean() < 0.7 * error[doubted].mean()
    assert (weight == 0).any()


def test_limbs_are_mixed_up_within_their_pairs() -> None:
    torch.manual_seed(0)
    joints = torch.arange(22.0)[None, None, :, None].expand(300, 4, 22, 2)
    mixed = exercises._mixed_up(joints, torch.ones(300, 4, 22, dtype=torch.bool))
    assert torch.equal(mixed[:, :, :6], joints[:, :, :6])
    for near, far in zip(exercises.NEAR, exercises.FAR, strict=True):
        found = mixed[:, :, [near, far], 0].flatten(0, 1)
        assert set(map(tuple, found.int().tolist())) == {
            (near, far), (far, near), (near, near), (far, far),
        }  # fmt: skip
        assert 0.85 < (found[:, 0] == near).float().mean() < 0.98
    nobody = exercises._mixed_up(joints, torch.zeros(300, 4, 22, dtype=torch.bool))
    assert torch.equal(nobody, joints)


def test_losses_vanish_at_the_truth(bank: banks.Bank) -> None:
    torch.manual_seed(0)
    task = retargeting.task_of(exercises.drawn_exercise(exercises.Drawn.of(bank), 4, (6, 7)))
    errors = torch.zeros(task.counts.shape)
    right = retargeting.losses(task.target, errors, task)
    wrong = retargeting.losses(task.target + 0.1, errors, task)
    assert right["place"] < 2e-3 and right["motion"] < 2e-3 and right["steps"] < 2e-3
    assert wrong["place"] > 0.1 and wrong["motion"] < 2e-3
    moved = task.target + 0.1 * torch.randn_like(task.target)
    assert retargeting.losses(moved, errors, task)["steps"] > 0.1


def test_tracks_bounce_at_their_ends() -> None:
    at = exercises._bounce(torch.arange(0, 14), torch.tensor(5))
    assert at.tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3]
    assert exercises._bounce(torch.arange(4), torch.tensor(1)).tolist() == [0] * 4


def test_tracks_are_read_within_their_length() -> None:
    """The padding of short tracks is never shown."""
    tracks = [np.full((n, 22, 2), n, np.float32) + np.arange(n)[:, None, None] for n in (3, 7)]
    padded = exercises.Tracks.of(tracks)
    padded.tracks[0, 3:] = -1
    torch.manual_seed(0)
    made = exercises.track_exercise(padded, 40, (5, 12))
    assert made.source.shape == (40, 5, 22, 2) and torch.equal(made.driving, made.target)
    assert (made.source > 0).all() and (made.target > 0).all()
    steps = made.target[:, :, 0, 0].diff(dim=1).abs()
    assert (steps <= 2).all() and steps.max() == 2


def test_triples_keep_their_parts_apart() -> None:
    """Source, driving and target are those of one triple; a swap is a triple too."""
    number, clip, frame = torch.meshgrid(
        torch.arange(4), torch.arange(3), torch.arange(10), indexing="ij"
    )
    tracks = (100 * number + 20 * clip + frame).float()[..., None, None].expand(4, 3, 10, 22, 2)
    torch.manual_seed(0)
    for frames in ((6, 9), (12, 16), (1, 5)):
        made = exercises.triple_exercise(tracks, 60, frames)
        parts = [getattr(made, k)[..., 0, 0] for k in ("source", "driving", "target")]
        of, clips, at = zip(*((x // 100, x % 100 // 20, x % 20) for x in parts), strict=True)
        assert (of[0][:, :1] == of[1]).all() and torch.equal(of[1], of[2])
        assert torch.equal(at[1], at[2]) and (at[1] < 10).all()
        found = {tuple(int(c[i, 0]) for c in clips) for i in range(60)}
        assert found == ({(0, 1, 2), (1, 2, 1)} if frames[0] == 1 else {(0, 1, 2)})


def test_wider_motion_keeps_the_body(bank: banks.Bank) -> None:
    """Means stay, deviations grow, and a factor of one changes nothing."""
    track = torch.from_numpy(bank.tracks[:3, 0, ::4])
    there = (~track.isnan().any(-1)).float()
    torch.testing.assert_close(
        exercises.widened(track, torch.ones(3)), track, equal_nan=True, atol=0, rtol=0
    )
    wide = exercises.widened(track, torch.full((3,), 1.3))
    assert torch.equal(wide.isnan(), track.isnan())

    def swing(joints: torch.Tensor) -> torch.Tensor:
        """Mean angle of near elbows from their mean bones."""
        _, mean, bones = fill_in(joints, there)
        i = JOINTS.index("near_elbow")
        own, now = (torch.view_as_complex(x[..., i, :].contiguous()) for x in (mean, bones))
        return (now * own[:, None].conj()).angle().abs().mean(1)

    legs = there[:, 0, JOINTS.index("near_elbow")] > 0
    ratio = swing(wide)[legs] / swing(track)[legs].clamp_min(1e-6)
    assert legs.any() and ((ratio - 1.3).abs() < 0.1).all(), ratio


def test_a_few_steps_learn(bank: banks.Bank, tmp_path, lot: np.random.Generator) -> None:
    torch.manual_seed(0)
    options = retargeting.Options(batch=16, warmup=1, rate=3e-3)
    training = retargeting.Training(Retargeter(40, 1, 2), options, tmp_path)
    material = retargeting.Material(exercises.Drawn.of(bank))
    task = retargeting.task_of(retargeting.next_exercise(material, options, lot))
    first = training.train_on(task)
    for _ in range(40):
        last = training.train_on(task)
    assert last["place"] < 0.7 * first["place"]


def cube_of_an_animal() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A box with one leg: model arrays as in the motion data, and joints in a picture."""
    joints = np.full((22, 3), np.nan, np.float32)
    for name, place in {
        "nose": (0, 0.6, 1.0), "head": (0, 0.6, 0.8), "withers": (0, 0.6, 0.7),
        "spine": (0, 0.6, 0.4), "tail_base": (0, 0.6, 0.1), "tail_tip": (0, 0.6, 0.0),
        "near_shoulder": (0.05, 0.5, 0.7), "near_elbow": (0.05, 0.3, 0.7),
        "near_wrist": (0.05, 0.15, 0.7), "near_front_foot": (0.05, 0.0, 0.7),
    }.items():  # fmt: skip
        joints[JOINTS.index(name)] = place
    corners = [(x, y, z) for x in (-0.1, 0.1) for y in (0.5, 0.7) for z in (0.0, 1.0)]
    leg = [(0.05, 0.5, 0.68), (0.05, 0.5, 0.72), (0.05, 0.0, 0.72), (0.05, 0.0, 0.68)]
    faces = [(4, 6, 7), (4, 7, 5), (0, 3, 2), (0, 1, 3), (8, 9, 10), (8, 10, 11)]
    model = {"ref": np.array(corners + leg, np.float32), "joints": joints, "F": np.array(faces)}
    pixels = np.stack([40 + 170 * joints[:, 2], 200 - 170 * joints[:, 1]], -1)
    return model, pixels


def test_a_reshaped_mesh_goes_with_its_joints(lot: np.random.Generator) -> None:
    model, joints = cube_of_an_animal()
    mesh = reshaped.mesh_of(model, "left")
    np.testing.assert_allclose(mesh.hold.sum(1), 1)
    vertices = np.stack([40 + 170 * mesh.reference[:, 2], 200 - 170 * mesh.reference[:, 1]], -1)
    filled = reshaped.filled(joints[None])[0]
    still = reshaped.bend(vertices, mesh, filled, filled, np.ones(len(mesh.bones)))
    np.testing.assert_allclose(still, vertices, atol=1e-3)
    for _ in range(5):
        other = reshaped.filled(reshaped.other_body(joints[None], lot))[0]
        moved, wanted = reshaped.reshape(mesh, vertices, filled, other, lot)
        assert moved.min() >= 5 and moved.max() <= 251
        foot = wanted[JOINTS.index("near_front_foot")]
        assert np.abs(moved[10:12].mean(0) - foot).max() < 8
    picture, mask = reshaped.paint(mesh, vertices, np.full((6, 3), 90.0), outline=False)
    x, y = joints[JOINTS.index("near_wrist")].round().astype(int)
    assert mask[y, x] and (picture[y, x] == 90).all() and not mask[250, 250]


def test_near_joints_are_those_of_the_near_side() -> None:
    model, _ = cube_of_an_animal()
    left, right = (reshaped.mesh_of(model, side).bones for side in ("left", "right"))
    assert tuple(left[5]) == (6, 7) and tuple(right[5]) == (10, 11)
    assert tuple(left[11]) == (14, 15) and tuple(right[11]) == (18, 19)


def test_smoke(tmp_path, capsys) -> None:
    from train_retarget import main

    run = str(tmp_path / "run")
    assert main([run, "--smoke"]) == 0
    assert main([run, "--smoke", "--steps", "5"]) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "begun at step 0" in log and "resumed at step 4" in log and "step 5 drawn" in log
    assert main([run, "--smoke", "--measure"]) == 0
    assert "ratio" in capsys.readouterr().out


def test_a_run_by_the_clock_ends_in_time(tmp_path) -> None:
    """The rate falls with the time, and weights and scores are there in the end."""
    from train_retarget import main

    run, began = tmp_path / "run", time.monotonic()
    words = ["--smoke", "--reserve", "1", "--steps", "1000000"]
    already = began - sys.modules["train_retarget"].STARTED
    assert main([str(run), *words, "--seconds", str(already + 4)]) == 0
    assert 2.5 < time.monotonic() - began < 15
    assert not (run / "state.pt").exists()
    scores = json.loads((run / "scores.json").read_text())
    assert scores["run"]["steps"] > 2 and scores["drawn"]["motion_held"] > 0
    Retargeter.load(run / "retargeter")
