"""Settings: every config composes, no text is misread, every mistake is one line."""

import os
import random
from copy import deepcopy
from dataclasses import fields
from functools import cache
from inspect import signature
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from anamodiff import config
from anamodiff.errors import AnaMoDiffError
from anamodiff.settings import kind_of

REQUIRED = {
    "demo": [],
    "transfer": ["source=a", "driving=b", "prompt=c"],
    "transfer_many": ["list=a"],
    "tune": ["source=a", "driving=b", "prompt=c"],
    "generate": ["run=a"],
    "inspect": ["clip=a"],
    "evaluate": ["result=a"],
    "benchmark": ["pairs=a"],
    "ablation": [],
    "survey": ["results=a"],
    "survey_results": ["answers=[a]"],
    "train_lofnet": ["data=a"],
    "fetch": ["what=sd14"],
    "doctor": [],
}
TRAININGS = ("default", "paper")
NASTY = [
    "a turtle",
    "a turtle, running",
    'it\'s a "turtle"',
    "'quoted'",
    '"quoted"',
    "x=1, y==2",
    "[a, {b: c}]",
    "{",
    "}",
    "(a",
    "costs $5",
    "${frames}",
    r"\${frames}",
    r"\\${frames}",
    "$" + "{oc.env:HOME}",
    "back\\slash\\",
    "\\",
    "'",
    "a\nb\tc",
    "null",
    "true",
    "10",
    "1e-4",
    "0x10",
    "~x",
    "+x",
    "@:#%&*?|",
    "une tortue à écailles 🐢",
    "/path with spaces/lr=1e-4/(copy) [2].gif",
    "C:\\clips\\a.gif",
]


@cache
def compose(name: str, *overrides: str) -> dict:
    return config.plain(config.compose(name, [*REQUIRED[name], *overrides]))


@pytest.fixture(scope="module")
def transfer() -> DictConfig:
    """A composed config, to try values on without composing again (a tenth of a second each)."""
    return config.compose("transfer", REQUIRED["transfer"])


def with_override(composed: DictConfig, word: str) -> DictConfig:
    """A copy of `composed` with one override, read by Hydra's parser as in a composition."""
    parsed = OverridesParser.create().parse_override(word)
    copy = deepcopy(composed)
    OmegaConf.update(copy, parsed.key_or_group, parsed.value())
    return copy


def test_every_config_has_its_command_and_composes() -> None:
    files = {path.stem for path in config.find("configs").glob("*.yaml")}
    # Training the embedded backbone is a script's, not a command's.
    assert files - {"train_mini"} == set(REQUIRED)
    for name in REQUIRED:
        # The survey's commands compute nothing that a device could.
        assert compose(name).get("device") == (None if "survey" in name else "auto")


def test_every_choice_of_every_group_composes() -> None:
    homes = {"tuning": "tune", "generation": "generate", "adaptation": "inspect"}
    homes |= {"memory": "generate"}
    homes |= dict.fromkeys(("network", "training"), "train_lofnet")
    for path in config.find("configs").glob("*/*.yaml"):
        group = path.parent.name
        if group in homes:
            chosen = compose(homes[group], f"{group}={path.stem}")[group]
            written = yaml.safe_load(path.read_text())
            if "defaults" in written:  # it holds the differences alone
                written |= compose(homes[group])[group]
            assert set(chosen) == set(written) - {"defaults"}


def test_every_setting_has_a_kind() -> None:
    for name in REQUIRED:
        for key, _ in config.leaves(OmegaConf.create(compose(name))):
            assert kind_of(key), f"{key} of {name}.yaml is not in settings.KINDS"


def test_demo_and_transfer_agree() -> None:
    own = {word.partition("=")[0] for word in REQUIRED["transfer"]}
    whole = compose("transfer")
    assert compose("demo") == {key: whole[key] for key in whole if key not in own}


def test_groups_have_the_fields_of_their_options() -> None:
    from anamodiff.inversion import GenerationOptions
    from anamodiff.lofnet import AdaptationOptions
    from anamodiff.memory import choose_memory
    from anamodiff.tuning import TuningOptions

    whole = compose("transfer")
    groups = {
        "adaptation": AdaptationOptions, "tuning": TuningOptions, "generation": GenerationOptions
    }  # fmt: skip
    for group, options in groups.items():
        assert set(whole[group]) == {field.name for field in fields(options)}
        # What the configs set would override what a backbone recommends for itself.
        assert set(whole[group].values()) == {None}
    chosen = signature(choose_memory).parameters
    assert whole["memory"] == {name: None for name in chosen if name != "device"}
    assert compose("generate")["memory"] == whole["memory"]


