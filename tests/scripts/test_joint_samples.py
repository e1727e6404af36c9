"""Samples of the joint trainings: files, banks, pools, videos."""

import io
import json
import lzma
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from joint_samples import CPU, pool_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from joints import bank, drawn, rendered  # noqa: E402
from joints.pool import balanced  # noqa: E402
from joints.rendered import CLIPS, CONFIDENCE, HELD_OUT, foreground, read  # noqa: E402
from joints.samples import Samples  # noqa: E402
from joints.training import Feed, Options  # noqa: E402

from anamodiff.creatures import SEEN  # noqa: E402


@pytest.fixture(autouse=True)
def always_the_same() -> None:
    random.seed(4)


@pytest.fixture
def lot() -> np.random.Generator:
    return np.random.default_rng(3)


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


def test_what_there_was_no_time_for_comes_later(tmp_path) -> None:
    """Species kept out are neither learnt nor, once training has begun, kept to measure with."""
    samples = Samples.of(drawn.held_out_samples(3), ["cow", "cow", "goat"])
    for name in ("rendered-00", "drawn-00", "reshaped-00"):
        samples.save(tmp_path / f"{name}.npz")
    feed = Feed(Options(resident=12), CPU, tmp_path)
    feed.fill(seconds=0)
    assert len(feed.pool) == 0
    counts = [feed.renew() or len(feed.pool) for _ in range(4)]
    assert counts == [2, 5, 8, 8] and not feed.kept_out
    assert len(list(tmp_path.iterdir())) == 6


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


def test_shipped_weights_learn_from_species_that_scored_ones_do_not(tmp_path) -> None:
    """Even there some are only judged; they are also what is left to measure on."""
    names = ["goat", "wildebeest", "boar", "cow"]
    Samples.of(drawn.held_out_samples(4), names).save(tmp_path / "rendered-00.npz")
    learnt, kept = {}, {}
    for split in rendered.SPLITS:
        feed = Feed(Options(resident=20, split=split), CPU, tmp_path)
        feed.fill()
        shelf = feed.pool.shelves["rendered"]
        there = {number: name for name, number in shelf.names.items()}
        rows = range(shelf.count)
        learnt[split] = {there[int(shelf.species[i])] for i in rows if shelf.learnt[i]}
        kept[split] = len(feed.kept_out)
    assert learnt == {"scored": {"cow"}, "shipped": {"goat", "wildebeest", "cow"}}
    assert kept == {"scored": 1, "shipped": 1}, "the goat; the boar"


