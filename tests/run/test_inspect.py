"""`anamodiff inspect`: the sheet, its figures, and what is refused."""

import imageio.v3 as iio
import pytest
import torch

import anamodiff
from anamodiff.backbone import libraries
from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.model import LOFNet, build_lofnet
from anamodiff.run.inspect import inspect
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.warp import foldover


@pytest.fixture
def models(tiny_backbone_folder) -> dict:
    return {"backbone": tiny_backbone_folder, "device": "cpu", "frames": 4}


def test_a_clip_drives_itself(drawn_clips, models, tmp_path):
    found = inspect(drawn_clips[0], output=tmp_path / "new" / "sheet.png", **models)
    picture = iio.imread(found.sheet)
    assert picture.shape[1] == 5 * 260 and picture.shape[0] == 7 * (260 + 20)  # mattes first
    assert picture.std() > 20
    made = found.warped
    assert torch.equal(made.adapted_points.value, made.driving_points.value)
    assert found.foldover == tuple(foldover(made.flow).tolist())
    assert len(found.foldover) == 4
    assert found.error > 0


def test_another_clip_drives_and_the_start_is_chosen(drawn_clips, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = inspect(
        *drawn_clips, start_frame=2, adaptation={"pose": "points", "scale": "none"}, **models
    )
    assert str(found.sheet) == "outputs/source-driving-flow.png"
    assert found.error is None and found.warped.start == 2
    made = found.warped
    moved = made.driving_points.value - made.driving_points.value[:1]
    torch.testing.assert_close(made.adapted_points.value - made.source_points.value, moved)
    again = anamodiff.inspect(*drawn_clips, **models)
    assert again.sheet.name == "source-driving-flow-2.png"
    assert again.warped.poses is not None and again.sheet.is_file()


def test_what_may_spoil_a_transfer_is_told(drawn_clips, models, tmp_path, capsys):
    still = tmp_path / "still.mp4"
    write_video(still, read_clip(drawn_clips[0], frames=1, size=64).frames.repeat(4, 1, 1, 1), 10)
    words = ["--output", str(tmp_path / "sheet.png"), "--device", "cpu", "--frames", "4"]
    words += ["--driving", str(still), "--prompt", "a green capybara"]
    assert cli.main(["inspect", str(drawn_clips[0]), *words, "--backbone", "mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("folded over: ") and "; " in line for line in lines)
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert any("nearly still" in line for line in warnings)
    assert any("capybara." in line for line in warnings)


def test_a_detector_without_jacobians_will_do(drawn_clips, models, tmp_path):
    config = LOFNet.load(models["backbone"] / "lofnet").config
    config["detector"] |= {"estimate_jacobian": False}
    build_lofnet(config).save(tmp_path / "lofnet")
    found = inspect(
        *drawn_clips, lofnet=tmp_path / "lofnet", output=tmp_path / "sheet.png", **models
    )
    assert found.warped.adapted_points.jacobian is None
    assert found.sheet.is_file()


def test_a_still_needs_a_driving_clip(drawn_clips, models, tmp_path):

    write_frames(tmp_path / "frames", read_clip(drawn_clips[0], frames=1).frames)
    still = tmp_path / "frames" / "0000.png"
    with pytest.raises(AnaMoDiffError, match="at least 2 frames"):
        inspect(still, **models)
    found = inspect(still, drawn_clips[1], output=tmp_path / "sheet.png", **models)
    assert found.warped.start == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.gif"], "none.gif"),
        (["{clip}", "--output", "sheet.gif"], "expected a picture file (.png, .jpg, .jpeg, .webp)"),
        (["{clip}", "--start-frame", "4"], "a frame from 0 to 3, got 4"),
        (["{clip}", "--lofnet", "nowhere"], "expected a LOFNet folder"),
        (["{clip}", "--driving", "none.gif"], "none.gif"),
    ],
)
def test_mistakes_are_one_line(words, line, drawn_clips, models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(libraries, "quiet_libraries", lambda: None)
    words = [word.format(clip=drawn_clips[0]) for word in words]
    machine = ["--backbone", str(models["backbone"]), "--device", "cpu", "--frames", "4"]
    assert cli.main(["inspect", *words, *machine]) == 2
    last = capsys.readouterr().err.splitlines()[-1]  # after the loading bars
    assert last.startswith("anamodiff: error: ") and line in last
    assert not (tmp_path / "outputs").exists()
