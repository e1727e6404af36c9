"""`transfer`, `demo`, `tune` and `generate`: flags become arguments, results are announced."""

import re
import shlex
from pathlib import Path

import pytest
from cli_samples import PAIR, Stages

from anamodiff.cli import main as cli
from anamodiff.fields import settings_of
from anamodiff.options import AdaptationOptions


def test_flags_become_arguments(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--output out.mp4 --backbone mini --lofnet weights --frames 8 --seed 3 --steps 20 "
        "--iterations 100 --guidance 2.5 --noise-min 900 --device cpu --precision fp32 "
        "--start-frame 4 --resume --vram 8 --preset fast"
    )
    assert cli.main([*PAIR, *flags.split()]) == 0
    name, called = stages.calls[0]
    tuning, generation = called.pop("tuning"), called.pop("generation")
    assert called.pop("adaptation") == dict.fromkeys(settings_of(AdaptationOptions))
    assert called.pop("memory") == {"vram": 8, "offload": None, "frames_at_once": None}
    assert name == "transfer"
    assert called == {
        "source": "s.gif",
        "driving": "d.gif",
        "prompt": "a turtle",
        "output": "out.mp4",
        "backbone": "mini",
        "lofnet": "weights",
        "size": None,
        "frames": 8,
        "seed": 3,
        "preset": "fast",
        "device": "cpu",
        "precision": "fp32",
        "start_frame": 4,
        "resume": True,
        "progress": True,
    }
    assert (tuning["iterations"], tuning["noise_min"]) == (100, 900)
    assert (generation["steps"], generation["guidance"]) == (20, 2.5)


def test_without_flags_the_configs_defaults_hold(stages: Stages) -> None:
    assert cli.main(PAIR) == 0
    assert (stages.last["frames"], stages.last["start_frame"]) == (10, "first")
    assert stages.last["tuning"]["iterations"] is None, "left to the backbone's folder"


def test_overrides_follow_flags_in_any_order(stages: Stages) -> None:
    words = ["--frames", "6", "tuning.lr=1e-4", "--seed", "2", "tuning.rank=8", "frames=5"]
    assert cli.main([*PAIR, *words]) == 0
    tuning = stages.last["tuning"]
    assert (tuning["lr"], tuning["rank"], stages.last["seed"]) == (1e-4, 8, 2)
    assert stages.last["frames"] == 5, "a later override wins over a flag"


@pytest.mark.parametrize(
    "prompt",
    [
        "a turtle, running",
        'it\'s a "turtle"',
        "x=[1, 2], {y: ${seed}}",
        "100 $ (a lot)",
        "null",
        "10",
        "back\\slash\\",
        "~+@ 🐢",
    ],
)
def test_prompts_and_paths_arrive_untouched(stages: Stages, prompt: str) -> None:
    path = f"my clips/{prompt}/lr=1.gif"
    words = ["--source", path, "--driving", path, "--prompt", prompt, "--output", path]
    assert cli.main(["transfer", *words]) == 0
    for key in ("source", "driving", "output"):
        assert stages.last[key] == path
    assert stages.last["prompt"] == prompt


def test_text_settings_may_follow_without_quotes(stages: Stages) -> None:
    words = ["generation.negative_prompt=blurry, dark", "backbone=my models/sd=1"]
    assert cli.main([*PAIR, *words]) == 0
    assert stages.last["generation"]["negative_prompt"] == "blurry, dark"
    assert stages.last["backbone"] == "my models/sd=1"


def test_a_result_is_announced(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert f"video: {stages.folder / 'result.mp4'}\n" in out
    assert "comparison" not in out, "only a comparison that exists is announced"
    rest = r"loading and the rest \d+\.\d$"
    assert re.search(rf"^took \d+\.\d s: tuning 0\.0, sampling 0\.0, {rest}", out, re.M)
    cli.main(["generate", "--run", "run"])
    out = capsys.readouterr().out
    assert re.search(rf"^took \d+\.\d s: sampling 0\.0, {rest}", out, re.M), "tuned before"
    (stages.folder / "comparison.mp4").touch()
    cli.main(["demo"])
    assert f"comparison: {stages.folder / 'comparison.mp4'}\n" in capsys.readouterr().out


def test_demo_takes_no_clips(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--iterations", "5"]) == 0
    assert not {"source", "driving", "prompt"} & set(stages.last)
    assert cli.main(["demo", "--source", "s.gif"]) == 2
    assert "demo has no flag --source" in capsys.readouterr().err


def test_tune_says_how_to_generate(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", *PAIR[1:]]) == 0
    assert "generation" not in stages.last
    following = re.search(r"^next: anamodiff (.*)$", capsys.readouterr().out, re.M)[1]
    assert cli.main(shlex.split(following)) == 0
    assert stages.calls[-1][0] == "generate"
    assert stages.last["run"] == str(stages.folder)


@pytest.mark.parametrize(
    ("words", "run", "output"),
    [
        (["--run", "a", "--output", "b"], "a", "b"),
        (["--run", "a"], "a", None),
        (["--output", "a"], "a", None),
        (["--run", "a", "--output", "b.GIF"], "a", "b.GIF"),
    ],
)
def test_generate_takes_the_run_folder(
    stages: Stages, words: list[str], run: str, output: str | None
) -> None:
    assert cli.main(["generate", *words]) == 0
    assert (stages.last["run"], stages.last["output"]) == (run, output)
    assert "tuning" not in stages.last


def test_generate_needs_a_run(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--output", "a.mp4"]):
        assert cli.main(["generate", *words]) == 2
        assert "expected --run, got none" in capsys.readouterr().err


def test_a_transfer_from_the_command_line(
    tiny_backbone_folder: Path,
    drawn_clips: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    source, driving = map(str, drawn_clips)
    run, video = tmp_path / "a run", tmp_path / "again.gif"
    words = ["--source", source, "--driving", driving, "--prompt", "a turtle, green"]
    words += ["--backbone", str(tiny_backbone_folder), "--output", str(run), "--device", "cpu"]
    words += ["--frames", "3", "--iterations", "2", "tuning.rank=2", "progress=false"]
    assert cli.main(["transfer", *words, "--steps", "2", "--guidance", "2"]) == 0
    out = capsys.readouterr().out
    assert f"video: {run / 'result.mp4'}\n" in out
    assert f"comparison: {run / 'comparison.mp4'}\n" in out
    words = ["--run", str(run), "--output", str(video), "--device", "cpu"]
    assert cli.main(["generate", *words, "--steps", "2", "--seed", "1"]) == 0
    assert video.stat().st_size > 0
