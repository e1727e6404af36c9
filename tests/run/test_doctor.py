"""`anamodiff doctor`: what it adds up, and that it needs no net."""

from pathlib import Path

import pytest
import torch

from anamodiff.backbone import speed
from anamodiff.backbone.find import PAPER, choose_backbone
from anamodiff.backbone.speed import measured_speed
from anamodiff.options import GenerationOptions, TuningOptions
from anamodiff.run import doctor
from anamodiff.run.doctor import Estimate, duration, memory_lines, paper_estimate
from anamodiff.run.fetch import cached_models


def test_the_papers_run_adds_up() -> None:
    """250 iterations of two clips at 23.3 TFLOP each, and so on, at one TFLOP a second."""
    assert (TuningOptions().iterations, GenerationOptions().steps) == (250, 50)
    stages = paper_estimate(1e12, 10).stages
    assert stages["tuning"] == pytest.approx(250 * 2 * 23.3)
    assert stages["inversion"] == pytest.approx(50 * 0.977)
    assert stages["sampling"] == pytest.approx(50 * 2 * 9.77)
    assert (stages["encoding"], stages["decoding"]) == pytest.approx((11.2, 50.2))
    twice = paper_estimate(2e12, 20).stages
    assert twice["sampling"] == pytest.approx(stages["sampling"])
    slower = paper_estimate(1e12, 10, checkpointed=True).stages
    assert slower["tuning"] == pytest.approx(250 * 2 * 31.6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.512, "0.51 s"), (42.4, "42 s"), (130, "2.2 min"), (4000, "67 min"), (9e4, "25 h"),
     (9e5, "10 days")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_an_estimate_is_its_stages() -> None:
    assert Estimate({"tuning": 30.0, "sampling": 12.0}).line == (
        "about 42 s (tuning 30 s, sampling 12 s)"
    )


def test_speed_is_operations_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    took = []
    monkeypatch.setattr(speed, "_seconds", lambda run, device: took.append(run()) or 0.5)
    found = measured_speed(torch.device("cpu"), torch.float32) * 0.5
    tokens, width = 32 * 32, 320
    convolutions = 2 * tokens * width * width * 9 + 1280 * width
    projections = 4 * tokens * width**2 + 2 * tokens * width**2 + 2 * 77 * 768 * width
    attention = 2 * tokens * width * (tokens + 77)
    feed_forward = tokens * width * 8 * width + tokens * 4 * width * width
    by_hand = 2 * (convolutions + projections + attention + feed_forward)
    assert found == pytest.approx(by_hand, rel=1e-3)
    assert took == [None]


def test_memory_is_compared_with_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_free_memory", lambda device: 10 * 2**30)
    lines = memory_lines(torch.device("cpu"), True)
    assert [line.split(", ")[-1] for line in lines[:3]] == ["too much", "fits", "fits"]
    assert "about 26 GiB, too much" in memory_lines(torch.device("cpu"), False)[0]


def test_all_is_told_without_a_net(fake_hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub.online = False
    load = doctor.Backbone.load  # at its own size it would take seconds
    monkeypatch.setattr(doctor.Backbone, "load", lambda name, **more: load(name, size=128, **more))
    lines = "\n".join(doctor.doctor(frames=2, device="cpu"))
    for word in ("device: cpu", "memory: ", "precision: float32", f"hub cache: {fake_hub.cache}"):
        assert word in lines
    assert "anamodiff fetch sd14" in lines and "backbone auto: mini" in lines
    assert "\n  mini: about" in lines and "TFLOP/s: about" in lines
    assert not fake_hub.asked


@pytest.mark.parametrize("cached", [True, False])
def test_auto_is_told_as_it_is_chosen(cached: bool, fake_hub, tiny_backbone_folder: Path) -> None:
    if cached:
        fake_hub.put(PAPER, tiny_backbone_folder)
    words = doctor._auto_words(torch.device("cuda"), cached_models(half=False))
    assert words.startswith(f"{PAPER}, with the embedded flow network")
    assert ("which would be fetched first, or mini where it cannot be" in words) != cached
    assert choose_backbone(torch.device("cuda"), torch.float32) == (PAPER if cached else "mini")


def test_a_long_clip_is_tuned_window_by_window():
    short, long = (paper_estimate(1e12, frames).stages for frames in (10, 40))
    assert long["tuning"] == short["tuning"]
    assert long["sampling"] == 4 * short["sampling"]
