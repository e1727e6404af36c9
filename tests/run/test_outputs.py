"""Outputs: never in the place of an input, of a known suffix, and of a bounded size."""

import io
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_samples import moving_square

import anamodiff
from anamodiff.cli import main as cli
from anamodiff.cli.console import readable
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.benchmark import run_all
from anamodiff.evaluation.pairs import check_apart
from anamodiff.evaluation.scores import evaluate
from anamodiff.evaluation.survey.ranking import survey_results
from anamodiff.lofnet.training.train import check_inputs
from anamodiff.options import AdaptationOptions, GenerationOptions
from anamodiff.resources import expanded
from anamodiff.run import api
from anamodiff.run.folder import UNNAMED, _others
from anamodiff.run.inputs import clip_name
from anamodiff.run.inspect import inspect
from anamodiff.run.many import transfer_many
from anamodiff.run.outputs import (
    check_ground,
    check_no_input,
    check_output_name,
    is_video,
    masks_in,
)
from anamodiff.run.result import output_box
from anamodiff.video.canvas import fit, limited
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.video.letterbox import CroppedFrames, crop_back, from_pixels, to_pixels

PAIR = {"prompt": "a turtle", "frames": 2, "backbone": "mini", "device": "cpu"}
INPUT = "none of the inputs"


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """A source and a driving clip, with what their bytes are."""
    paths = tmp_path / "source.gif", tmp_path / "driving.mp4"
    for path in paths:
        write_video(path, from_pixels(moving_square(3)), 10)
    return paths


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before models are loaded."""

    def load(*_args: object, **_options: object) -> None:
        raise AssertionError("models are loaded")

    monkeypatch.setattr("anamodiff.run.motion_transfer.MotionTransfer.load", load)


def links(path: Path) -> list[Path]:
    """Other names of one file."""
    folder = path.parent
    symbolic, hard = folder / f"symbolic{path.suffix}", folder / f"hard{path.suffix}"
    symbolic.symlink_to(path)
    os.link(path, hard)
    (folder / "in").mkdir(exist_ok=True)
    return [path, folder / "in" / ".." / path.name, symbolic, hard]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("command", [anamodiff.transfer, anamodiff.tune])
def test_a_transfer_never_writes_over_its_clips(clips, which, command):
    before = [path.read_bytes() for path in clips]
    for output in links(clips[which]):
        with pytest.raises(AnaMoDiffError, match=INPUT):
            command(*clips, output=output, **PAIR)
    given = [read_clip(path, frames=2, size=128) for path in clips]
    with pytest.raises(AnaMoDiffError, match=INPUT):
        command(*given, output=clips[which], **PAIR)
    assert [path.read_bytes() for path in clips] == before


def test_a_relative_name_is_the_same_file(clips, monkeypatch):
    monkeypatch.chdir(clips[0].parent)
    with pytest.raises(AnaMoDiffError, match=INPUT):
        anamodiff.transfer(clips[0], clips[1], output="source.gif", **PAIR)


def test_generate_never_writes_over_the_runs_clips(clips, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(
        f"source: {clips[0]}\ndriving: {clips[1]}\nbackbone: mini\nlofnet: null\n"
        "prompt: a turtle\nseed: 0\ntuning: {}\n"
    )
    (run / "scene.safetensors").touch()
    for output in clips:
        with pytest.raises(AnaMoDiffError, match=INPUT):
            api.generate(run, output=output)
    with pytest.raises(AnaMoDiffError, match="expected a video file"):
        api.generate(run, output=tmp_path / "frames")


def test_a_run_knows_its_clips_from_whatever_folder(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"source": "source.gif", "driving": "in/../driving.mp4", "adaptation": {"matte": "m"}}
    whole = {"source": str(clips[0]), "driving": str(clips[1])}
    whole["adaptation"] = {"matte": str(tmp_path / "m")}
    assert [clip_name(names[role]) for role in ("source", "driving")] == [*map(str, clips)]
    assert clip_name(replace(read_clip(clips[0], size=64), path=None)) == UNNAMED
    assert not _others(names, whole)  # an older run is resumed
    assert "adaptation.matte" in _others(names, whole | {"adaptation": {"matte": "auto"}})
    monkeypatch.chdir("/")
    assert "source was" in _others(names, whole)


def test_inspect_never_writes_over_its_clip_or_among_its_frames(tmp_path):
    write_frames(tmp_path / "frames", from_pixels(moving_square(3)))
    Image.fromarray(np.concatenate(list(moving_square(4)), axis=1)).save(tmp_path / "strip.png")
    for output in links(tmp_path / "strip.png"):
        with pytest.raises(AnaMoDiffError, match=INPUT):
            inspect(tmp_path / "strip.png", output=output)
    for name in ("0001.png", "sheet.png"):
        with pytest.raises(AnaMoDiffError, match="among the frames"):
            inspect(tmp_path / "frames", output=tmp_path / "frames" / name)


def test_figures_never_replace_answers_or_clips(tmp_path, clips):
    answers = tmp_path / "a.json"
    answers.write_text("{}")
    with pytest.raises(AnaMoDiffError, match=INPUT):
        survey_results([answers], output=answers)
    with pytest.raises(AnaMoDiffError, match=INPUT):
        survey_results([answers], key=tmp_path / "key.json", output=tmp_path / "key.json")
    disguised = tmp_path / "clip.json"
    clips[0].rename(disguised)
    with pytest.raises(AnaMoDiffError, match=INPUT):
        evaluate(disguised, output=disguised, clip_model="none")
    assert answers.read_text() == "{}" and disguised.stat().st_size > 100


def test_a_list_never_writes_over_any_rows_clips(tmp_path, clips):
    folder = tmp_path / "out"
    (folder / "rows").mkdir(parents=True)
    clips[0].rename(folder / "one.gif")
    (tmp_path / "list.csv").write_text(
        "source,driving,prompt,output\n"
        "out/one.gif,driving.mp4,a turtle,two\ndriving.mp4,out/one.gif,a cat,one.gif\n"
    )
    with pytest.raises(AnaMoDiffError, match=INPUT):
        transfer_many(tmp_path / "list.csv", output=folder, progress=False)


def test_folders_of_inputs_are_no_outputs(tmp_path, clips):
    pairs = tmp_path / "results" / "pairs"
    pairs.mkdir(parents=True)
    for output in (pairs, tmp_path / "results", pairs / "one", pairs / "new" / "er"):
        with pytest.raises(AnaMoDiffError, match=INPUT):
            check_apart(output, [pairs])
    check_apart(tmp_path, [pairs])
    with pytest.raises(AnaMoDiffError, match=INPUT):
        run_all("creatures", methods=f"mine={pairs}", output=pairs / "new")
    with pytest.raises(AnaMoDiffError, match="beside the clips"):
        check_inputs(tmp_path, tmp_path / "results" / "..")


def test_masks_are_inputs(tmp_path, clips):
    source, driving = clips
    masks = tmp_path / "masks"
    (masks / "source").mkdir(parents=True)
    one = masks / "driving.gif"
    for path in (one, masks / "source" / "0.png"):
        path.write_bytes(source.read_bytes())
    request = {"output": one, "adaptation": {"matte": str(one)}} | PAIR
    with pytest.raises(AnaMoDiffError, match=INPUT):
        anamodiff.transfer(source, driving, **request)
    with pytest.raises(AnaMoDiffError, match=INPUT):
        inspect(
            source, driving, output=masks / "source" / "0.png", adaptation={"matte": str(masks)}
        )
    assert masks_in({"matte": "auto"}) == masks_in(None) == masks_in(AdaptationOptions()) == []


def test_what_is_no_input_may_be_written(tmp_path, clips):
    check_no_input(tmp_path / "new.gif", (*clips, None, tmp_path / "nothing"))
    check_no_input(tmp_path / "frames" / "run", (tmp_path / "frames",))
    check_no_input(None, clips)


# Suffixes


@pytest.mark.parametrize("name", ["x.avi", "x.PNG", "x.wmv", "x.heic", "x.json", "x.avif", "x.ts"])
def test_a_file_that_is_not_written_is_no_folder(clips, name, tmp_path):
    with pytest.raises(AnaMoDiffError, match="expected a folder, or a video file .*.mov"):
        anamodiff.transfer(*clips, output=tmp_path / name, **PAIR)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["run", "v1.5", "turtle.2", "a.b.c", "x.mov", "x.MKV", "x.m4v"])
def test_other_names_are_folders_or_video_files(name, tmp_path):
    check_output_name(tmp_path / name)
    assert is_video(name) == (name[:2] == "x.")


@pytest.mark.parametrize("name", ["a.mov", "a.m4v", "a.mkv", "~a.mp4", "~nobody.gif"])
def test_every_suffix_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = from_pixels(moving_square(4))
    assert write_video(name, frames, 10) == Path(name)
    clip = read_clip(name, frames=None)
    assert clip.total == 4 and clip.fps == pytest.approx(10)
    assert (clip.frames - frames).abs().mean() < 0.03


def test_a_tilde_is_a_home_unless_it_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert expanded("~/a.gif") == tmp_path / "home" / "a.gif"
    assert expanded("~tilde.gif") == Path("~tilde.gif")
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "a.gif").touch()
    assert expanded("~/a.gif") == Path("~/a.gif")
    assert expanded("a~b") == Path("a~b") and expanded("") == Path()


@pytest.mark.parametrize("name", ["x.mp4", "x.MOV"])
def test_a_transparent_result_wants_a_file_that_holds_alpha(clips, tmp_path, name):
    for clear in ({"ground": "transparent"}, GenerationOptions(ground="transparent")):
        with pytest.raises(AnaMoDiffError, match="holds no alpha"):
            anamodiff.transfer(*clips, output=tmp_path / name, generation=clear, **PAIR)
        for other in ("x.webm", "run", None):
            check_ground(other, clear)
    check_ground(tmp_path / name, {"ground": "source"})


# Size


def test_a_large_sources_result_is_made_smaller_and_said(caplog):
    box = fit(3024, 4032, 128)
    with caplog.at_level(logging.INFO, logger="anamodiff"):
        assert output_box(box, 1024).original == (768, 1024)
    assert "1024x768" in caplog.text and "4032x3024" in caplog.text and "--max-size" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="anamodiff"):
        assert output_box(box, 0) == box and output_box(fit(60, 80, 128), 1024).original == (60, 80)
    assert not caplog.text
    assert limited(fit(10, 5000, 128), 1024).original == (2, 1024)


def test_frames_one_at_a_time_are_those_of_all(monkeypatch):
    canvas = from_pixels(moving_square(3, 32, 32))
    box = fit(60, 80, 32)
    whole = to_pixels(crop_back(canvas, box))
    for kept in (2**28, 0):
        monkeypatch.setattr("anamodiff.video.letterbox._KEPT", kept)
        frames = CroppedFrames(canvas, box)
        assert len(frames) == 3 and len(frames._made) == 0
        assert np.abs(np.stack(list(frames)).astype(int) - whole).max() <= 1
        assert len(frames._made) == (3 if kept else 0)
    with pytest.raises(IndexError):
        frames[3]
    with pytest.raises(AnaMoDiffError, match="NaN"):
        CroppedFrames(torch.full((1, 3, 32, 32), torch.nan), box)


MEASURED = """
import resource, sys, torch
from anamodiff.video.clip import write_frames, write_video
from anamodiff.video.canvas import fit
from anamodiff.video.letterbox import CroppedFrames
count = int(sys.argv[1])
canvas = torch.linspace(-1, 1, 64).repeat(count, 3, 64, 1)
canvas *= torch.linspace(0.5, 1, count)[:, None, None, None]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frames = CroppedFrames(canvas, fit(1500, 2000, 64))
write_video("a.gif", frames, 10)
write_frames("frames", frames)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_full_size_frames_are_streamed(tmp_path):
    """Sixteen frames of three megapixels: 144 MB as bytes, four times that as floats."""
    made = subprocess.run(
        [sys.executable, "-c", MEASURED, "16"], cwd=tmp_path, check=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
    )  # fmt: skip
    assert int(made.stdout) < 450


# Consoles


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_that_a_console_lacks_are_escaped(monkeypatch, encoding):
    """Neither an encoding of the last century nor a name that is no text stops a command."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    assert cli.main(["inspect", "日本→ö\udcff.gif"]) == cli.WRONG_INPUT
    print("日本 →", *cli.main.__doc__.split()[:1])
    streams["stderr"].flush()
    text = streams["stderr"].buffer.getvalue().decode(encoding)
    assert r"got nothing at \u65e5\u672c\u2192" in text and r"\udcff.gif" in text


def test_a_prompt_in_disguise_is_read():
    assert readable("eine Schildkröte") == "eine Schildkröte"
    disguised = "Schildkröte".encode().decode("ascii", "surrogateescape")
    assert readable(disguised) == "Schildkröte"
