"""Options: what is out of range is refused when constructed, and presets fill what is not given."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from anamodiff.backbone.model import Backbone
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.methods import METHODS
from anamodiff.fields import Options
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.options import (
    PRESETS,
    STAGES,
    AdaptationOptions,
    GenerationOptions,
    MemoryOptions,
    TuningOptions,
    resolve,
)
from anamodiff.run.api import generate
from anamodiff.run.folder import RunFolder
from anamodiff.run.motion_transfer import MotionTransfer

ROOT = Path(__file__).resolve().parents[1]
RECOMMENDED = {"tuning": {"iterations": 3, "lora": "all"}, "generation": {"steps": 7}}


@pytest.mark.parametrize(
    ("options", "given", "line"),
    [
        (TrainOptions, {"lr": -1, "steps": 0}, "training.steps: expected a whole number of at"),
        (TrainOptions, {"lr": -1}, "training.lr: expected a number above 0, got -1; the default"),
        (
            GenerationOptions,
            {"noise_warp": "typo"},
            "generation.noise_warp: expected one of nearest, preserve, paper, bilinear, got 'typo'",
        ),
        (
            TuningOptions,
            {"group_norm": "typo"},
            "tuning.group_norm: expected one of pooled, per_frame, got 'typo'; the default is 'poo",
        ),
        (MemoryOptions, {"vram": 10}, "memory.vram: expected one of 8, 12, 16, 24, auto or null,"),
        (MemoryOptions, {"vram": "8"}, "memory.vram: expected one of 8, 12, 16, 24, auto or null,"),
        (
            TuningOptions,
            {"noise_min": 900, "noise_max": 900},
            "tuning.noise_min: expected less than tuning.noise_max, got 900 and 900; lower the one",
        ),
        (
            TuningOptions,
            {"source_noise_min": 500, "source_noise_max": 400},
            "tuning.source_noise_min: expected less than tuning.source_noise_max, got 500 and 400",
        ),
        (
            GenerationOptions,
            {"window": 5, "overlap": 5},
            "generation.overlap: expected at least 1 frame and less than generation.window, got",
        ),
    ],
)
def test_lines_name_expected_got_and_cure(
    options: type[Options], given: dict[str, Any], line: str
) -> None:
    with pytest.raises(AnaMoDiffError) as caught:
        options(**given)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


WRONG = [
    ({"generation": {"stepz": 1}}, "unknown setting 'generation.stepz'; did you mean generation."),
    ({"generation": {"noise_warp": "typo"}}, "generation.noise_warp: expected one of nearest,"),
    ({"generation": {"window": 4}}, "generation.overlap: expected at least 1 frame and less than"),
    ({"generation": TuningOptions()}, "generation: expected GenerationOptions or a mapping such"),
    ({"tuning": {"lrr": 1}}, "unknown setting 'tuning.lrr'; did you mean tuning.lr?"),
    ({"tuning": {"lr": -1}}, "tuning.lr: expected a number above 0, got -1; the default is 0.0005"),
    ({"tuning": 5}, "tuning: expected TuningOptions or a mapping such as {'iterations': ...}, got"),
    ({"adaptation": {"scale": "typo"}}, "adaptation.scale: expected one of learnt, hull, none"),
    ({"preset": "slow"}, "--preset: expected one of paper, fast, got 'slow'"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "line"), WRONG)
def test_wrong_settings_are_not_resolved(given: dict[str, Any], line: str) -> None:
    with pytest.raises(AnaMoDiffError) as caught:
        resolve(**given)
    assert str(caught.value).startswith(line)


@pytest.fixture(scope="module")
def mover(tiny_backbone_folder: Path) -> MotionTransfer:
    return MotionTransfer.load(tiny_backbone_folder, device="cpu")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        *WRONG,
        ({"frames": 1}, "frames: expected a whole number from 2 to 600, got 1"),
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"start_frame": "last"}, 'start_frame: expected "first", "auto" or a frame number'),
        ({"prompt": ""}, "expected a prompt of a few words"),
    ],
)
def test_a_transfer_refuses_them_before_a_clip_is_read(
    mover: MotionTransfer,
    given: dict[str, Any],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where the clips are not: reading them is another error
    with pytest.raises(AnaMoDiffError) as caught:
        mover.transfer("source.gif", "driving.gif", **{"prompt": "a turtle", **given})
    assert str(caught.value).startswith(line)
    assert not list(tmp_path.iterdir())
    with pytest.raises(AnaMoDiffError, match="source.gif"):
        mover.transfer("source.gif", "driving.gif", prompt="a turtle")


@pytest.mark.parametrize("memory", [{"vrma": 8}, {"vram": 9}, 8])
def test_wrong_memory_is_refused_before_a_model_is_loaded(
    memory: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(Backbone, "load", load)
    with pytest.raises(AnaMoDiffError, match="memory"):
        MotionTransfer.load("mini", device="cpu", memory=memory)


@pytest.fixture
def folder(tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (copy / "anamodiff.json").write_text(json.dumps(RECOMMENDED))
    return copy


@pytest.mark.parametrize("stage", STAGES)
def test_paper_forgets_what_the_backbone_recommends(folder: Path, stage: str) -> None:
    kind = STAGES[stage]
    recommended = Backbone.load(folder, device="cpu").recommended
    paper = resolve(preset="paper", recommended=recommended)
    assert getattr(paper, stage) == kind(**PRESETS["paper"].get(stage, {}))
    plain = resolve(recommended=recommended)
    assert getattr(plain, stage) == kind(**RECOMMENDED.get(stage, {}))


# By field: the paper's section and what it says; None where it says nothing, with what we take.
PAPER = {
    "adaptation.matte": (None, "auto"),  # leaves its clips, on white, as they are
    "adaptation.pose": ("3.3", "points"),
    "adaptation.start": (None, "auto"),  # without effect on key points
    "adaptation.sources": (None, "nearest"),  # without effect on key points
    "adaptation.scale": ("3.3", "hull"),  # s: root of the ratio of the hulls' areas
    "adaptation.smooth": ("3.3", 0.0),  # the driving points as they are
    "adaptation.motion_scale": ("3.3", 1.0),
    "tuning.iterations": ("4.1", 250),
    "tuning.plateau": ("4.1", 0.0),  # all of them
    "tuning.iterations_min": (None, 40),  # without effect, as plateau is 0
    "tuning.lr": ("4.1", 5e-4),
    "tuning.temporal_lr": ("4.1", 1.0),  # it names one rate
    "tuning.rank": (None, 16),
    "tuning.lora": ("3.4", "attention"),
    "tuning.lora_blocks": ("3.4", "all"),
    "tuning.noise_min": ("3.4", 850),  # D_W: t in [850, 1000)
    "tuning.noise_max": ("3.4", 1000),
    "tuning.source_noise_min": ("3.4", 0),  # D_S: t in [0, 1000)
    "tuning.source_noise_max": ("3.4", 1000),
    "tuning.warped_weight": ("3.4", 1.0),  # D = D_S + D_W
    "tuning.unseen_weight": ("3.4", 1.0),  # no visibility in the paper
    "tuning.group_norm": ("3.4", "pooled"),  # inflated as in Tune-A-Video
    "tuning.checkpoint_levels": (None, "none"),  # changes no result
    "tuning.clips_at_once": (None, 2),  # changes no result
    "tuning.window": ("4.1", 10),  # its clips have ten frames: the whole clip
    "tuning.checkpoint_every": (None, 25),  # changes no result
    "tuning.cuda_graph": (None, None),  # changes no result
    "generation.steps": (None, 50),
    "generation.solver": ("3.5", "ddim"),
    "generation.guidance": (None, 7.5),
    "generation.negative_prompt": (None, ""),
    "generation.ground": (None, "source"),
    "generation.noise_warp": ("3.5", "paper"),  # the inverted noise warped, plus fresh noise
    "generation.noise_weight": (None, 0.7),
    "generation.match_colours": ("3.5", True),
    "generation.detail": ("3.5", 0.0),  # all of a frame is sampled
    "generation.denoise_from": ("3.5", 1000),  # noise alone
    "generation.unseen_from": ("3.5", None),  # no visibility in the paper
    "generation.window": ("3.5", 10),  # all frames together
    "generation.overlap": (None, 5),  # without effect on ten frames
    "generation.cuda_graph": (None, None),  # changes no result
    "generation.max_size": (None, 1024),  # of the file that is written
}


def test_preset_paper_is_literal_in_every_field() -> None:
    """Sections 3.3 to 3.5 and 4.1; section 3.2 is LOFNet's, `training=paper`."""
    assert all(section in ("3.3", "3.4", "3.5", "4.1", None) for section, _ in PAPER.values())
    found = resolve(preset="paper", recommended=RECOMMENDED)
    fields = {
        f"{section}.{name}": value
        for section in STAGES
        for name, value in asdict(getattr(found, section)).items()
    }
    assert fields == {key: value for key, (_, value) in PAPER.items()}


