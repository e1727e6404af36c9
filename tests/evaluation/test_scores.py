"""`anamodiff evaluate`: which measures are computed from what is given, and their values."""

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation import clip_model as clip
from anamodiff.evaluation import metrics, scores
from anamodiff.evaluation.catalogue import TITLES
from anamodiff.evaluation.motion import motion_fidelity
from anamodiff.evaluation.scores import evaluate
from anamodiff.evaluation.tracklets import follow_flow
from anamodiff.run.api import transfer
from anamodiff.video.clip import read_clip, write_frames, write_video

PIXELS = {"foreground_iou", "masked_ssim", "masked_psnr", "truth_distance", "flicker"}
FIDELITY = {"motion_fidelity_truth", "motion_fidelity_driving"}
IMAGE = {"clip_image", "clip_image_times_ten", "clip_image_sum_over_ten", "clip_pairs"}
IMAGE |= {"temporal_consistency"}
SOURCE = {"colour_distance", "clip_identity", "appearance_consistency"}
TEXT = {"clip_text", "clip_text_times_ten", "clip_text_sum_over_ten"}


def square(count: int = 6, colour: tuple[float, ...] = (0.6, -0.6, -0.6), step: int = 2):
    """White frames with a coloured 16 x 16 square that moves by `step` pixels and darkens."""
    frames = torch.ones(count, 3, 64, 64)
    for index, frame in enumerate(frames):
        left = 16 + step * index
        frame[:, 20:36, left : left + 16] = (torch.tensor(colour) - 6 * index / 127.5)[
            :, None, None
        ]
    return frames


@pytest.fixture(autouse=True)
def no_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed: else its weights would be fetched."""
    monkeypatch.setitem(sys.modules, "lpips", None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of frames, which lose nothing: a result, its source, the truth."""
    folder = tmp_path_factory.mktemp("files")
    clips = {
        "result": square(),
        "source": square(4, (-0.6, 0.6, -0.6), step=0),
        "truth": square(step=3),
        "driving": square(colour=(-0.6, -0.6, 0.6), step=3),
    }
    for name, frames in clips.items():
        write_frames(folder / name, frames)
    return {name: folder / name for name in clips}


