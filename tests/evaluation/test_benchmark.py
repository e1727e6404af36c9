"""The benchmark: its measures, its files, resuming, and its errors."""

import csv
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from anamodiff import creatures
from anamodiff.creatures.ground import draw_ground, on_ground
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation import benchmark as module
from anamodiff.evaluation import methods
from anamodiff.evaluation.benchmark import benchmark
from anamodiff.evaluation.drawn import plans
from anamodiff.evaluation.methods import METHODS, Task, choose_methods, train_as_published
from anamodiff.evaluation.metrics import flicker, masked_psnr, masked_ssim
from anamodiff.evaluation.pairs import drawn_pairs, find_pairs
from anamodiff.evaluation.report import Table, tables, worst_pairs
from anamodiff.options import TuningOptions
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.video.foreground import foreground_mask, plain_ground
from anamodiff.video.letterbox import from_pixels

FRAMES = 4
SHORT = {"iterations": 2}
BRIEF = {"steps": 2}


def square(left: int, grey: float = -0.8, frames: int = FRAMES) -> torch.Tensor:
    """White frames with a 16 x 16 square that stays."""
    clip = torch.ones(frames, 3, 64, 64)
    clip[:, :, 20:36, left : left + 16] = grey
    return clip


@pytest.fixture(autouse=True)
def no_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed: else its weights would be fetched."""
    monkeypatch.setitem(sys.modules, "lpips", None)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs of squares, written without loss of frames."""
    for number, shift in enumerate((4, 8)):
        folder = tmp_path / "pairs" / f"pair{number}"
        moving = torch.cat([square(20 + shift * f, frames=1) for f in range(FRAMES)])
        for kind, clip in {"source": square(20), "driving": moving, "truth": moving}.items():
            write_video(folder / f"{kind}.gif", clip, 8)
    (folder / "meta.json").write_text(json.dumps({"source_caption": "a grey square"}))
    return tmp_path / "pairs"


@pytest.fixture
def run(tiny_backbone_folder: Path, tmp_path: Path):
    """`benchmark` on the tiny backbone into one folder."""

    def run_benchmark(pairs: Path, methods: str = "still", **settings) -> Path:
        settings = {"output": tmp_path / "results", "frames": FRAMES} | settings
        return benchmark(
            pairs, methods=methods, backbone=str(tiny_backbone_folder), device="cpu",
            progress=False, **settings,
        )  # fmt: skip

    return run_benchmark


def test_measures_have_known_values() -> None:
    brighter = square(20, -0.6)
    assert masked_psnr(brighter, square(20)) == pytest.approx(20, abs=1.5)  # a tenth of the range
    assert masked_ssim(square(20), square(20)) == 1
    assert masked_ssim(square(28), square(20)) < 0.6
    assert flicker(square(28), square(20)) == 0, "it stands still like the truth, though elsewhere"
    blinking = square(20)
    blinking[1::2, :, 20:36, 20:36] += 0.2  # 25.5 of 255 levels
    assert flicker(blinking, square(20)) == pytest.approx(25.5, rel=0.3)


def test_results_are_written_and_kept(run, pairs: Path) -> None:
    folder = run(pairs, "still,warp-only")
    data = json.loads((folder / "results.json").read_text())
    assert data["methods"] == ["still", "warp-only"]
    assert [pair["prompt"] for pair in data["pairs"]] == ["pair0", "a grey square"]
    assert len(data["rows"]) == 4
    for row in data["rows"]:
        assert (folder / row["video"]).is_file()
        assert set(row["measures"]) >= {
            "foreground_iou",
            "masked_ssim",
            "flicker",
            "colour_distance",
        }
    still = {
        row["pair"]: row["measures"]["foreground_iou"]
        for row in data["rows"]
        if row["method"] == "still"
    }
    assert 1 > still["pair0"] > still["pair1"] > 0.2, "the farther it moves, the less it overlaps"
    lines = list(csv.DictReader((folder / "results.csv").open()))
    assert [float(x["foreground_iou"]) for x in lines if x["method"] == "still"] == list(
        still.values()
    )
    assert still["pair0"] != 0 and {r["measures"]["motion_fidelity_truth"] for r in data["rows"]
                                     if r["method"] == "still"} == {0}  # fmt: skip
    table = (folder / "table.md").read_text()
    assert "| still | 2 |" in table and "less the other" not in table
    page = (folder / "index.html").read_text()
    assert page.count("<video") == 2 * (3 + 2) and "<script" not in page
    ours = [{**row, "method": "anamodiff"} for row in data["rows"] if row["method"] == "warp-only"]
    means, less = tables(["anamodiff", "still"], [*ours, *data["rows"]])
    assert means.lines[0][:2] == ["anamodiff", "2"] and less.lines[0][0] == "still"
    assert "<b>a</b> &lt;b" in Table("", ["x"], [["**a** <b"]]).html
    assert (folder / "plots" / "foreground_iou.png").is_file()