def test_what_is_given_wins_and_a_folder_may_have_its_own_preset(folder: Path) -> None:
    def options(given: dict[str, Any] | None = None) -> TuningOptions:
        recommended = Backbone.load(folder, device="cpu").recommended
        return resolve(tuning=given, preset="fast", recommended=recommended).tuning

    assert options() == TuningOptions(**PRESETS["fast"]["tuning"])
    assert options({"iterations": 4, "lr": None}).iterations == 4
    own = {**RECOMMENDED, "presets": {"fast": {"tuning": {"iterations": 9}}}}
    (folder / "anamodiff.json").write_text(json.dumps(own))
    assert options() == TuningOptions(iterations=9)


def test_what_saves_memory_gives_way_to_what_is_given_only() -> None:
    memory = {"checkpoint_levels": "all", "clips_at_once": None}
    recommended = {"tuning": {"checkpoint_levels": "top", "clips_at_once": 1}}

    def tuning(given: Any) -> tuple[str, int]:
        found = resolve(tuning=given, memory=memory, recommended=recommended).tuning
        return found.checkpoint_levels, found.clips_at_once

    assert tuning(None) == ("all", 1)
    assert tuning({"checkpoint_levels": "none", "clips_at_once": 2}) == ("none", 2)
    assert tuning(TuningOptions()) == ("none", 2), "whole options are taken as they are"


