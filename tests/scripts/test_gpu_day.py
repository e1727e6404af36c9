"""The GPU measurements: parts run apart, are killed in time, and leave their figures."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import gpu_day  # noqa: E402
from gpu import runner, suite, summary, transfers  # noqa: E402
from gpu.kernels import summarise  # noqa: E402
from gpu.record import Record  # noqa: E402
from gpu.runner import PARTS, Part, run_parts  # noqa: E402

from anamodiff.options import PRESETS  # noqa: E402

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {scripts!r})
from gpu.record import Record
from gpu.runner import ready_file
letter = sys.argv[sys.argv.index("--child") + 1]
path = Path(sys.argv[sys.argv.index("--record") + 1])
time.sleep({importing})
ready_file(path).touch()
record = Record(path, float(sys.stdin.readline()))
record.note(letter=letter, left=record.left())
print("begun", letter)
if letter == "d":
    time.sleep(600)
if letter == "b":
    raise RuntimeError("out of luck")
record.note(more=1)
"""


@pytest.fixture
def children(tmp_path, monkeypatch):
    """Three parts that only note a figure: one ends, one hangs, one fails."""
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(scripts=str(SCRIPTS), importing=0), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(script)])
    for letter in "cdb":
        monkeypatch.setitem(PARTS, letter, Part(f"part {letter}", "none", 60, 1))
    monkeypatch.setitem(PARTS, "d", Part("part d", "none", 4, 1))


def test_a_part_that_hangs_or_fails_leaves_its_figures_and_the_others_run(children, tmp_path):
    out, started = tmp_path / "out", time.monotonic()
    day = run_parts(out, "cdb", 280, [], "abc")
    assert time.monotonic() - started < 60
    written = json.loads((out / "gpu_day.json").read_text())
    assert written == json.loads(json.dumps(day))
    assert written["machine"]["commit"] == "abc" and written["machine"]["libraries"]["torch"]
    c, d, b = (written["parts"][letter] for letter in "cdb")
    assert (c["status"], d["status"], b["status"]) == ("done", "out of time", "failed")
    assert [row["figures"]["letter"] for row in (c, d, b)] == ["c", "d", "b"]
    assert c["figures"]["more"] == 1 and "more" not in b["figures"]
    assert 3 < d["figures"]["left"] <= 4
    assert "RuntimeError: out of luck" in b["output"] and "output" not in c
    log = (out / "gpu_day.log").read_text()
    assert all(f"begun {letter}" in log for letter in "cdb") and "out of luck" in log
    text = "\n".join(summary.lines(day))
    assert "part b: failed" in text and "RuntimeError: out of luck" in text


@pytest.mark.slow
def test_later_parts_keep_the_least_time_that_they_need(children, tmp_path, monkeypatch):
    monkeypatch.setitem(PARTS, "d", Part("part d", "none", 60, 3))
    monkeypatch.setattr(runner, "SECONDS", 10)
    day = run_parts(tmp_path / "out", "dc", 10, [], None)
    assert day["parts"]["d"]["limit"] <= 9.1  # a second is kept for c
    assert day["parts"]["d"]["status"] == "out of time"
    assert day["parts"]["c"]["status"] in ("done", "left out")  # it still had its turn


@pytest.mark.slow
def test_imports_do_not_count_against_a_part(children, tmp_path):
    """The first part's libraries are imported while nothing else runs."""
    script = Path(sys.argv[0])
    script.write_text(CHILD.format(scripts=str(SCRIPTS), importing=6), encoding="utf-8")
    day = run_parts(tmp_path / "out", "db", 280, [], None)  # d may take four seconds
    assert 3 < day["parts"]["d"]["figures"]["left"] <= 4
    assert 3 < day["parts"]["d"]["seconds"] < 5


def test_least_times_are_kept_whole_as_long_as_there_is_time_for_all():
    own = {letter: PARTS[letter].least for letter in PARTS}
    assert sum(own.values()) < runner.SECONDS
    assert runner._least(list(PARTS), 250) == own
    halves = runner._least(list(PARTS), sum(own.values()) / 2)
    assert halves == pytest.approx({letter: least / 2 for letter, least in own.items()})


