"""`transfer-many`, and the jobs that share its rows."""

from pathlib import Path

import pytest
from cli_samples import Stages

from anamodiff.cli import actions, compose
from anamodiff.cli import main as cli


def test_transfer_many_takes_a_list(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["transfer-many", "my list, 1.csv", "--frames", "4", "tuning.lr=1e-4", "threads=3"]
    words += ["--vram", "8"]
    assert cli.main([*words, "--output", "all"]) == 0
    (name, called) = stages.calls[-1]
    assert (name, called.pop("arguments")) == (
        "transfer_many", (str(tmp_path / "my list, 1.csv"),)
    )  # fmt: skip
    sections = {key: called.pop(key) for key in ("adaptation", "memory", "tuning", "generation")}
    assert sections["tuning"]["lr"] == 1e-4
    assert sections["memory"]["vram"] == 8
    assert called == {
        "output": "all",
        "sweep": None,
        "threads": 3,
        "backbone": "auto",
        "lofnet": None,
        "size": None,
        "frames": 4,
        "seed": 0,
        "start_frame": "first",
        "preset": None,
        "device": "auto",
        "precision": "auto",
        "progress": True,
    }


def test_jobs_get_the_settings_of_transfer_many(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["l.csv", "--jobs", "4", "--iterations", "5", "launcher=joblib", "launch='+a.b=1 c=2'"]
    assert cli.main(["transfer-many", *words]) == 0
    swept: dict = {}
    monkeypatch.setattr(actions, "multirun", lambda *words, **keys: swept.update(keys, words=words))
    stages.last["sweep"](Path("all"), 3)
    name, overrides, key, jobs = swept["words"]
    assert (name, key, list(jobs)) == ("transfer_many", "job", [0, 1, 2]), "one for each row"
    assert (swept["launcher"], swept["folder"]) == ("joblib", tmp_path / "all" / "hydra")
    own = ["hydra.launcher.n_jobs=3", "+hydra.launcher.a.b=1", "hydra.launcher.c=2"]
    assert overrides[-3:] == own
    swept["task"](compose.compose(name, [*overrides[:-3], "job=2"]))
    called = stages.last
    assert called["arguments"] == (str(tmp_path / "l.csv"),)
    assert (called["output"], called["job"], called["jobs"]) == (str(tmp_path / "all"), 2, 3)
    assert called["tuning"]["iterations"] == 5
    assert not {"launcher", "launch", "list"} & set(called)