def test_what_is_missing_is_an_empty_column_and_a_line(run, pairs: Path) -> None:
    folder = run(pairs, clip_model="none")
    rows = json.loads((folder / "results.json").read_text())["rows"]
    for row in rows:
        assert row["measures"]["temporal_consistency"] is None
        assert row["not_measured"]["appearance_consistency"] == "--clip-model none"
        assert row["measured_with"]["motion_fidelity_driving"] == (
            "result: DIS optical flow; driving clip: DIS optical flow"
        )
        assert row["made_with"]["tracker"] == "flow" and row["made_with"]["joint_detector"]
    table = (folder / "table.md").read_text()
    head, _, line = (row for row in table.splitlines() if row.startswith("|"))
    cells = dict(zip(*(map(str.strip, row.split("|")) for row in (head, line)), strict=True))
    assert cells["temporal consistency ↑"] == cells["PCK 0.1 ↑"] == cells["LPIPS ↓"] == ""
    assert cells["Motion Fidelity (truth) ↑"].startswith("0.000 [")
    page = (folder / "index.html").read_text()
    for note in (
        "PCK 0.1: not measured: the truth shows no named joints",
        "appearance consistency, temporal consistency: not measured: --clip-model none",
        "Motion Fidelity (truth), Motion Fidelity (driving): nothing moves in the result: the "
        "value is 0",
    ):
        assert f"\n- {note}\n" in table and f"<li>{note}</li>" in page
    assert not (folder / "plots" / "temporal_consistency.png").exists()


def test_drawn_pairs_are_measured_with_their_exact_joints(run) -> None:
    folder = run("creatures", limit=1, frames=3)
    (row,) = json.loads((folder / "results.json").read_text())["rows"]
    assert row["measured_with"]["motion_fidelity_truth"].endswith("; truth: exact joints")
    assert row["measured_with"]["motion_fidelity_driving"].endswith("driving clip: exact joints")
    assert row["measured_with"]["pck"].endswith("; truth: exact joints")
    assert 0 < row["measures"]["pck"] < 1 and row["measures"]["motion_fidelity_driving"] == 0


def test_results_are_kept_unless_settings_differ(run, pairs: Path) -> None:
    folder = run(pairs)
    row = folder / "pairs" / "pair0" / "still.json"
    first = row.stat().st_mtime_ns
    run(pairs, "still,warp-only")  # another method is added
    assert row.stat().st_mtime_ns == first
    run(pairs, seed=1)
    assert row.stat().st_mtime_ns > first
    row.write_text("{")
    run(pairs, seed=1)
    assert json.loads(row.read_text())["pair"] == "pair0"


def test_clips_made_elsewhere_enter_the_table(run, pairs: Path, tmp_path: Path, caplog) -> None:
    elsewhere = tmp_path / "other"
    truth = read_clip(pairs / "pair0" / "truth.gif", frames=FRAMES, size=64).frames
    write_video(elsewhere / "pair0.gif", truth, 8)
    with caplog.at_level(logging.WARNING):
        folder = run(pairs, method=f"perfect={elsewhere}")
    rows = json.loads((folder / "results.json").read_text())["rows"]
    perfect = [row for row in rows if row["method"] == "perfect"]
    assert [row["pair"] for row in perfect] == ["pair0"] and perfect[0]["measures"][
        "foreground_iou"
    ] == 1
    assert "pair1, perfect: expected a clip named pair1" in caplog.text


