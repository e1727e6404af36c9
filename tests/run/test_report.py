"""`report.html`: whole, one file, bounded, there after every stage, and never a run's ruin."""

import json
import logging
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from anamodiff.run import report as reports
from anamodiff.run.folder import RunFolder
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.report import character_colours, colour_distance, inside_panels, report
from anamodiff.video.letterbox import from_pixels
from anamodiff.visual.charts import loss_curves

QUICK = {
    "frames": 4,
    "tuning": {"iterations": 4, "checkpoint_every": 1, "rank": 2},
    "progress": False,
    "prompt": 'a <b>"turtle"</b> & co',
}
SAMPLING = {"steps": 2, "guidance": 1.0}


@pytest.fixture(scope="module")
def mover(tiny_backbone_folder: Path) -> MotionTransfer:
    return MotionTransfer.load(tiny_backbone_folder, device="cpu")


@pytest.fixture(scope="module")
def run(mover: MotionTransfer, drawn_clips, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("report") / "run"
    return mover.transfer(*drawn_clips, output=output, generation=SAMPLING, **QUICK).run


class Page(HTMLParser):
    """Tags that are open, and all attributes that load something."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.loaded += [values[key] or "" for key in ("src", "href") if key in values]
        self.pictures += [values["alt"] or ""] if tag == "img" else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_one_file_with_everything(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loaded and all(one.startswith("data:image/jpeg;base64,") for one in page.loaded)
    assert not re.search(r"https?://|@import|url\(", text)
    assert {"source", "driving clip", "result"} <= set(page.pictures)
    for words in ("flow: hue", "warped: the source along the flow", "with joints", "visibility"):
        assert any(words in name for name in page.pictures), words
    assert text.count('class="line"') == 2 + 3 * 3, "both losses, and three colours of three clips"
    assert text.count("M") and "before matching" in text and "after matching" in text
    for words in (
        "tuning.iterations",
        "generation.steps",
        "sampling",
        "torch",
        "Skeletons carry",
    ):
        assert re.search(words, text), words
    assert "<b>" not in text and "a &lt;b&gt;&quot;turtle&quot;&lt;/b&gt; &amp; co" in text


def test_both_terms_of_the_loss_are_recorded(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    terms = record["loss_terms"]
    assert [len(terms[name]) for name in ("source", "warped")] == [4, 4]
    for total, source, warped in zip(record["losses"], *terms.values(), strict=True):
        assert total == pytest.approx(source + warped, rel=1e-5)


def test_tuning_alone_has_a_report_without_a_result(
    mover: MotionTransfer, drawn_clips, tmp_path: Path
) -> None:
    points = {"pose": "points"}
    run = mover.tune(*drawn_clips, output=tmp_path / "run", adaptation=points, **QUICK)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "result" not in Page(text).pictures
    for words in ("start frame, with key points", "driving clip, with key points", "masks"):
        assert any(words in name for name in Page(text).pictures), words
    assert "tuned, not generated yet" in text
    mover.generate(run, generation=SAMPLING | {"match_colours": False}, progress=False)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "result" in Page(text).pictures and "not generated yet" not in text
    assert "before matching" not in text


def test_a_failed_report_costs_one_line(
    mover: MotionTransfer, run: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(reports, "page", fail)
    run = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))
    with caplog.at_level(logging.WARNING, "anamodiff"):
        result = mover.generate(run, generation=SAMPLING, progress=False)
    assert result.video.is_file() and not (run / "report.html").exists()
    (line,) = [r.getMessage() for r in caplog.records if "report.html" in r.getMessage()]
    assert "No space left on device" in line and "\n" not in line


def test_reports_can_be_left_out(
    mover: MotionTransfer, run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(mover, "report", False)
    run = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))
    mover.generate(run, generation=SAMPLING, progress=False)
    assert not (run / "report.html").exists()


def test_the_size_is_bounded(mover: MotionTransfer, run: Path, tmp_path: Path) -> None:
    count = 64
    pair = ClipPair.load(run)
    noise = torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = replace(
        pair.warped, source=noise, driving=noise, frames=torch.arange(count),
        flow=pair.warped.flow[:1].expand(count, -1, -1, -1), mask=None,
        poses=None, visible=None,
    )  # fmt: skip
    folder = RunFolder(tmp_path)
    for name in ("config.yaml", "run.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    pair = replace(pair, warped=made, source_ground=noise[0])
    file = report(folder, mover.backbone, pair, noise, noise, shown=noise)
    assert file is not None and "result on its ground" in Page(file.read_text("utf-8")).pictures
    assert 500_000 < file.stat().st_size < 5_000_000


def test_old_run_folders_have_less_to_show(run: Path) -> None:
    made = replace(
        ClipPair.load(run).warped, driving_points=None, source_points=None, adapted_points=None,
        mask=None, poses=None, visible=None,
    )  # fmt: skip
    assert [name.partition(":")[0] for name in inside_panels(made, None)] == ["flow"]
    assert "total" in reports._losses({"losses": [0.5, 0.25]})


def test_loss_curves_leave_out_what_is_no_loss() -> None:
    chart = loss_curves({"a": [None, 0.1, 0.0, float("nan"), 0.01], "b": []}, ["red", "blue"])
    assert chart.count("h0") == 2 and "nan" not in chart
    assert loss_curves({"a": [None]}, ["red"]) == "<p>No iterations.</p>"


def test_colours_are_the_character_s() -> None:
    pixels = torch.full((2, 64, 64, 3), 255, dtype=torch.uint8)
    pixels[:, 20:44, 20:44] = torch.tensor([200, 30, 30], dtype=torch.uint8)
    red = character_colours(from_pixels(pixels.numpy()))
    assert (red == [200, 30, 30]).all()
    pixels[:, 20:44, 20:44, 0] = 170
    darker = character_colours(from_pixels(pixels.numpy()))
    assert colour_distance(red, darker) == pytest.approx(10)
    assert colour_distance(red, red) == 0