def test_a_suite_that_is_killed_leaves_the_tests_that_ended(tmp_path):
    """Pytest's own summary comes at the end, too late for a process that is killed."""
    path, seen = tmp_path / "record.json", tmp_path / "seen.json"
    (tmp_path / "test_some.py").write_text(
        "def test_good(): pass\n"
        "def test_bad(): raise RuntimeError\n"
        f"def test_copy():\n    import shutil\n    shutil.copy({str(path)!r}, {str(seen)!r})\n"
    )
    noted = suite.Noted(Record(path, time.time() + 60))
    words = ["-n", "0", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    assert pytest.main(words, plugins=[noted]) == 1
    found = json.loads(seen.read_text())
    assert found["summary"] == "1 passed, 1 failed, 0 skipped" and found["collected"] == 3
    assert [name.split("::")[-1] for name in found["failures"]] == ["test_bad"]
    assert found["running"].endswith("test_copy")
    text = "\n".join(summary._suite(found))
    assert "did not end" in text and "1 failed, 0 skipped of 3" in text


def test_kernels_are_summed_against_the_steps_own_time():
    rows = [("a", 0.01, 3), ("b" * 300, 0.03, 1)]
    found = summarise(rows, seconds=0.2)
    assert found["busy_share"] == pytest.approx(0.2) and found["launches"] == 4
    assert [row["seconds"] for row in found["kernels"]] == [0.03, 0.01]
    assert len(found["kernels"][0]["name"]) < 300
    assert "20%" in next(iter(summary._compilation({"tuning_busy": found})))


def test_iterations_share_the_time_by_their_frames(monkeypatch):
    """`paper` sees ten frames in each of 250 iterations; the warm-up measured `fast`."""
    monkeypatch.setitem(PRESETS, "fast", {"tuning": {"iterations": 150, "window": 4},
                                          "generation": {"steps": 20}})  # fmt: skip
    stage = {"measured": 1.0}
    warm = {"encode and warp": stage, "decode": stage, "invert and sample": stage,
            "tuning": {"seconds_per_iteration": 0.1}}  # fmt: skip

    def run(left: float, *presets: str) -> int:
        bench = SimpleNamespace(small=False, size=SimpleNamespace(frames=10),
                                record=SimpleNamespace(left=lambda: left))  # fmt: skip
        return transfers._affordable(bench, warm, list(presets), presets[0])

    # Tuning of both takes 62.5 + 15 s, all else 7.5 s, and some are kept.
    assert run(transfers.RESERVE + 86, "paper", "fast") == 250
    assert run(transfers.RESERVE + 7.5 + 77.5 / 2, "paper", "fast") == 125
    assert run(transfers.RESERVE + 3 + 7.5, "fast") == 75
    assert run(0, "fast") == transfers.LEAST_ITERATIONS


def test_trials_of_tuning_have_their_lines():
    graph = {"seconds": {"kernels": 0.3, "cuda graph": 0.2}, "gain": 1.5, "same": True,
             "not_recorded": ["CUDA out of memory."]}  # fmt: skip
    attention = {"temporal": {"default": 0.01, "cudnn_attention": "No available kernel."}}
    figures = {"tuning_graph": graph, "attention": {"attention_seconds": attention}}
    first, reason, kernels = summary._compilation(figures)
    assert "1.50 times as fast" in first and reason.endswith("CUDA out of memory.")
    assert kernels == "attention, temporal: default 0.01000 s, cudnn_attention No available kernel."


def test_unknown_parts_are_named(tmp_path, capsys):
    assert gpu_day.main([str(tmp_path / "out"), "--parts", "c,x"]) == 2
    assert "got x" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_parts_on_small_models(tmp_path):
    """As it is run on a GPU."""
    words = [sys.executable, str(SCRIPTS / "gpu_day.py"), str(tmp_path), "--small"]
    done = subprocess.run(
        [*words, "--device", "cpu", "--seconds", "900"], cwd=SCRIPTS.parent, timeout=1000,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    day = json.loads((tmp_path / "gpu_day.json").read_text())
    figures = {letter: row["figures"] for letter, row in day["parts"].items()}
    assert set(figures) == set(PARTS)
    for made in figures["c"]["presets"].values():
        assert made["extrapolated"] and made["seconds"] > made["measured_seconds"]
        assert {"tuning", "decode"} <= set(made["stages"])
    assert len(figures["d"]["presets"]) == 4
    assert figures["b"]["same_motion"] and figures["b"]["within_rounding"]
    assert figures["a"]["passed"]
    assert figures["e"]["tuning_graph"]["same"] and figures["e"]["channels_last"]["same"]
    assert figures["e"]["compiled_sampling"]["same"] and figures["e"]["compiled_tuning"]["same"]
    assert len(figures["f"]["pairs_per_second"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "demo.png", "gpu_day.json", "gpu_day.log",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**20