def test_one_bad_pair_does_not_stop_the_others(run, pairs: Path, caplog) -> None:
    (pairs / "pair0" / "truth.gif").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        folder = run(pairs)
    assert "pair0, still: " in caplog.text
    assert [r["pair"] for r in json.loads((folder / "results.json").read_text())["rows"]] == [
        "pair1"
    ]
    (pairs / "pair1" / "truth.gif").write_bytes(b"")
    with pytest.raises(AnaMoDiffError, match="at least one result"):
        run(pairs, output=folder.parent / "none")


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="expected pairs"):
        find_pairs(tmp_path, tmp_path)
    for words, complaint in (
        (["nothing"], "expected methods among anamodiff, still"),
        (["a/b=."], "letters, digits and dashes"),
        ([f"theirs={tmp_path / 'gone'}"], "folder of clips, a rival.s weights, or a JSON file"),
        ([f"own={tmp_path / 'gone.json'}"], "folder of clips, a rival.s weights, or a JSON"),
        ([f"still={tmp_path}"], "is a method of ours"),
    ):
        with pytest.raises(AnaMoDiffError, match=complaint):
            choose_methods(words)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "expected JSON in"),
        ("[1]", r"got \[1\]"),
        ('{"adaptation": {}}', "got 'adaptation'"),
        ('{"tuning": {"noise_mim": 1}}', "did you mean tuning.noise_min"),
        ('{"generation": {"steps": 0}}', "generation.steps|--steps"),
    ],
)
def test_a_wrong_file_of_settings_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AnaMoDiffError, match=complaint):
        choose_methods([f"own={file}"])


