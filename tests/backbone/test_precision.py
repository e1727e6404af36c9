"""Precision on CPUs: measured once for a machine, kept, by stage, and without effect in fp32."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anamodiff.backbone import precision, probe
from anamodiff.backbone.model import Backbone
from anamodiff.backbone.precision import StagePrecision, measured_precision, stage_precision
from anamodiff.errors import AnaMoDiffError

CPU = torch.device("cpu")
MIXED = "tuning=bf16,sampling=fp32,decoding=bf16"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, which is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(precision.CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float | None]]:
    """What measurements will give, in turn; one that is not there fails."""
    given: list[dict[str, float | None]] = []
    monkeypatch.setattr(precision, "bf16_gains", lambda: given.pop(0))
    return given


def test_a_stage_that_gains_a_tenth_is_in_bf16(cache, gains, caplog) -> None:
    gains.append({"decoding": 1.1, "sampling": 1.09, "tuning": 1.5})
    with caplog.at_level(logging.INFO):
        assert str(measured_precision()) == MIXED
    (line,) = caplog.messages
    assert line.startswith(f"precision: {MIXED}") and "sampling 1.09" in line
    # Kept: nothing is measured again, and nothing said.
    caplog.clear()
    assert str(measured_precision()) == MIXED and not caplog.messages


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"precision": 4}', '{"precision": "int3"}',
     '{"precision": "tuning=bf16"}', "\x00\xff"],
)  # fmt: skip
def test_a_broken_or_deleted_file_is_measured_anew(content, cache, gains) -> None:
    fast = {"decoding": 2.0, "sampling": 2.0, "tuning": 2.0}
    slow = dict.fromkeys(fast, 0.5)
    gains += [slow, fast, slow]
    assert str(measured_precision()) == "fp32"
    (file,) = cache.iterdir()
    file.write_text(content, encoding="latin-1")
    assert measured_precision() == StagePrecision.uniform(torch.bfloat16)
    assert json.loads(file.read_text())["gains"] == fast
    file.unlink()
    assert str(measured_precision()) == "fp32" and not gains


def test_another_thread_count_or_torch_is_measured_for_itself(cache, gains, monkeypatch) -> None:
    gains += [{"decoding": 2.0, "sampling": 2.0, "tuning": 2.0}] * 3
    measured_precision()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    measured_precision()
    monkeypatch.setattr(torch, "__version__", "9.9")
    measured_precision()
    assert len(list(cache.iterdir())) == 3 and not gains


def test_what_a_busy_machine_could_not_tell_is_fp32_and_not_kept(cache, gains, caplog) -> None:
    gains += [{"decoding": 2.0, "sampling": None, "tuning": None}]
    with caplog.at_level(logging.INFO):
        assert str(measured_precision()) == "tuning=fp32,sampling=fp32,decoding=bf16"
    assert "busy" in caplog.text and not cache.exists()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, gains, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(precision.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    gains += [{"decoding": 2.0, "sampling": 2.0, "tuning": 2.0}]
    assert measured_precision() == StagePrecision.uniform(torch.bfloat16)


def test_only_auto_on_a_cpu_is_measured(cache, monkeypatch) -> None:
    monkeypatch.setattr(precision, "bf16_gains", lambda: pytest.fail("it was measured"))
    for name in ("fp32", "bf16", MIXED):
        stage_precision(name, CPU)
    assert str(stage_precision("auto", torch.device("mps"))) == "fp32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    cuda = stage_precision("auto", torch.device("cuda"))
    assert cuda == StagePrecision.uniform(torch.bfloat16)
    Backbone.load("mini", device="cpu").encode(torch.zeros(1, 3, 128, 128))
    with pytest.raises(AnaMoDiffError, match="expected precision auto, fp32"):
        stage_precision("tuning=bf16", CPU)


@pytest.mark.slow
def test_help_measures_nothing(cache) -> None:
    """Nor does the import of what measures."""
    code = "import anamodiff.backbone.precision; from anamodiff.cli.main import main; main(['-h'])"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=120)
    assert not cache.exists()


def test_the_probe_is_brief_and_leaves_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    began = time.perf_counter()
    gains = probe.bf16_gains(seconds=0.5)
    assert time.perf_counter() - began < 5  # a step that has begun is ended, on a busy machine too
    assert list(gains) == ["decoding", "sampling", "tuning"]
    assert all(gain is None or gain > 0 for gain in gains.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert set(probe.bf16_gains(seconds=0).values()) == {None}


def test_the_probe_compares_times(monkeypatch) -> None:
    """The median, so that one disturbed round does not decide."""
    now = [0.0]
    steps = {torch.float32: [0.03, 0.03, 0.03, 0.9, 0.03], torch.bfloat16: [0.02] * 5}

    def make(dtype: torch.dtype, frames: int):
        def step() -> None:
            now[0] += steps[dtype].pop(0)

        return step

    monkeypatch.setattr(probe.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(probe.time, "process_time", lambda: now[0])
    monkeypatch.setattr(probe, "ROUNDS", (3, 4))
    gain = probe._gain(probe.Probe(make, few=1, most=100, share=1.0), end=1.12)
    assert gain == pytest.approx(1.5)


def test_decoding_in_bf16_keeps_the_encoder_and_its_weights() -> None:
    single = Backbone.load("mini", device="cpu", precision="fp32")
    mixed = Backbone.load("mini", device="cpu", precision=MIXED)
    frames = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = single.encode(frames)
    assert torch.equal(mixed.encode(frames), latents) and mixed.dtype == torch.float32
    decoded, rounded = single.decode(latents), mixed.decode(latents)
    assert not torch.equal(decoded, rounded)
    assert 127.5 * (decoded - rounded).abs().mean() < 1.5  # levels
    with mixed.in_precision("fp32"):  # it was named: a run does not change it
        assert torch.equal(mixed.decode(latents), rounded)
    auto = Backbone.load("mini", device="cpu")
    with auto.in_precision(MIXED):
        assert torch.equal(auto.decode(latents), rounded)
        assert auto.precision_name == MIXED
    with auto.in_precision("fp32"):
        assert torch.equal(auto.decode(latents), decoded)
