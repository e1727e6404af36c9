"""What the page's buttons do, without a page."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
import torch

from anamodiff.app.handlers import Handlers, Wishes, explained
from anamodiff.app.job import THREAD, Job, Stopped
from anamodiff.app.options import AppOptions
from anamodiff.app.player import player
from anamodiff.errors import AnaMoDiffError
from anamodiff.run.motion_transfer import MotionTransfer

STAGES = {
    "adaptation": {"pose": "points", "motion_scale": 1.0},
    "tuning": {"iterations": 2},
    "generation": {"steps": 3, "guidance": 1.0},
}


@pytest.fixture
def wishes(drawn_clips: tuple[Path, Path]) -> Wishes:
    source, driving = map(str, drawn_clips)
    return Wishes(
        source=[source], driving=[driving], prompt="a green turtle", frames=3, start="first",
        start_number=0, seed=0, preset=None, stages=STAGES,
    )  # fmt: skip


@pytest.fixture
def handlers(tiny_backbone_folder: Path, tmp_path: Path) -> Handlers:
    def load() -> MotionTransfer:
        return MotionTransfer.load(tiny_backbone_folder, device="cpu", precision="fp32")

    return Handlers(load, tmp_path, AppOptions())


def test_a_preview_of_six_films_in_step(handlers: Handlers, wishes: Wishes) -> None:
    page, count = handlers.preview(wishes)
    assert page.count('<div class="am-film"') == 6 and count == 3
    assert 'max="2"' in page and "key points" in page
    assert "a driving clip, too" in handlers.preview(replace(wishes, driving=None))[0]


def test_a_run_tells_its_progress_and_gives_files(
    handlers: Handlers, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anamodiff.app.job.PERIOD", 0.002)  # no step is over before it is seen
    monkeypatch.setattr("anamodiff.app.job.LOOKS", 0.0)
    shown = list(handlers.run(wishes, "me"))
    lines = [one.status for one in shown]
    assert any("Tuning: iteration" in line for line in lines)
    assert any("after step" in (one.films or "") for one in shown)
    last = shown[-1]
    assert "Done" in last.status and not last.running and last.films is not None
    assert last.films.count('<div class="am-film"') == 4
    assert last.files is not None
    suffixes = {name: path.suffix for name, path in last.files.items()}
    assert suffixes == {
        "mp4": ".mp4", "gif": ".gif", "webm with alpha": ".webm", "frames": ".zip",
        "LoRA": ".safetensors", "report": ".html",
    }  # fmt: skip
    assert all(path.stat().st_size > 100 for path in last.files.values())
    assert not handlers.jobs
    with av.open(str(last.files["webm with alpha"])) as container:
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"


def test_cancel_stops_the_work(handlers: Handlers, wishes: Wishes) -> None:
    long = replace(wishes, stages=STAGES | {"tuning": {"iterations": 1000}})
    run = handlers.run(long, "me")
    for shown in run:
        if "iteration 1" in shown.status:
            break
    assert not handlers.cancel("somebody else")
    assert handlers.cancel("me")
    last = list(run)[-1]
    assert "Cancelled" in last.status and not last.running and last.files is None
    assert not list((handlers.folder / "runs").iterdir()), "its folder is gone"
    assert THREAD not in [thread.name for thread in threading.enumerate()]


def test_closing_a_run_stops_it_and_frees_the_next(handlers: Handlers, wishes: Wishes) -> None:
    long = replace(wishes, stages=STAGES | {"tuning": {"iterations": 1000}})
    run: Any = handlers.run(long, "me")
    next(shown for shown in run if "iteration 1" in shown.status)
    job = handlers.jobs["me"]
    run.close()
    job.join()
    assert handlers._computing.acquire(blocking=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": " "}, "expected a prompt"),
        ({"source": None}, "expected a source, got none"),
        ({"start": "number", "start_number": 99}, "start_frame 'first', 'auto' or a frame from 0"),
        ({"stages": STAGES | {"tuning": {"iterations": "many"}}}, "tuning.iterations: expected"),
    ],
)
def test_mistakes_are_one_line(
    handlers: Handlers, wishes: Wishes, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(AnaMoDiffError) as refused:
        list(handlers.run(replace(wishes, **change), "me"))
    assert words in explained(refused.value) and "\n" not in explained(refused.value)
    assert not handlers.jobs


def test_old_runs_are_deleted_but_not_running_ones(
    handlers: Handlers, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "running", "new"):
        (handlers.folder / "runs" / name).mkdir(parents=True)
    for name in ("old", "running"):
        os.utime(handlers.folder / "runs" / name, (0, time.time() - 3700))
    handlers._in_use.add(handlers.folder / "runs" / "running")
    glob = Path.glob  # one that another thread deletes meanwhile
    monkeypatch.setattr(
        Path, "glob", lambda self, name: [self / "runs" / "gone", *glob(self, name)]
    )
    handlers.sweep()
    assert {path.name for path in (handlers.folder / "runs").iterdir()} == {"running", "new"}


def test_a_job_tells_seconds_left_and_what_went_wrong() -> None:
    def work(job: Job[int]) -> int:
        job.progress("tuning", 0, 10)
        time.sleep(0.6)
        job.progress("tuning", 2, 10)
        time.sleep(0.6)
        raise KeyError("x")

    job = Job(work)
    seen = list(job.follow())
    left = [now.seconds_left for now in seen if now.done == 2]
    assert left and left[0] == pytest.approx(2.4, rel=0.6)
    with pytest.raises(KeyError):
        job.result()


def test_a_stopped_job_stops_at_its_next_step() -> None:
    steps: list[int] = []

    def work(job: Job[None]) -> None:
        for step in range(10_000):
            steps.append(step)
            job.progress("tuning", step, 10_000)
            time.sleep(0.01)

    job = Job(work)
    time.sleep(0.1)
    job.stop()
    with pytest.raises(Stopped):
        job.result()
    assert len(steps) < 1000


def test_looks_are_decoded_now_and_then() -> None:
    decoded: list[int] = []

    def unfinished(done: int) -> Any:
        def frames() -> torch.Tensor:
            decoded.append(done)
            return torch.zeros(2, 3, 4, 4)

        return SimpleNamespace(done=done, total=50, frames=frames, pair=SimpleNamespace(fps=8.0))

    def work(job: Job[None]) -> None:
        for done in range(50):
            job.watch(unfinished(done))
            time.sleep(0.02)

    job = Job(work)
    looks = [now.look for now in job.follow() if now.look is not None]
    job.result()
    assert decoded[0] == 0 and 2 <= len(decoded) <= 4
    assert looks and all(look.total == 50 for look in looks)


def test_names_in_a_player_are_text() -> None:
    made = player({"<b>": torch.zeros(3, 3, 8, 16)}, 10.0, ["a <script>"])
    assert "<b>" not in made and "<script>" not in made and "aspect-ratio:16/8" in made


def test_unexpected_errors_are_one_line_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert explained(KeyError("a\nb")) == "unexpected error: KeyError: 'a\\nb'"
    assert "KeyError" in caplog.text
    assert "lower the number of frames" in explained(MemoryError())


@pytest.mark.parametrize(("stage", "name"), [("tuning", "iterations"), ("generation", "steps")])
def test_a_run_of_endless_steps_is_refused(
    handlers: Handlers, wishes: Wishes, stage: str, name: str
) -> None:
    endless = replace(wishes, stages=STAGES | {stage: {name: 1001}})
    with pytest.raises(AnaMoDiffError, match=f"{stage}.{name}: expected at most 1000 here"):
        next(handlers.run(endless, "me"))
    assert not handlers.jobs


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("got none: /tmp/gradio/1f/my clip.mp4; drop it", "got none: my clip.mp4; drop it"),
        (r"got 'C:\\Users\\me\\Temp\\a.gif'", "got 'a.gif'"),
        (r"got C:\Users\me\a.gif", "got a.gif"),
        *[(line, line) for line in ("see https://example.org/a", "images/b", "mp4 and/or gif")],
    ],
)  # fmt: skip
def test_the_servers_folders_are_not_shown(said: str, shown: str) -> None:
    assert explained(AnaMoDiffError(said)) == shown