def test_a_file_of_settings_is_a_method(run, pairs: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.json"
    own = {"tuning": {"iterations": 0}, "generation": {"steps": 2, "guidance": 1.0}}
    file.write_text(json.dumps(own), encoding="utf-8")
    (chosen,) = choose_methods([f"short={file}"]).values()
    assert chosen == methods.FullMethod(tuning=own["tuning"], generation=own["generation"])
    folder = run(pairs, f"still,short={file}", limit=1)
    row = json.loads((folder / "pairs" / "pair0" / "short.json").read_text())
    assert row["made_with"]["method"]["generation"] == own["generation"]


def test_an_ablation_changes_one_thing() -> None:
    assert METHODS["anamodiff"] == methods.FullMethod()
    assert METHODS["no-warped"] == methods.FullMethod(tuning={"warped_weight": 0.0})
    assert METHODS["no-tuning"] == methods.FullMethod(tuning={"iterations": 0})
    # All of Figure 7 is sampled from noise alone, where its ranges differ.
    configs = Path(__file__).resolve().parents[2] / "configs"
    figure = (configs / "figure" / "figure7.yaml").read_text(encoding="utf-8")
    (words,) = (line for line in figure.splitlines() if line.startswith("methods: "))
    for name in words.removeprefix("methods: ").split(","):
        method = METHODS[name]
        assert isinstance(method, methods.FullMethod)
        assert method.generation == {"denoise_from": 1000, "detail": 0.0}
        # Whatever narrower ranges the backbone recommends for a later start.
        source = {"source_noise_min": 0, "source_noise_max": 1000}
        low = name.removeprefix("noise-")
        warped = (
            {"noise_min": int(low), "noise_max": 1000} if low.isdigit() else {"warped_weight": 0.0}
        )
        assert method.tuning == source | warped


def test_there_are_fifty_drawn_pairs(tmp_path: Path) -> None:
    found = list(drawn_pairs(tmp_path))
    assert len({pair.name for pair in found}) == 50
    assert len({pair.traits["motion"] for pair in found}) == 5
    for pair in found:
        source, driver, _ = pair.name.split("-")
        assert source != driver
        assert pair.prompt.endswith(source.replace("_", " "))
    source, driving, truth = found[0].read(10, 64)
    assert source.frames.shape == driving.frames.shape == truth.frames.shape == (10, 3, 64, 64)
    assert (truth.frames[0] - truth.frames[5]).abs().max() > 0.5, "it moves"


def test_letters_are_moved_by_animals_and_flags_by_flags(tmp_path: Path) -> None:
    found = {plan.name: plan for plan in plans("letters-and-flags")}
    assert len(found) == 24
    flags = [plan for plan in found.values() if plan.source == "flag"]
    assert len(flags) == 6 and {(p.driving, p.motion) for p in flags} == {("flag", "wave")}
    letters = [plan for plan in found.values() if plan.source.startswith("letter")]
    assert len(letters) == 18 and not any(p.driving.startswith("letter") for p in letters)
    (first, last) = find_pairs("letters-and-flags", tmp_path, 2)
    assert first.prompt.endswith("letter m") and "letter" in last.prompt
    _, driving, truth = first.read(10, 64)
    assert (truth.frames[0] - truth.frames[5]).abs().max() > 0.5, "it moves"


def test_several_sets_have_names_folders_and_tables_of_their_own(run, pairs: Path) -> None:
    folder = run(f"creatures,{pairs},creatures-apart", "still", limit=1)
    rows = json.loads((folder / "results.json").read_text())["rows"]
    names = [row["pair"] for row in rows]
    assert [name.partition("--")[0] for name in names] == ["creatures", "pairs", "creatures-apart"]
    first, _, last = (row["measures"]["foreground_iou"] for row in rows)
    assert first != last, "the sources of both sets stand in different poses"
    table = (folder / "table.md").read_text()
    for name in ("creatures", "pairs", "creatures-apart"):
        assert f"{name}. Means over pairs" in table
    with pytest.raises(AnaMoDiffError, match="different names"):
        run(f"creatures,{pairs.parent / 'elsewhere' / '..' / 'pairs'},{pairs}")


def test_costs_are_beside_the_measures(run, pairs: Path) -> None:
    folder = run(pairs, "still,warp-only")
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert all(row["tuning_seconds"] == 0 for row in rows)
    if sys.platform == "linux":
        assert all(100 < row["memory_mb"] < 10_000 for row in rows)
    head = (folder / "table.md").read_text().splitlines()[2]
    assert head.endswith("| seconds | of these tuning | CPU seconds | peak MB |")


def test_the_worst_pairs_have_a_page(tmp_path: Path) -> None:
    values = {f"pair{number}": number / 20 for number in range(12)}
    rows = [
        {"pair": pair, "method": method, "measures": {"foreground_iou": value * factor}}
        for pair, value in values.items()
        for method, factor in (("still", -1), ("anamodiff", 1))
    ]
    assert worst_pairs(rows) == [f"pair{number}" for number in range(10)]
    assert worst_pairs(rows[::2]) == []


def test_outdoor_pairs_are_filmed_on_textures_and_their_truth_is_on_white(tmp_path: Path) -> None:
    (pair,) = find_pairs("creatures-outdoors", tmp_path, 1)
    source, driving, truth = pair.read(10, 80)
    assert plain_ground(source.frames) is None and plain_ground(driving.frames) is None
    assert torch.equal(truth.frames[:, :, 0], torch.ones_like(truth.frames[:, :, 0]))
    assert pair.plain_source is not None
    plain = read_clip(pair.plain_source, frames=10, size=80).frames
    # The camera stands where it is in the first frame, and drifts from there.
    own = foreground_mask(plain)[:1, None].expand(1, 3, -1, -1)
    assert (source.frames[:1] - plain[:1])[own].abs().median() < 0.02
    still = (source.frames[-1] - source.frames[0])[:, :6]
    assert still.abs().mean() > 0.02


@pytest.mark.parametrize(
    "name", ["anamodiff", "no-warped", "no-tuning", "one-frame", "tune-a-video"]
)
def test_results_are_on_the_backbones_canvas(
    name: str, pairs: Path, tiny_backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = MotionTransfer.load(str(tiny_backbone_folder), device="cpu")
    own = {"tuning": SHORT, "generation": BRIEF}
    monkeypatch.setattr(type(mover.backbone), "recommended", property(lambda self: own))
    pair = find_pairs(pairs, pairs)[0]
    source, driving, _ = pair.read(FRAMES, 64)
    results = [METHODS[name].run(mover, Task(pair, source, driving, seed)) for seed in (0, 0, 1)]
    assert results[0].shape == driving.frames.shape
    assert results[0].isfinite().all() and results[0].abs().max() <= 1
    assert_close(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_benchmark_measures_a_users_transfer(
    pairs: Path, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = module.BenchmarkOptions(
        backbone=str(tiny_backbone_folder), frames=FRAMES, seed=3, device="cpu", clip_model="none"
    )
    models = options.load()
    own = {"tuning": SHORT, "generation": BRIEF}
    monkeypatch.setattr(type(models.mover.backbone), "recommended", property(lambda self: own))
    written: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(
        module, "write_video", lambda path, frames, fps: written.update({path.name: frames})
    )
    pair = find_pairs(pairs, pairs)[0]
    module.run_job(
        models, module.Job(pair, "anamodiff", METHODS["anamodiff"], tmp_path), options, {}
    )
    user = MotionTransfer.load(str(tiny_backbone_folder), device="cpu").transfer(
        pair.source, pair.driving, prompt=pair.prompt, frames=FRAMES, seed=3,
        output=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert torch.equal(written["anamodiff.mp4"], user.canvas)
    assert not torch.equal(user.canvas, torch.ones_like(user.canvas))


def test_a_recommended_size_changes_no_figures(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (folder / "anamodiff.json").write_text(json.dumps({"size": 32, "generation": BRIEF}))
    common = {"backbone": str(folder), "device": "cpu", "precision": "fp32", "clip_model": "none"}
    options = module.BenchmarkOptions(**common)
    models = options.load()
    made_with = module._made_with(models, options)
    assert models.mover.backbone.image_size == made_with["size"] == 64
    assert made_with["recommended"] == {"generation": BRIEF}
    assert module.BenchmarkOptions(**common, size=96).load().mover.backbone.image_size == 96


def test_tune_a_video_inverts_with_an_empty_prompt_and_tunes_at_one_rate(
    pairs: Path, tiny_backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = MotionTransfer.load(str(tiny_backbone_folder), device="cpu")
    own = {"tuning": SHORT, "generation": BRIEF}
    monkeypatch.setattr(type(mover.backbone), "recommended", property(lambda self: own))
    given: dict[str, Any] = {}
    invert, tune = methods.ddim_invert, methods.tune

    def noted_invert(*words: Any, embedding: torch.Tensor, **more: Any) -> torch.Tensor:
        given["inversion"] = embedding
        return invert(*words, embedding=embedding, **more)

    def noted_tune(*words: Any, **more: Any) -> list[float]:
        given["tuning"], given["options"] = words[3], words[5]
        return tune(*words, **more)

    monkeypatch.setattr(methods, "ddim_invert", noted_invert)
    monkeypatch.setattr(methods, "tune", noted_tune)
    pair = find_pairs(pairs, pairs)[0]
    source, driving, _ = pair.read(FRAMES, 64)
    METHODS["tune-a-video"].run(mover, Task(pair, source, driving, 0))
    empty, prompt = mover.backbone.embed(["", pair.driving_prompt]).split(1)
    assert_close(given["inversion"], empty)
    assert_close(given["tuning"], prompt)
    assert given["options"].lr == pytest.approx(0.06 * mover.resolve().tuning.lr)
    assert given["options"].temporal_lr == 1.0


def test_tune_a_video_trains_what_it_published(tiny_backbone_folder: Path) -> None:
    unet = MotionTransfer.load(str(tiny_backbone_folder), device="cpu").method.inflate(
        TuningOptions()
    )
    train_as_published(unet)
    trained = {name for name, p in unet.named_parameters() if p.requires_grad}
    others = {name for name in trained if "_temp." not in name}
    assert others and all(name.endswith("to_q.weight") for name in others)
    assert any(".attn_temp.to_k." in name for name in trained)


@pytest.mark.slow
def test_worker_processes_give_the_same_results(run, pairs: Path, tmp_path: Path) -> None:
    alone = run(pairs, "still,warp-only", threads=1)
    beside = run(pairs, "still,warp-only", workers=2, output=tmp_path / "beside")
    rows = [json.loads((folder / "results.json").read_text())["rows"] for folder in (alone, beside)]
    assert [(r["pair"], r["method"]) for r in rows[0]] == [
        (r["pair"], r["method"]) for r in rows[1]
    ]
    for one, other in zip(*rows, strict=True):
        assert one["measures"] == pytest.approx(other["measures"], abs=1e-4)
    assert module.BenchmarkOptions().threads == 0


def test_pairs_on_textures_are_measured_by_their_characters(run, tmp_path: Path) -> None:
    drawn = creatures.draw(creatures.Character.sample(101, species="rabbit"), "walk", frames=FRAMES)
    grass = from_pixels(on_ground(drawn, draw_ground("grass", 128, 128, 0)))
    for name in ("source", "driving", "truth"):
        write_frames(tmp_path / "outside" / "rabbit" / name, grass)
    write_frames(tmp_path / "made" / "rabbit", from_pixels(drawn.frames))
    folder = run(tmp_path / "outside", methods=f"made={tmp_path / 'made'}")
    row = json.loads((folder / "pairs" / "rabbit" / "made.json").read_text())
    assert row["measures"]["foreground_iou"] > 0.8
    assert row["measures"]["colour_distance"] < 8