def test_training_has_the_fields_of_its_options() -> None:
    from anamodiff.lofnet import TrainOptions, mini_config, train_lofnet

    composed = compose("train_lofnet")
    own = {field.name: field.default for field in fields(TrainOptions)}
    own |= {name: p.default for name, p in signature(train_lofnet).parameters.items()}
    assert composed["training"].items() <= own.items()
    elsewhere = {"seed", *composed["lofnet"]}
    assert {field.name for field in fields(TrainOptions)} <= {*composed["training"], *elsewhere}
    start = composed["lofnet"] | {"detector_config": composed["lofnet"].pop("config")}
    assert start.items() <= own.items()
    assert composed["network"] == mini_config()


def test_the_papers_training() -> None:
    ours, paper = (compose("train_lofnet", f"training={name}")["training"] for name in TRAININGS)
    assert ours.keys() == paper.keys()
    assert (paper["epochs"], paper["lr"], paper["schedule"]) == (10_000, 5e-4, "constant")
    assert (paper["equivariance"], paper["separation"], paper["balance"]) == (0, 0, 0)


def test_composing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose("demo")
    assert Path(os.getcwd()) == tmp_path
    assert not list(tmp_path.iterdir())
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("text", NASTY)
def test_override_keeps_text_exactly(transfer: DictConfig, text: str) -> None:
    assert with_override(transfer, config.override("prompt", text)).prompt == text


def test_override_keeps_random_text_exactly(transfer: DictConfig) -> None:
    rng = random.Random(0)
    pieces = [*" ab,'\"=[]{}$\\:()\n~+é", "${", "\\${", "${frames}", "\\'"]
    for _ in range(200):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 12)))
        assert with_override(transfer, config.override("prompt", text)).prompt == text


def test_composition_keeps_text_exactly() -> None:
    keys = ("source", "driving", "prompt", "output", "backbone", "lofnet")
    texts = dict(zip(keys, NASTY[: len(keys)], strict=True))
    texts |= dict(zip(("output", "backbone", "lofnet"), NASTY[10:13], strict=True))
    found = compose("transfer", *(config.override(key, text) for key, text in texts.items()))
    assert {key: found[key] for key in keys} == texts


def test_lists_of_names_are_kept_exactly() -> None:
    for names in (NASTY, ["one"]):
        composed = config.compose("survey_results", [config.override("answers", names)])
        assert config.plain(composed)["answers"] == names
    with pytest.raises(AnaMoDiffError, match="ANSWERS: expected names of files, got"):
        config.compose("survey_results", [config.override("answers", ["a", ""])])


@pytest.mark.parametrize(
    ("key", "value"), [("frames", 7), ("tuning.lr", 3e-5), ("resume", True), ("tuning.lr", None)]
)
def test_override_keeps_values(transfer: DictConfig, key: str, value: object) -> None:
    changed = with_override(transfer, config.override(key, value))
    assert dict(config.leaves(changed))[key] == value


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("prompt=a turtle, running", "prompt", "a turtle, running"),
        ("prompt=it's (one", "prompt", "it's (one"),
        ("prompt='quoted, once'", "prompt", "quoted, once"),
        ("source=2024", "source", "2024"),
        ("source=a=b", "source", "a=b"),
        ("output=null", "output", None),
        ("output=runs/${seed}", "output", "runs/0"),
        ("tuning.lr=1e-4", "tuning.lr", 1e-4),
        ("tuning.lr=null", "tuning.lr", None),
        ("generation.noise_warp=paper", "generation.noise_warp", "paper"),
        ("generation.match_colours=false", "generation.match_colours", False),
        ("start_frame=3", "start_frame", 3),
        ("start_frame=first", "start_frame", "first"),
        ("start_frame=auto", "start_frame", "auto"),
        ("adaptation.scale=axes", "adaptation.scale", "axes"),
    ],
)
def test_literal_reads_what_its_author_meant(
    transfer: DictConfig, word: str, key: str, value: object
) -> None:
    changed = with_override(transfer, config.literal(word))
    assert dict(config.leaves(changed))[key] == value


def test_literal_leaves_the_choice_of_a_group() -> None:
    chosen = compose("train_lofnet", config.literal("network=mgif"))["network"]
    assert chosen["detector"]["max_features"] == 1024


