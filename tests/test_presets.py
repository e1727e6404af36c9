"""Presets: `paper` is its schedule on any backbone, `fast` the backbone's own or the package's."""

import json
import shutil
from pathlib import Path

import pytest

from anamodiff.backbone import Backbone
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.methods import METHODS
from anamodiff.inversion import GenerationOptions
from anamodiff.lofnet import AdaptationOptions
from anamodiff.pipeline import MotionTransfer, generate
from anamodiff.presets import PRESETS
from anamodiff.runfolder import RunFolder
from anamodiff.tuning import TuningOptions

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"tuning": TuningOptions, "generation": GenerationOptions, "adaptation": AdaptationOptions}
RECOMMENDED = {"tuning": {"iterations": 3, "lora": "all"}, "generation": {"steps": 7}}


@pytest.fixture
def folder(tiny_backbone_folder, tmp_path):
    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "backbone")
    (copy / "anamodiff.json").write_text(json.dumps(RECOMMENDED))
    return copy


@pytest.mark.parametrize("stage", STAGES)
def test_paper_forgets_what_the_backbone_recommends(folder, stage):
    kind = STAGES[stage]
    backbone = Backbone.load(folder, device="cpu", preset="paper")
    assert backbone.options(kind, None, stage) == kind()
    plain = Backbone.load(folder, device="cpu").options(kind, None, stage)
    assert plain == kind(**RECOMMENDED.get(stage, {}))


def test_paper_is_the_papers_schedule():
    tuning, generation = TuningOptions(), GenerationOptions()
    assert (tuning.iterations, tuning.lr, tuning.optimiser) == (250, 5e-4, "adam")
    assert (tuning.noise_min, tuning.noise_max, tuning.plateau) == (850, 1000, 0)
    assert (tuning.lora, tuning.lora_blocks) == ("attention", "all")
    assert (generation.steps, generation.solver, generation.denoise_from) == (50, "ddim", 1000)


def test_what_is_given_wins_and_a_folder_may_have_its_own_preset(folder):
    def options(given=None):
        backbone = Backbone.load(folder, device="cpu", preset="fast")
        return backbone.options(TuningOptions, given, "tuning")

    assert options() == TuningOptions(**PRESETS["fast"]["tuning"])
    assert options({"iterations": 4, "lr": None}).iterations == 4
    own = {**RECOMMENDED, "presets": {"fast": {"tuning": {"iterations": 9}}}}
    (folder / "anamodiff.json").write_text(json.dumps(own))
    assert options() == TuningOptions(iterations=9)


def test_unknown_presets_are_refused(folder):
    with pytest.raises(AnaMoDiffError, match="paper, fast, got 'slow'"):
        Backbone.load(folder, device="cpu", preset="slow")


def test_a_run_is_made_and_noted_with_the_preset(folder, drawn_clips, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS["fast"], "tuning", {"checkpoint_every": 7})
    mover = MotionTransfer.load(folder, device="cpu", preset="fast")
    few = {"iterations": 1, "rank": 2}
    run = mover.tune(
        *drawn_clips, output=tmp_path / "run", tuning=few, frames=3, prompt="a turtle",
        progress=False,
    )  # fmt: skip
    assert RunFolder.load(run).settings["tuning"]["checkpoint_every"] == 7
    assert RunFolder.load(run).settings["preset"] == "fast"
    seen = []

    def load(*_, preset=None, **__):
        seen.append(preset)
        raise AnaMoDiffError("enough")

    monkeypatch.setattr(MotionTransfer, "load", load)
    for asked in (None, "paper"):  # what was tuned is generated alike, unless told otherwise
        with pytest.raises(AnaMoDiffError, match="enough"):
            generate(run, preset=asked)
    assert seen == ["fast", "paper"]
    other = mover.with_preset("paper")
    assert other.tuning_options(None) == TuningOptions()
    assert mover.tuning_options(None).checkpoint_every == 7


def test_the_benchmark_knows_every_preset():
    assert {method.preset for method in METHODS.values() if hasattr(method, "preset")} == {
        None,
        *PRESETS,
    }


def test_fast_is_no_slower_than_what_mini_recommends():
    mini = json.loads((ROOT / "checkpoints" / "mini" / "anamodiff.json").read_text())
    own, fast = TuningOptions(**mini["tuning"]), TuningOptions(**mini["presets"]["fast"]["tuning"])
    assert fast.iterations <= own.iterations
    sampled, quick = (
        GenerationOptions(**part["generation"]) for part in (mini, mini["presets"]["fast"])
    )
    assert quick.steps * quick.denoise_from <= sampled.steps * sampled.denoise_from
