"""The report script on drawn clips and a tiny network."""

import sys
from pathlib import Path

import pytest
import torch

from anamodiff import creatures
from anamodiff.video.clip import write_video
from anamodiff.video.letterbox import from_pixels

pytestmark = pytest.mark.slow

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """Two pairs as in a benchmark folder, 64 pixels."""
    folder = tmp_path_factory.mktemp("bench")
    for name, species in (("one", ("turtle", "rhino")), ("two", ("cat", "horse"))):
        pair = creatures.draw_pair(
            5, source_species=species[0], driving_species=species[1], frames=4, size=64
        )
        for kind in ("source", "driving", "truth"):
            drawn = getattr(pair, kind)
            write_video(folder / name / f"{kind}.gif", from_pixels(drawn.frames), drawn.fps)
    return folder


def report(*words: object) -> int:
    from measure_lofnet import main

    return main([str(word) for word in words])


def figures(line: str) -> list[float]:
    return [float(word) for word in line.split()[-4:] if word.replace(".", "").isdigit()]


def test_quality_and_noise_are_tables(bench, tiny_backbone_folder, capsys):
    words = ("--only", "reconstruction", "--only", "points", "--only", "noise", "--frames", 4)
    assert report(bench, *words, "--backbone", tiny_backbone_folder, "--noises", 50) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith("==")]
    assert titles == ["== reconstruction", "== points", "== noise"]
    one, two, mean = (
        figures(next(x for x in lines if x.startswith(n))) for n in ("one", "two", "mean")
    )
    assert mean == pytest.approx([(a + b) / 2 for a, b in zip(one, two, strict=True)], abs=1e-3)
    assert one[2] == pytest.approx(one[0] / one[1], rel=0.05)
    half = next(line for line in lines if line.startswith("half a pixel, bilinear"))
    assert figures(half)[-1] == pytest.approx(0.5, abs=0.1)


def test_every_way_to_adapt_is_compared_with_the_truth(bench, tiny_backbone_folder):
    from measure.transfer import against_base, overlaps
    from measure_lofnet import read_pairs

    from anamodiff.evaluation.pairs import folder_pairs
    from anamodiff.run.motion_transfer import MotionTransfer

    method = MotionTransfer.load(tiny_backbone_folder, device="cpu").method
    pairs = read_pairs(folder_pairs(bench), 4, 64)
    rows = overlaps(method, pairs)
    assert list(rows) == ["one", "two"]
    ways = ("still", "raw", "hull", "hull~", "none", "axes", "parts")
    assert all(0 <= row[way] <= 1 for row in rows.values() for way in ways)
    summary = against_base(rows)
    assert summary["hull"]["gain"] == 0
    mean = sum(row["none"] - row["hull"] for row in rows.values()) / len(rows)
    assert summary["none"]["gain"] == pytest.approx(mean, abs=1e-6)


def test_drawn_pairs_are_measured_too(bench, tiny_backbone_folder, capsys):
    words = ("--only", "transfer", "--backbone", tiny_backbone_folder, "--frames", 4)
    assert report(bench, *words, "--creatures", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("drawn pair"))
    assert [line.split()[0] for line in lines[first + 1 : first + 4]] == [
        "turtle-rhino-walk", "giraffe-elephant-jump", "mean",
    ]  # fmt: skip


def test_speed_is_measured(tiny_backbone_folder):
    from measure.speed import inference, training

    from anamodiff.lofnet.model import LOFNet

    lofnet = LOFNet.load(tiny_backbone_folder / "lofnet")
    before = lofnet.detector.kp.weight.clone()
    found = inference(lofnet, 16, repeats=1)
    assert found["both"] == pytest.approx(found["detector"] + found["flow"])
    assert min(found.values()) > 0
    assert training(lofnet, 16, steps=1) > 0
    assert torch.equal(lofnet.detector.kp.weight, before), "the measured network stays as it is"


def test_the_paper_s_size_is_the_configs():
    with torch.device("meta"):
        from measure.speed import mgif_network

        lofnet = mgif_network()
    assert lofnet.frame_size == 256
    assert lofnet.detector.config["max_features"] == 1024


def test_a_folder_without_pairs_is_one_line(tmp_path, tiny_backbone_folder, capsys):
    assert report(tmp_path, "--backbone", tiny_backbone_folder) == 2
    assert "expected pairs" in capsys.readouterr().err.splitlines()[-1]