@pytest.mark.parametrize("word", ["turtle", "~frames", "+frames=3", "=3", "a b=3", ""])
def test_literal_refuses_what_sets_nothing(word: str) -> None:
    with pytest.raises(AnaMoDiffError, match="expected a flag"):
        config.literal(word)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("tuning.lrr=1", r"unknown setting 'tuning.lrr'; did you mean tuning.lr"),
        ("lr=1", r"unknown setting 'lr'; did you mean tuning.lr\?"),
        ("generation.step=1", r"did you mean generation.steps\?"),
        ("+zebra=1", r"unknown setting 'zebra'"),
        ("frames.x=1", r"did you mean frames\?"),
        ("tuning=letters", r"tuning: expected default, got 'letters'"),
        ("tuning=5", r"tuning: expected settings such as tuning.NAME=VALUE, got '5'"),
        ("output=${nowhere}", r"nowhere"),
    ],
)
def test_unknown_names_are_one_line_with_close_matches(override: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        config.compose("transfer", [*REQUIRED["transfer"], override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("lofnet=weights", "lofnet: expected settings such as lofnet.NAME=VALUE, got 'weights'"),
        ("lofnet=null", "lofnet: expected settings such as lofnet.NAME=VALUE, got 'null'"),
        ("lofnet.detector=tps", "lofnet.detector: expected one of own, fomm, got 'tps'"),
        ("lofnet.detector_lr=-1", "lofnet.detector_lr: expected a number of at least 0 or null"),
        ("training.detector_lr=0", "unknown setting .*; did you mean lofnet.detector_lr?"),
    ],
)
def test_lofnet_is_a_section_of_its_training(word: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        compose("train_lofnet", config.literal(word))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("frames=1", "--frames: expected a whole number of at least 2, got 1"),
        ("frames=2.5", "--frames: expected a whole number of at least 2, got 2.5"),
        ("seed=true", "--seed: expected a whole number of at least 0 or null, got True"),
        ("frames=null", "--frames: expected a whole number of at least 2, got None"),
        ("frames=many", "--frames: expected a whole number of at least 2, got 'many'"),
        (
            "tuning.noise_min=1000",
            "--noise-min: expected a whole number from 0 to 999 or null, got",
        ),
        ("tuning.noise_min=-1", "--noise-min: expected a whole number from 0 to 999 or null, got"),
        (
            "adaptation.scale=area",
            "adaptation.scale: expected one of hull, none, axes, parts or null, got 'area'",
        ),
        ("adaptation.smooth=-1", "adaptation.smooth: expected a number from 0 to 10 or null"),
        ("tuning.lr=0", "tuning.lr: expected a number above 0 or null, got 0"),
        ("tuning.lr=inf", "tuning.lr: expected a number above 0 or null, got inf"),
        ("tuning.lr=fast", "tuning.lr: expected a number above 0 or null, got 'fast'"),
        ("tuning.iterations=0", "--iterations: expected a whole number of at least 1 or null"),
        ("generation.guidance=-1", "--guidance: expected a number of at least 0 or null, got -1"),
        ("prompt=''", "--prompt: expected text that is not empty, got ''"),
        ("prompt='  '", "--prompt: expected text that is not empty, got '  '"),
        ("start_frame=last", '--start-frame: expected "first", "auto" or a frame number from 0'),
        (
            "start_frame=-1",
            '--start-frame: expected "first", "auto" or a frame number from 0, got -1',
        ),
        ("resume=maybe", "--resume: expected true or false, got 'maybe'"),
        ("memory.vram=10", "--vram: expected one of 8, 12, 16, 24, auto or null, got 10"),
        ("memory.vram=much", "--vram: expected one of 8, 12, 16, 24, auto or null, got 'much'"),
        ("tuning.clips_at_once=3", "tuning.clips_at_once: expected a whole number from 1 to 2"),
        ("generation.noise_warp=x", "generation.noise_warp: expected one of nearest, preserve"),
    ],
)
def test_wrong_values_are_one_line(transfer: DictConfig, override: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError) as caught:
        config.check(with_override(transfer, override))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_wrong_values_stop_a_composition() -> None:
    with pytest.raises(AnaMoDiffError, match="--frames: expected a whole number"):
        config.compose("demo", ["frames=1"])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(AnaMoDiffError, match="expected --source and --prompt, got none"):
        config.compose("transfer", ["driving=b"])


def test_find_looks_inside_the_package_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "anamodiff"
    (package / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "checkpoints" / "mini").mkdir(parents=True)
    monkeypatch.setattr(config, "PACKAGE", package)
    assert config.find("configs") == package / "configs"
    assert config.find("checkpoints/mini") == tmp_path / "checkpoints" / "mini"
    with pytest.raises(AnaMoDiffError, match="checkpoints/maxi"):
        config.find("checkpoints/maxi")


def test_no_group_has_the_name_of_a_plain_setting() -> None:
    # Hydra would take `--lofnet FOLDER` for the choice of a file in configs/lofnet/.
    groups = {path.name for path in config.find("configs").iterdir() if path.is_dir()}
    for name in REQUIRED:
        values = compose(name)
        assert all(isinstance(values[key], dict) for key in groups & set(values))
