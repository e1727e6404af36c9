"""Many transfers: what is done stays, what fails stops nothing, and jobs share the rows."""

import csv
import json
import os
import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import anamodiff
from anamodiff.backbone import libraries
from anamodiff.cli import compose as config
from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.run import many
from anamodiff.run.many import ManyOptions, Outcome, Summary, transfer_many, transfer_share
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.result import Result
from anamodiff.run.rows import read_list
from anamodiff.run.stages import TunedRun

QUICK = {
    "frames": 2, "tuning": {"iterations": 1, "rank": 2, "checkpoint_every": 1},
    "generation": {"steps": 2, "guidance": 1.0}, "device": "cpu", "progress": False,
}  # fmt: skip
FLAGS = ["--frames", "2", "--iterations", "1", "--steps", "2", "--guidance", "1"]
FLAGS += ["--device", "cpu", "tuning.rank=2"]
LAUNCHERS = {
    "joblib": ["n_jobs=2"],
    "submitit_local": ["timeout_min=5"],
    "submitit_slurm": ["partition=gpu", "gpus_per_node=1", "timeout_min=240"],
    "ray": ["+ray.remote.num_gpus=1"],
}


@pytest.fixture
def quick(tiny_backbone_folder: Path) -> dict:
    return QUICK | {"backbone": tiny_backbone_folder}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list:
    """Every loading of models."""
    made, load = [], MotionTransfer.load

    def counting(*args: object, **kwargs: object) -> MotionTransfer:
        made.append(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(MotionTransfer, "load", counting)
    return made


@pytest.fixture
def tunings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompt of every tuning, also of those that resume."""
    made, transfer = [], MotionTransfer.transfer

    def noting(*args: object, **kwargs: object) -> Result:
        made.append(kwargs["prompt"])
        return transfer(*args, **kwargs)

    monkeypatch.setattr(MotionTransfer, "transfer", noting)
    return made


@pytest.fixture
def write(tmp_path: Path, drawn_clips: tuple[Path, Path]):
    """Writes a list beside copies of the drawn clips, `s.gif` and `d.gif`."""
    (tmp_path / "in").mkdir()
    for name, clip in zip(("s.gif", "d.gif"), drawn_clips, strict=True):
        (tmp_path / "in" / name).write_bytes(clip.read_bytes())

    def to(*rows: str, head: str = "source,driving,prompt,output,seed") -> Path:
        file = tmp_path / "in" / "list.csv"
        file.write_text("\n".join([head, *rows]))
        return file

    return to


def test_rows_become_what_single_transfers_are(
    write, quick: dict, loads: list, tmp_path: Path
) -> None:
    file = write(
        "s.gif,d.gif,a turtle,one,4", "s.gif,d.gif,a turtle,two.gif,", "s.gif,d.gif,a cat,,"
    )
    summary = transfer_many(file, output=tmp_path / "out", **quick)
    assert [(o.row, o.status, o.output) for o in summary.outcomes] == [
        (1, "done", "one"), (2, "done", "two.gif"), (3, "done", "s-d")
    ]  # fmt: skip
    assert len(loads) == 1 and not summary.undone
    names = {path.name for path in summary.folder.glob("[!.]*")}
    assert names == {"one", "two", "two.gif", "s-d", "rows", "summary.csv", "summary.json"}
    own = {key: quick[key] for key in ("frames", "tuning", "generation", "progress", "device")}
    clips = tmp_path / "in" / "s.gif", tmp_path / "in" / "d.gif"
    single = anamodiff.transfer(
        *clips, prompt="a turtle", seed=4, output=tmp_path / "single", backbone=quick["backbone"],
        **own,
    )  # fmt: skip
    row = anamodiff.read_clip(summary.folder / "one" / "frames", frames=2)
    saved = anamodiff.read_clip(single.run / "frames", frames=2)
    assert torch.equal(row.frames, saved.frames)


def test_bad_rows_stop_nothing_and_are_tried_again(
    write, quick: dict, loads: list, tunings: list[str], tmp_path: Path, caplog
) -> None:
    file = write(
        "none.gif,d.gif,a fish,gone,", "broken.gif,d.gif,a bird,broken,", "s.gif,d.gif,a cat,good,"
    )
    (tmp_path / "in" / "broken.gif").write_text("no gif")
    summary = transfer_many(file, output=tmp_path / "out", **quick)
    assert [o.status for o in summary.outcomes] == ["failed", "failed", "done"]
    gone, broken, _ = (o.reason for o in summary.outcomes)
    assert gone == f"expected a clip, found no {tmp_path / 'in' / 'none.gif'}"
    assert "broken.gif" in broken and "\n" not in broken
    assert "row 2 (broken) failed: " in caplog.text
    assert tunings == ["a bird", "a cat"] and len(loads) == 1
    rows = list(csv.DictReader((summary.folder / "summary.csv").open()))
    assert [row["reason"] for row in rows] == [gone, broken, ""]
    assert float(rows[2]["seconds"]) > 0
    assert [row["output"] for row in rows] == ["gone", "broken", "good"]
    stored = json.loads((summary.folder / "summary.json").read_text())["rows"]
    assert [row["status"] for row in stored] == ["failed", "failed", "done"]
    (tmp_path / "in" / "none.gif").write_bytes((tmp_path / "in" / "s.gif").read_bytes())
    tunings.clear()
    again = transfer_many(file, output=tmp_path / "out", **quick)
    assert tunings == ["a fish", "a bird"], "what is done is skipped"
    assert [o.status for o in again.outcomes] == ["done", "failed", "done"]
    assert again.outcomes[2] == summary.outcomes[2]


def test_models_are_not_loaded_for_nothing(write, quick: dict, loads: list, tmp_path: Path) -> None:
    file = write("s.gif,d.gif,a cat,one,", "none.gif,d.gif,a cat,two,")
    transfer_many(file, output=tmp_path / "out", **quick)
    transfer_many(file, output=tmp_path / "out", **quick)
    assert len(loads) == 1
    with pytest.raises(AnaMoDiffError, match="framse.*frames"):
        transfer_many(file, output=tmp_path / "other", framse=3)
    with pytest.raises(AnaMoDiffError, match="row 1: seed"):
        transfer_many(write("s.gif,d.gif,a cat,one,x"), output=tmp_path / "other", **quick)
    assert len(loads) == 1
    assert not (tmp_path / "other").exists()


def test_models_that_cannot_be_loaded_stop_all(write, quick: dict, tmp_path: Path) -> None:
    file = write("s.gif,d.gif,a cat,one,", "s.gif,d.gif,a cat,two,")
    with pytest.raises(AnaMoDiffError, match="backbone"):
        transfer_many(file, output=tmp_path / "out", **quick | {"backbone": str(tmp_path / "no")})
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["open", "open"]


def test_stopped_half_way_the_same_call_goes_on(
    write, quick: dict, tunings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("s.gif,d.gif,a cat,one,", "s.gif,d.gif,a dog,two,", "s.gif,d.gif,a cow,three,")
    generate = MotionTransfer._generate

    def stops(self: MotionTransfer, tuned: TunedRun, *args: object) -> Result:
        if tuned.folder.path.name == "two":
            raise KeyboardInterrupt
        return generate(self, tuned, *args)

    with monkeypatch.context() as patch:
        patch.setattr(MotionTransfer, "_generate", stops)
        with pytest.raises(KeyboardInterrupt):
            transfer_many(file, output=tmp_path / "out", **quick)
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["done", "open", "open"]
    weights = tmp_path / "out" / "two" / "weights" / "temporal.safetensors"
    before = weights.stat().st_mtime_ns
    tunings.clear()
    summary = transfer_many(file, output=tmp_path / "out", **quick)
    assert not summary.undone
    assert tunings == ["a dog", "a cow"]
    assert weights.stat().st_mtime_ns == before, "its tuning was done"


def test_other_settings_are_seen(write, quick: dict, tunings: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    transfer_many(write("s.gif,d.gif,a cat,one,"), output=out, **quick)
    weights = (out / "one" / "weights" / "temporal.safetensors").stat().st_mtime_ns
    sampled = quick | {"generation": {"steps": 3, "guidance": 1.0}}
    again = transfer_many(tmp_path / "in" / "list.csv", output=out, **sampled)
    assert len(tunings) == 2 and not again.undone
    assert json.loads((out / "one" / "run.json").read_text())["generation"]["steps"] == 3
    assert (out / "one" / "weights" / "temporal.safetensors").stat().st_mtime_ns == weights
    other = transfer_many(write("s.gif,d.gif,a dog,one,"), output=out, **sampled)
    assert "to resume, got others" in other.outcomes[0].reason
    (out / "one" / "result.mp4").unlink()
    back = transfer_many(write("s.gif,d.gif,a cat,one,"), output=out, **sampled)
    assert not back.undone and (out / "one" / "result.mp4").is_file()


def test_nothing_else_is_overwritten(write, quick: dict, tmp_path: Path) -> None:
    file = write("s.gif,d.gif,a cat,one,")
    for output in (tmp_path / "in", file):
        with pytest.raises(AnaMoDiffError, match="expected a new or empty folder for --output"):
            transfer_many(file, output=output, **quick)
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"s.gif", "d.gif", "list.csv"}


def test_a_row_s_settings_win(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text(
        "- {source: a, driving: b, prompt: c, frames: 4, tuning: {lr: 0.1}, adaptation.smooth: 1}"
    )
    shared = ManyOptions(frames=3, seed=2, tuning={"lr": 0.2, "rank": 5, "iterations": None})
    request = shared.request(read_list(file)[0])
    assert (request["frames"], request["seed"]) == (4, 2)
    assert request["tuning"] == {"lr": 0.1, "rank": 5}
    assert (request["adaptation"], request["generation"]) == ({"smooth": 1}, {})
    assert shared.tuning["lr"] == 0.2


def test_settings_are_those_of_the_config() -> None:
    composed = config.plain(config.compose("transfer_many", ["list=a"]))
    for key in ("list", "output", "jobs", "job", "launcher", "launch", "progress"):
        composed.pop(key)
    own = asdict(ManyOptions())
    assert set(composed) == set(own)
    sections = ("adaptation", "memory", "tuning", "generation")
    assert all(composed[key] == own[key] for key in own if key not in sections)


def test_jobs_share_the_rows(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(*(f"s.gif,d.gif,a cat,r{number}," for number in range(5)))
    done, devices = [], []
    monkeypatch.setattr(many, "_attempt", lambda models, folder, row, *rest: done.append(row.name))
    monkeypatch.setattr(
        MotionTransfer, "load", lambda *_, device, **__: devices.append(device) or 1
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    (tmp_path / "rows").mkdir()
    for job, rows in ((1, ["r1", "r4"]), (2, ["r2"]), (0, ["r0", "r3"])):
        done.clear()
        transfer_share(file, output=tmp_path, job=job, jobs=3, progress=False)
        assert done == rows
    assert devices == ["cuda:1", "cuda:0", "cuda:0"]
    ManyOptions(device="cuda:7").load(1, 3)
    ManyOptions().load(0, 1)
    assert devices[-2:] == ["cuda:7", "auto"]


def test_the_table_is_aligned() -> None:
    outcomes = [
        Outcome(1, "done", 12.34, "turtle.mp4"),
        Outcome(2, "failed", 0.0, "cat", "no, never"),
        Outcome(3, "open", None, "dog"),
    ]
    assert Summary(Path("out"), outcomes).table.splitlines() == [
        "row  status  seconds  output      reason",
        "1    done    12.3     turtle.mp4",
        "2    failed  0.0      cat         no, never",
        "3    open             dog",
        "1 done, 1 failed, 1 open",
    ]


def test_the_command(
    write, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    monkeypatch.chdir(tmp_path)
    file = write("s.gif,d.gif,a cat,one,5", "none.gif,d.gif,a dog,two,")
    words = ["transfer-many", str(file), *FLAGS, "--backbone", str(tiny_backbone_folder)]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert re.search(r"^1    done    \d+\.\d +one$", out, re.M)
    assert "\n1 done, 1 failed\nsummary: outputs/list/summary.csv\n" in out
    assert "error: 1 of 2 rows are not done: the table says why" in err
    assert "row 2 (two) failed: expected a clip, found no" in err
    assert "\nrows: 2 rows\n" in err and "it/s" not in err, "lines, where it is a log"
    record = json.loads((tmp_path / "outputs" / "list" / "one" / "run.json").read_text())
    assert record["seed"] == 5
    write("s.gif,d.gif,a cat,one,5")
    assert cli.main(words) == 0
    write("s.gif,d.gif,a cat,../one,5")
    assert cli.main(words) == 2
    assert f"error: {file}: row 1: output: expected a plain name" in capsys.readouterr().err


def test_the_command_stopped_says_how_to_go_on(write, tmp_path: Path, monkeypatch, capsys) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "transfer_share", stopped)
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    file = write("s.gif,d.gif,a cat,one,5")
    assert cli.main(["transfer-many", str(file), "--output", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "anamodiff: stopped; the same command goes on from there\n"


@pytest.mark.parametrize("words", [["--jobs", "2"], ["launch=n_jobs=2"]])
def test_jobs_want_a_launcher(write, tmp_path: Path, monkeypatch, capsys, words) -> None:
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    file = str(write("s.gif,d.gif,a cat,one,5"))
    assert cli.main(["transfer-many", file, "--output", str(tmp_path / "out"), *words]) == 2
    assert "expected a launcher that runs jobs side by side" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_compose(launcher: str) -> None:
    from hydra import compose, initialize_config_dir

    plugin = launcher.partition("_")[0]
    if find_spec("hydra_plugins") is None or not find_spec(
        f"hydra_plugins.hydra_{plugin}_launcher"
    ):
        pytest.skip(f"needs hydra-{plugin}-launcher")
    words = ["list=a.csv", f"hydra/launcher={launcher}"]
    words += map(config.launching, LAUNCHERS[launcher])
    with initialize_config_dir(str(config.find("configs")), version_base="1.3"):
        composed = compose("transfer_many", words, return_hydra_config=True).hydra.launcher
    assert plugin in composed._target_
    for word in LAUNCHERS[launcher]:
        value = composed
        for key in word.lstrip("+").partition("=")[0].split("."):
            value = value[key]
        assert str(value) == word.partition("=")[2]


def test_a_launcher_that_is_not_there(write, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    words = [
        "transfer-many",
        str(write("s.gif,d.gif,a cat,one,")),
        "--output",
        str(tmp_path / "out"),
    ]
    for launcher, line in (
        (
            "submitit_pbs",
            "launcher=submitit_pbs is not here yet: pip install hydra-submitit-launcher",
        ),
        ("jobby", "Could not find 'hydra/launcher/jobby' Available options"),
    ):
        assert cli.main([*words, f"launcher={launcher}"]) == 2
        err = capsys.readouterr().err
        assert line in err and err.count("\n") == 1


@pytest.mark.slow
def test_joblib_s_jobs_share_the_rows(
    write, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    monkeypatch.chdir(tmp_path)
    file = write(
        "s.gif,d.gif,a cat,one,1", "none.gif,d.gif,a dog,two,", "s.gif,d.gif,a cow,three,2"
    )
    words = [
        "transfer-many",
        "in/list.csv",
        "--output",
        "my out, 1",
        *FLAGS,
        "progress=false",
        "--jobs",
        "2",
    ]
    words += ["--backbone", str(tiny_backbone_folder), "launcher=joblib", "launch=verbose=1"]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "2 done, 1 failed" in out and "1 of 3 rows are not done" in err
    folder = tmp_path / "my out, 1"
    assert json.loads((folder / "three" / "run.json").read_text())["seed"] == 2
    assert sorted(path.name for path in (folder / "hydra").iterdir() if path.is_dir()) == ["0", "1"]
    os.remove(file)
    assert cli.main(words) == 2
    assert "expected a file with a list, got nothing at" in capsys.readouterr().err