def test_unknown_presets_are_refused(folder: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="paper, fast or null, got 'slow'"):
        MotionTransfer.load(folder, device="cpu", preset="slow")


def test_a_run_is_made_and_noted_with_the_preset(
    folder: Path,
    drawn_clips: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PRESETS["fast"], "tuning", {"checkpoint_every": 7})
    mover = MotionTransfer.load(folder, device="cpu", preset="fast")
    few = {"iterations": 1, "rank": 2}
    run = mover.tune(
        *drawn_clips, output=tmp_path / "run", tuning=few, frames=3, prompt="a turtle",
        progress=False,
    )  # fmt: skip
    assert RunFolder.load(run).settings["tuning"]["checkpoint_every"] == 7
    assert RunFolder.load(run).settings["preset"] == "fast"
    presets = []

    def load(*_: object, preset: str | None = None, **__: object) -> None:
        presets.append(preset)
        raise AnaMoDiffError("enough")

    monkeypatch.setattr(MotionTransfer, "load", load)
    for wanted in (None, "paper"):  # what was tuned is generated alike, unless told otherwise
        with pytest.raises(AnaMoDiffError, match="enough"):
            generate(run, preset=wanted)
    assert presets == ["fast", "paper"]
    assert mover.resolve(preset="paper").tuning == TuningOptions(**PRESETS["paper"]["tuning"])
    assert mover.resolve().tuning.checkpoint_every == 7


def test_the_benchmark_knows_every_preset() -> None:
    assert {method.preset for method in METHODS.values() if hasattr(method, "preset")} == {
        None,
        *PRESETS,
    }


def test_fast_is_no_slower_than_what_mini_recommends() -> None:
    mini = json.loads((ROOT / "checkpoints" / "mini" / "anamodiff.json").read_text())
    own, fast = TuningOptions(**mini["tuning"]), TuningOptions(**mini["presets"]["fast"]["tuning"])
    assert fast.iterations <= own.iterations
    sampled, quick = (
        GenerationOptions(**part["generation"]) for part in (mini, mini["presets"]["fast"])
    )
    assert quick.steps * quick.denoise_from <= sampled.steps * sampled.denoise_from


def test_adaptation_is_the_papers_where_it_is_asked_for() -> None:
    paper = resolve(preset="paper").adaptation
    assert paper == AdaptationOptions(pose="points", scale="hull", smooth=0)