@pytest.mark.slow
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


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """A folder of two triples of a box on four legs, without masks and faces of frames."""
    root, lot = tmp_path / "motion" / "train_pairs", np.random.default_rng(0)
    (root / "models").mkdir(parents=True)
    (tmp_path / "motion" / "train_joints").mkdir()
    (tmp_path / "motion" / "train_joints" / "joints.json").write_text("{}")
    joints = np.zeros((22, 3), np.float32)
    joints[:6] = [(0, 0.7, z) for z in (1.0, 0.9, 0.75, 0.45, 0.15, 0.0)]
    for start, x, z in ((6, 0.1, 0.7), (10, -0.1, 0.7), (14, 0.1, 0.2), (18, -0.1, 0.2)):
        joints[start : start + 4] = [(x, y, z) for y in (0.6, 0.4, 0.2, 0.0)]
    corners = [(x, y, z) for x in (-0.12, 0.12) for y in (0.55, 0.8) for z in (0.0, 1.0)]
    faces = [(4, 6, 7), (4, 7, 5), (0, 3, 2), (0, 1, 3)]
    for start in (6, 10, 14, 18):
        (x, high, z), n = joints[start], len(corners)
        corners += [(x, high, z - 0.05), (x, high, z + 0.05), (x, 0, z + 0.05), (x, 0, z - 0.05)]
        faces += [(n, n + 1, n + 2), (n, n + 2, n + 3)]
    reference = np.array(corners, np.float32)
    np.savez(root / "models" / "box.npz", ref=reference, joints=joints, F=np.array(faces))

    def seen(places: np.ndarray) -> np.ndarray:
        return np.stack([40 + 170 * places[..., 2], 210 - 170 * places[..., 1]], -1)

    metas = []
    for name, species in (("one", "cow"), ("two", "goat")):
        folder = root / "triples" / name
        folder.mkdir(parents=True)
        places = np.repeat(seen(reference)[None], 10, 0) + np.arange(10)[:, None, None]
        steps = np.diff(places, axis=0, prepend=0) * 64
        dense = io.BytesIO()
        np.savez(dense, **{f"dP_{clip}": steps.round().astype(np.int16) for clip in CLIPS})
        (folder / "dense.npz.xz").write_bytes(lzma.compress(dense.getvalue()))
        for clip in CLIPS:
            video = cv2.VideoWriter(
                str(folder / f"{clip}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (256, 256)
            )
            for i in range(10):
                frame = np.full((256, 256, 3), 255, np.uint8)
                frame[80 + i : 200 + i, 40 + i : 210 + i] = lot.integers(0, 200, 3)
                video.write(frame)
            video.release()
        metas.append(
            {"id": name, "near_side": "left", "same_skeleton": True}
            | {f"{who}_{k}": v for who in ("source", "driving")
               for k, v in (("species", species), ("model", "box"))}
        )  # fmt: skip
    (root / "index.jsonl").write_text("\n".join(map(json.dumps, metas)))
    xy = (seen(joints)[None] + np.arange(10)[:, None, None] + 0.5).astype(np.float32)
    np.savez(
        root / "joints.npz", xy=np.broadcast_to(xy, (2, 3, *xy.shape)),
        vis=np.full((2, 3, 10, 22), SEEN, np.uint8),
    )  # fmt: skip
    return tmp_path / "motion"


def test_a_motion_folder_becomes_samples(motion: Path, tmp_path: Path) -> None:
    """Of clips without masks and surface maps; held-out species are put aside, never reshaped."""
    order = bank.Order(tmp_path / "bank", motion, reshaped=bank.CHUNK)
    order.folder.mkdir()
    bank.work(order, 0, 1, time.time() + 60, 0)
    parts = [Samples.load(path) for path in bank.files(order.folder, "rendered")]
    assert [len(part) for part in parts] == [30, 30]
    sample = parts[0][3]
    assert np.abs(np.subtract(sample.cut.shape[:2], (124, 174))).max() < 4
    assert np.abs(np.subtract(sample.corner, (41, 81))).max() < 3
    (made,) = (Samples.load(path) for path in bank.files(order.folder, "reshaped"))
    assert set(made.species) == {"cow"} and np.isfinite(made.joints).all()
    for i in range(0, 60, 7):  # joints of the trunk lie on the animal
        x, y = (made[i].joints[3] - made[i].corner).round().astype(int)
        assert made[i].cut[y, x, 3] == 255
    feed = Feed(Options(resident=60), CPU, order.folder)
    feed.fill()
    assert {kind: shelf.count for kind, shelf in feed.pool.shelves.items()} == {
        "rendered": 30, "drawn": 0, "reshaped": 15,
    }  # fmt: skip
    assert len(feed.kept_out) == 30


def test_a_bad_clip_is_left_out(motion: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (motion / "train_pairs" / "triples" / "one" / "truth.mp4").write_bytes(b"no video")
    monkeypatch.setattr(rendered, "PARTS", 1)
    order = bank.Order(tmp_path / "bank", motion)
    order.folder.mkdir()
    bank.work(order, 0, 1, time.time() + 60, 0)
    (path,) = bank.files(order.folder, "rendered")
    assert set(Samples.load(path).species) == {"goat"}
    assert "0 is left out" in (said := capsys.readouterr().err) and "truth.mp4" in said


def test_white_inside_an_animal_is_foreground() -> None:
    frame = np.full((40, 40, 3), 255, np.uint8)
    frame[8:30, 8:30] = 60
    frame[14:20, 14:20] = 255
    mask = foreground(frame)
    assert mask[16, 16] and not mask[4, 4] and mask.sum() == 22 * 22
