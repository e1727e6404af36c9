"""Training of the joint detector: a run, its resumption, samples and augmentation."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import augment, bank, drawn, looks, objective  # noqa: E402
from joints.pool import Pool, balanced  # noqa: E402
from joints.rendered import CONFIDENCE, HELD_OUT, foreground, read  # noqa: E402
from joints.samples import Sample, Samples, cut_out  # noqa: E402
from joints.state import Average, rate_share  # noqa: E402
from joints.training import Feed, Options, Training  # noqa: E402

from anamodiff.creatures import ABSENT, HIDDEN, JOINTS, SEEN  # noqa: E402
from anamodiff.lofnet.joints import JointDetector, JointMaps  # noqa: E402

TINY = (4, 8, 8, 8, 8)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def always_the_same() -> None:
    random.seed(4)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(3)


def marked() -> Sample:
    """A sample whose three joints are single bright pixels of different colours."""
    frame, mask = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
    mask[60:160, 70:200] = True
    joints = np.full((22, 2), np.nan, np.float32)
    for i, (x, y) in enumerate(((90, 80), (150, 100), (180, 140))):
        frame[y - 2 : y + 3, x - 2 : x + 3, i] = 255
        joints[i] = x, y
    return cut_out(frame, mask, joints, np.array([SEEN] * 3 + [ABSENT] * 19, np.uint8))


def pool_of(samples: Samples, kind: str = "drawn", room: int = 64) -> Pool:
    pool = Pool({kind: room}, CPU)
    pool.put(kind, samples)
    return pool


def test_joints_go_where_the_picture_goes() -> None:
    """Painted dots land where the joints are mapped to, mirrored or not."""
    torch.manual_seed(0)
    (shelf,) = pool_of(Samples.of([marked()], ["cow"])).shelves.values()
    rows = torch.zeros(30, dtype=torch.long)
    mapping = augment.random_mapping(shelf.boxes[rows])
    pictures, _ = augment.warp(shelf.canvases[rows], mapping)
    places = mapping.forward(shelf.joints[rows])
    flips = places[:, 0, 0] > places[:, 2, 0]
    assert 5 < flips.sum() < 25 and places[:, 3:].isnan().all()
    seen = 0
    for picture, place in zip(pictures.numpy(), places.numpy(), strict=True):
        for i in range(3):
            bright = np.clip(picture[i] - np.delete(picture, i, 0).max(0) - 0.08, 0, None)
            if bright.sum() > 8:
                y, x = (np.average(axis, weights=bright) for axis in np.indices((256, 256)))
                assert np.hypot(x - place[i, 0], y - place[i, 1]) < 1.6
                seen += 1
    assert seen > 60


def test_the_curves_invert_each_other() -> None:
    torch.manual_seed(0)
    mapping = augment.random_mapping(torch.tensor([[40.0, 60.0, 120.0, 90.0]] * 8))
    at = torch.stack(torch.meshgrid(*[torch.arange(256.0)] * 2, indexing="xy"), -1)
    source = (mapping.grid() + 1) * 127.5
    back = mapping.forward(source.flatten(1, 2)).unflatten(1, (256, 256))
    torch.testing.assert_close(back, at.expand_as(back), atol=0.02, rtol=0)


def test_near_and_far_stay_near_and_far_when_mirrored() -> None:
    """Joint 6, the near shoulder, is painted; it is still joint 6 that lies on the paint."""
    frame, mask = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), bool)
    mask[60:160, 70:200] = True
    joints = np.full((22, 2), np.nan, np.float32)
    near, far = JOINTS.index("near_shoulder"), JOINTS.index("far_shoulder")
    joints[near], joints[far] = (90, 100), (170, 110)
    frame[95:106, 85:96] = 255
    sample = cut_out(frame, mask, joints, np.where(np.isnan(joints[:, 0]), ABSENT, SEEN))
    (shelf,) = pool_of(Samples.of([sample], ["cow"])).shelves.values()
    torch.manual_seed(1)
    rows = torch.zeros(20, dtype=torch.long)
    mapping = augment.random_mapping(shelf.boxes[rows])
    pictures, alpha = augment.warp(shelf.canvases[rows], mapping)
    pixels = mapping.forward(shelf.joints[rows]).round().long()
    assert (mapping.matrix[:, 0, 0] < 0).any() and (mapping.matrix[:, 0, 0] > 0).any()
    for picture, covered, places in zip(pictures, alpha, pixels, strict=True):
        for joint, tone in ((near, 1.0), (far, 0.0)):
            x, y = places[joint].tolist()
            if 0 <= x < 256 and 0 <= y < 256 and covered[0, y, x] == 1:
                assert abs(float(picture[:, y, x].mean()) - tone) < 0.3


def test_augmented_samples_keep_their_form(lot: np.random.Generator) -> None:
    torch.manual_seed(0)
    pool = pool_of(bank.new_samples("drawn", None, lot, 6))
    batch = pool.next(40, 0.3)
    assert batch.pictures.shape == (40, 3, 256, 256)
    assert batch.pictures.min() >= -1 and batch.pictures.max() <= 1
    assert torch.equal(batch.joints.isnan().any(-1), batch.visibility == ABSENT)
    outside = (batch.joints.abs() > 1).any(-1)
    assert not (batch.visibility[outside] == SEEN).any()
    assert batch.pictures.std((1, 2, 3)).min() > 0.01 and batch.frames().is_contiguous(
        memory_format=torch.channels_last
    )


def test_grounds_are_of_all_kinds() -> None:
    torch.manual_seed(0)
    made, white = looks.grounds(torch.zeros(200, 3, 256, 256))
    assert 0.3 < white.float().mean() < 0.5
    assert (made[white] == 1).all() and made.isfinite().all()
    flat = made.std((2, 3)).amax(1) < 1e-6
    assert (flat & ~white).any() and (~flat).sum() > 60


def test_recolouring_changes_colours_not_shapes() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 256, 256).expand(64, -1, -1, -1)
    after = looks.recolour(picture)
    assert after.isfinite().all() and after.min() >= 0 and after.max() <= 1
    same = (after - picture).abs().mean((1, 2, 3)) < 0.02
    assert same.float().mean() < 0.5
    assert (after - after.mean(1, keepdim=True)).abs().amax((1, 2, 3)).lt(1e-3).any()  # grey


def test_what_is_covered_is_hidden() -> None:
    torch.manual_seed(0)
    at = torch.arange(0, 256, 4.0)
    joints = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).flatten(0, 1)
    pictures = torch.full((60, 3, 256, 256), 2.0)
    after, under = augment.cover(pictures, joints.expand(60, -1, -1))
    chosen = under.any(1)
    assert 10 <= chosen.sum() <= 14
    for picture, hidden in zip(after[chosen], under[chosen], strict=True):
        x, y = joints[hidden].long().unbind(-1)
        assert (picture[:, y, x] <= 1).all()
    assert (after[~chosen] == 2).all()


def test_kept_out_species_are_not_drawn(lot: np.random.Generator) -> None:
    made = [drawn.random_character(lot) for _ in range(300)]
    assert not {c.species for c in made} & set(drawn.HELD_OUT)
    assert sum(c.build is not None for c in made) > 100
    first, again = (drawn.held_out_samples(4) for _ in range(2))
    assert all(np.array_equal(a.cut, b.cut) for a, b in zip(first, again, strict=True))


def test_files_return_what_was_written(tmp_path) -> None:
    samples = drawn.held_out_samples(3)
    Samples.of(samples, ["cow", "cow", "goat"]).save(tmp_path / "rendered-00.npz")
    again = Samples.load(tmp_path / "rendered-00.npz")
    assert len(again) == 3 and not list(tmp_path.glob("*.tmp"))
    for i, sample in enumerate(samples):
        assert np.array_equal(again[i].cut, sample.cut) and again[i].corner == sample.corner
        np.testing.assert_array_equal(again[i].joints, sample.joints)
    assert again.where(np.array([False, True, True])).species.tolist() == ["cow", "goat"]
    feed = Feed(Options(resident=12), CPU, tmp_path)
    feed.fill()
    assert feed.pool.shelves["rendered"].count == 2 and len(feed.kept_out) == 1
    np.testing.assert_array_equal(feed.kept_out[0].cut, samples[2].cut)


def test_new_files_are_taken_in_once(tmp_path, lot: np.random.Generator) -> None:
    made = bank.new_samples("drawn", None, lot, 3)
    feed = Feed(Options(resident=2), CPU, None)
    feed.new = tmp_path
    feed.renew()
    made.save(tmp_path / "drawn-00-00000.npz")
    feed.renew()
    assert len(feed.pool) == 2 and not list(tmp_path.iterdir())


def test_the_oldest_samples_make_place() -> None:
    samples = Samples.of(drawn.held_out_samples(5), list("abcde"))
    pool = pool_of(samples.where(np.arange(5) < 3), room=4)
    pool.put("drawn", samples.where(np.arange(5) >= 3))
    (shelf,) = pool.shelves.values()
    assert shelf.species.tolist() == [4, 1, 2, 3] and shelf.count == 4
    x, y, w, h = shelf.boxes[0].long().tolist()
    cut = shelf.canvases[0, y : y + h, x : x + w].numpy()
    np.testing.assert_array_equal(cut, samples[4].cut)
    assert (shelf.canvases[0, ..., 3] > 0).sum() == (samples[4].cut[..., 3] > 0).sum()


def test_species_are_balanced() -> None:
    species = np.array(["cow"] * 9 + ["cat"] + ["boar"] * 5)
    legs, boars = np.zeros(15, bool), species == "boar"
    weights = balanced(species, legs, boars)
    assert weights.sum() == pytest.approx(1) and weights[10:].sum() == pytest.approx(0.15)
    assert weights[9] == pytest.approx(3 * weights[0])
    legless = balanced(species, species == "cat", boars)
    assert legless[9] == pytest.approx(0.35 * 3 * legless[0])
    assert not set(CONFIDENCE) & set(HELD_OUT) and "boar" in CONFIDENCE


def test_confidence_species_are_marked(lot: np.random.Generator) -> None:
    """And taken in their share, for confidence alone."""
    samples = bank.new_samples("drawn", None, lot, 4)
    names = np.array([CONFIDENCE[0], *["cow"] * (len(samples) - 1)])
    torch.manual_seed(0)
    batch = pool_of(replace(samples, species=names), "rendered").next(100, 0.3)
    assert 5 < (~batch.learnt).sum() < 30
    assert (batch.judged[~batch.learnt] == 1).all() and (batch.judged[batch.learnt] < 0.1).all()
    assert pool_of(replace(samples, species=names)).next(20, 0.3).learnt.all()  # drawn boars


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


def test_a_bank_is_filled_by_processes(tmp_path) -> None:
    order = bank.Order(tmp_path, drawn=2 * bank.CHUNK)
    for process in bank.start(order, 2, 60):
        process.join()
        assert process.exitcode == 0
    found = [Samples.load(path) for path in bank.files(tmp_path, "drawn")]
    assert len(found) == 2 and all(len(samples) >= bank.CHUNK for samples in found)
    assert not np.array_equal(found[0].joints[0], found[1].joints[0])


def test_videos_are_read_as_pyav_reads_them(tmp_path) -> None:
    """In full colour resolution, within a few levels."""
    av = pytest.importorskip("av")
    frames = np.stack([s.cut[:64, :64, :3] for s in drawn.held_out_samples(3)])
    with av.open(str(tmp_path / "clip.mp4"), "w") as video:
        stream = video.add_stream("h264", rate=10, options={"crf": "8"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    with av.open(str(tmp_path / "clip.mp4")) as video:
        known = np.stack([f.to_ndarray(format="rgb24") for f in video.decode(video=0)])
    found = read(tmp_path / "clip.mp4")
    assert found.shape == known.shape
    assert np.abs(found.astype(int) - known).max() <= 4
    with pytest.raises(ValueError, match="no frame could be read"):
        read(tmp_path / "none.mp4")


def test_white_inside_an_animal_is_foreground() -> None:
    frame = np.full((40, 40, 3), 255, np.uint8)
    frame[8:30, 8:30] = 60
    frame[14:20, 14:20] = 255
    mask = foreground(frame)
    assert mask[16, 16] and not mask[4, 4] and mask.sum() == 22 * 22


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
