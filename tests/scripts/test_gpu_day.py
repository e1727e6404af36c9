"""The GPU measurements: parts run apart, are killed in time, and leave their figures."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import gpu_day  # noqa: E402
from gpu import runner, summary  # noqa: E402
from gpu.runner import PARTS, Part, run_parts  # noqa: E402

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {scripts!r})
from gpu.record import Record
letter = sys.argv[sys.argv.index("--child") + 1]
record = Record(Path(sys.argv[sys.argv.index("--record") + 1]), float(sys.stdin.readline()))
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
    script.write_text(CHILD.format(scripts=str(SCRIPTS)), encoding="utf-8")
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


def test_later_parts_keep_the_least_time_that_they_need(children, tmp_path, monkeypatch):
    monkeypatch.setitem(PARTS, "d", Part("part d", "none", 60, 3))
    monkeypatch.setattr(runner, "SECONDS", 10)
    day = run_parts(tmp_path / "out", "dc", 10, [], None)
    assert day["parts"]["d"]["limit"] <= 9.1  # a second is kept for c
    assert day["parts"]["d"]["status"] == "out of time"
    assert day["parts"]["c"]["status"] in ("done", "left out")  # it still had its turn


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
    assert figures["e"]["compiled_sampling"]["same"] and figures["e"]["compiled_tuning"]["same"]
    assert len(figures["f"]["pairs_per_second"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "demo.png", "gpu_day.json", "gpu_day.log",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**20
