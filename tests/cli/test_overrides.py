"""Overrides: no text is misread, whatever characters it holds."""

import random

import pytest
from cli_samples import NASTY, composed, with_override
from omegaconf import DictConfig

from anamodiff.cli import compose as config
from anamodiff.errors import AnaMoDiffError


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
    found = composed("transfer", *(config.override(key, text) for key, text in texts.items()))
    assert {key: found[key] for key in keys} == texts


def test_lists_of_names_are_kept_exactly() -> None:
    for names in (NASTY, ["one"]):
        found = config.compose("survey_results", [config.override("answers", names)])
        assert config.plain(found)["answers"] == names
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
    chosen = composed("train_lofnet", config.literal("network=mgif"))["network"]
    assert chosen["detector"]["max_features"] == 1024


@pytest.mark.parametrize("word", ["turtle", "~frames", "+frames=3", "=3", "a b=3", ""])
def test_literal_refuses_what_sets_nothing(word: str) -> None:
    with pytest.raises(AnaMoDiffError, match="expected a flag"):
        config.literal(word)