@pytest.fixture(scope="module")
def run(
    tiny_backbone_folder: Path,
    drawn_clips: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run folder that `transfer` wrote: 3 frames on a canvas of 64 pixels."""
    return transfer(
        *drawn_clips, prompt="a green turtle", output=tmp_path_factory.mktemp("run") / "a",
        backbone=tiny_backbone_folder, frames=3, device="cpu", progress=False,
        tuning={"iterations": 1, "rank": 2}, generation={"steps": 1},
    ).run  # fmt: skip


def test_each_input_adds_its_measures(files: dict[str, Path], clip_folder: Path) -> None:
    def names(**given: object) -> set[str]:
        return set(evaluate(files["result"], device="cpu", **given).measures)

    assert names(clip_model="none") == set()
    assert names(clip_model="none", truth=files["truth"]) == PIXELS | {"motion_fidelity_truth"}
    assert names(clip_model="none", driving=files["driving"]) == {"motion_fidelity_driving"}
    assert names(clip_model="none", source=files["source"]) == {"colour_distance"}
    assert names(clip_model="none", prompt="a turtle") == set()
    clip_model = str(clip_folder)
    assert names(clip_model=clip_model) == IMAGE
    assert names(clip_model=clip_model, prompt="a turtle") == IMAGE | TEXT
    everything = IMAGE | TEXT | PIXELS | FIDELITY | SOURCE
    found = evaluate(**files, prompt="a turtle", clip_model=clip_model, device="cpu")
    assert set(found.measures) == everything
    assert everything == set(TITLES) - {"lpips", "pck"}, "which squares and few machines have"
    assert len(found.skipped) == 2
    assert found.skipped[0].startswith("LPIPS: expected the package lpips, got ")
    assert found.skipped[1] == "PCK 0.1: the truth shows no named joints"


def test_values_are_those_of_the_measures(files: dict[str, Path], clip_folder: Path) -> None:
    found = evaluate(**files, prompt="a turtle", clip_model=str(clip_folder), device="cpu")
    result, truth, source = square(), square(step=3), square(4, (-0.6, 0.6, -0.6), step=0)
    embedder = clip.Embedder.load(clip_folder, device="cpu")
    own, other = embedder.embed_frames(result), embedder.embed_frames(source)
    text = embedder.embed_text("2D Illustration of a turtle")
    image = clip.clip_image(own)
    driving = follow_flow(square(colour=(-0.6, -0.6, 0.6), step=3))
    tracks = follow_flow(result)
    wanted = {
        **{name: getattr(metrics, name)(result, truth) for name in PIXELS},
        "motion_fidelity_truth": motion_fidelity(tracks, follow_flow(truth)),
        "motion_fidelity_driving": motion_fidelity(tracks, driving),
        "colour_distance": metrics.colour_distance(result, source),
        "clip_image": image,
        "clip_image_times_ten": 10 * image,
        "clip_image_sum_over_ten": 1 + 9 * image,
        "clip_text": clip.clip_text(own, text),
        "clip_text_times_ten": 10 * clip.clip_text(own, text),
        "clip_text_sum_over_ten": 10 * clip.clip_text(own, text),
        "clip_pairs": clip.clip_pairs(own),
        "clip_identity": clip.clip_identity(own, other),
        "appearance_consistency": float((own @ other[0]).mean()),
        "temporal_consistency": sum(float(a @ b) for a, b in pairwise(own)) / 5,
    }
    assert found.measures == pytest.approx(wanted, abs=1e-4)
    assert (found.frames, found.size, found.text) == (6, 64, "2D Illustration of a turtle")
    assert found.clip_model == str(clip_folder)


def test_a_result_that_is_the_truth_scores_best(files: dict[str, Path]) -> None:
    same = {"source": files["result"], "truth": files["result"]}
    found = evaluate(files["result"], **same, clip_model="none").measures
    assert (found["foreground_iou"], found["masked_ssim"]) == (1, 1)
    assert found["truth_distance"] == found["flicker"] == 0


def test_a_run_knows_its_source_and_prompt(run: Path, clip_folder: Path) -> None:
    found = evaluate(run, clip_model=str(clip_folder), device="cpu")
    assert set(found.measures) == IMAGE | TEXT | SOURCE | {"motion_fidelity_driving"}
    assert (found.frames, found.size) == (3, 64)
    assert found.text == "2D Illustration of a green turtle"
    assert found.skipped == ("what compares with the truth: no --truth",)


def test_a_still_result_is_said_to_be_still(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    given = {"driving": files["driving"], "clip_model": "none", "output": output}
    evaluate(files["source"], **given)
    written = json.loads(output.read_text())
    assert written["measures"] == {"motion_fidelity_driving": 0}
    assert written["measured_with"]["motion_fidelity_driving"] == (
        "result: DIS optical flow; driving clip: DIS optical flow"
    )
    assert written["remarks"] == {
        "motion_fidelity_driving": "nothing moves in the result: the value is 0"
    }
    given["driving"] = files["source"]
    found = evaluate(files["result"], **given)
    assert math.isnan(found.measures["motion_fidelity_driving"])
    assert "Motion Fidelity (driving): nothing moves in the driving clip: there is no value" in (
        found.lines
    )
    assert json.loads(output.read_text())["measures"] == {"motion_fidelity_driving": None}


def test_what_is_given_goes_before_what_the_run_knows(
    run: Path, files: dict[str, Path], clip_folder: Path
) -> None:
    case = scores.read_case(run)
    assert case.prompt == "a green turtle" and len(case.source) == 3
    case = scores.read_case(run, source=files["source"], prompt="a rhino", size=32)
    torch.testing.assert_close(case.source, read_clip(files["source"], size=32, frames=4).frames)
    assert case.prompt == "a rhino" and case.frames.shape == (3, 3, 32, 32)


def test_a_runs_frames_are_read_and_not_its_lossy_video(run: Path) -> None:
    (run / "frames" / "0001.png").rename(run / "kept.png")
    write_frames(run / "white", torch.ones(1, 3, 64, 64))
    try:
        (run / "white" / "0000.png").rename(run / "frames" / "0001.png")
        assert scores.read_case(run).frames[1].min() == 1
    finally:
        (run / "kept.png").replace(run / "frames" / "0001.png")


def test_frames_are_all_of_a_short_result_and_some_of_a_long_one(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    assert len(scores.read_case(files["result"]).frames) == 6
    assert len(scores.read_case(files["result"], source=files["source"]).source) == 4
    assert len(scores.read_case(files["result"], source=files["source"], frames=3).source) == 3
    assert len(scores.read_case(files["result"], truth=files["source"], frames=4).truth) == 4
    tall = torch.ones(2, 3, 600, 40)
    video = write_video(tmp_path / "tall.mp4", tall, 8.0)
    assert scores.read_case(video).frames.shape == (2, 3, 512, 512)
    assert scores.read_case(video, size=20).frames.shape == (2, 3, 20, 20)


def test_auto_leaves_clip_out_where_it_is_not_found(
    files: dict[str, Path], clip_folder: Path, fake_hub
) -> None:
    found = evaluate(files["result"], source=files["source"], device="cpu")
    assert (
        set(found.measures) == SOURCE - {"clip_identity", "appearance_consistency"}
        and found.clip_model is None
    )
    assert clip.DEFAULT_CLIP_MODEL in found.skipped[0] and "--clip-model" in found.skipped[0]
    with pytest.raises(AnaMoDiffError, match="anamodiff fetch clip"):
        evaluate(files["result"], clip_model=clip.DEFAULT_CLIP_MODEL, device="cpu")
    fake_hub.put(clip.DEFAULT_CLIP_MODEL, clip_folder)
    assert evaluate(files["result"], device="cpu").clip_model == clip.DEFAULT_CLIP_MODEL


def test_figures_are_json_even_where_one_is_not_finite(
    files: dict[str, Path], tmp_path: Path
) -> None:
    write_frames(tmp_path / "blank", torch.ones(3, 3, 64, 64))
    output = tmp_path / "new" / "figures.json"
    blank_source = evaluate(files["result"], source=tmp_path / "blank", clip_model="none")
    assert math.isnan(blank_source.measures["colour_distance"])
    given = {"source": files["source"], "clip_model": "none", "prompt": "a turtle"}
    found = evaluate(tmp_path / "blank", output=output, **given)
    assert math.isnan(found.measures["colour_distance"]) and found.output == output
    written = json.loads(output.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert written["measures"] == {"colour_distance": None}
    assert (written["frames"], written["clip_model"]) == (3, None)
    assert written["not_measured"] == list(found.skipped)


def test_the_command_prints_a_table(
    files: dict[str, Path],
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    output = tmp_path / "figures.json"
    words = [str(files["result"]), "--truth", str(files["truth"]), "--device", "cpu"]
    words += ["--clip-model", str(clip_folder), "--prompt", "a turtle", "--output", str(output)]
    assert cli.main(["evaluate", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "measured: 6 frames of 64x64 pixels",
        f"CLIP model: {clip_folder}",
        'CLIP-Text\'s text: "2D Illustration of a turtle"',
    ]
    measures = json.loads(output.read_text())["measures"]
    for name, value in measures.items():
        title, words = TITLES[name]
        assert any(line.split() == f"{title} {value:.4f} {words}".split() for line in lines)
    assert (
        "not measured: colour distance, appearance consistency and CLIP identity: no --source"
        in lines
    )
    assert "not measured: Motion Fidelity to the driving clip: no --driving" in lines
    by = "Motion Fidelity (truth): result: DIS optical flow; truth: DIS optical flow"
    assert by in lines
    assert f"figures: {output}" in lines


def test_without_clip_one_line_says_so(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    words = ["--truth", str(files["truth"]), "--source", str(files["source"])]
    assert cli.main(["evaluate", str(files["result"]), *words, "--clip-model", "none"]) == 0
    out = capsys.readouterr().out
    assert out.count("CLIP") == 1
    line = "CLIP's measures, appearance and temporal consistency: --clip-model none"
    assert f"not measured: {line}\n" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.gif"], "expected a result (file or folder), got nothing at none.gif"),
        (["{result}/0000.png"], "expected a result of at least 2 frames, got one picture"),
        (["{result}", "--truth", "{result}/0000.png"], "expected a truth of at least 2 frames"),
        (["{result}", "--source", "none.gif"], "expected a source (file or folder)"),
        (["{result}", "--driving", "none.gif"], "expected a driving clip (file or folder)"),
        (["{result}", "--output", "figures.txt"], "expected a JSON file for --output"),
        (["{result}", "--clip-model", "./nowhere"], "expected a folder with a CLIP model"),
        (["{result}", "--device", "toaster"], "expected a device"),
        (["{tuned}"], "expected a finished run, got {tuned} without frames/"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    line: str,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("anamodiff.backbone.libraries.quiet_libraries", lambda: None)
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    (tuned / "config.yaml").write_text("prompt: a turtle\n")
    names = {"result": files["result"], "tuned": tuned}
    given = [word.format(**names) for word in words]
    none = [] if "--clip-model" in given else ["--clip-model", "none"]
    assert cli.main(["evaluate", *given, *none]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"anamodiff: error: {line.format(**names)}") and err.count("\n") == 1
    assert out == "" and not (tmp_path / "figures.txt").exists()
