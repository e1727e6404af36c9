"""Warnings of settings that have no effect beside others."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anamodiff.diffusion import Schedule
from anamodiff.options import PRESETS, GenerationOptions, TuningOptions, resolve
from anamodiff.run.inert import InertSettings, covered, inert_ranges
from anamodiff.run.motion_transfer import MotionTransfer

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = Schedule.from_config({})


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """The warnings of options, given by name over those that follow."""

    def warned(
        tuning: dict[str, Any], generation: dict[str, Any] | None = None, **others: Any
    ) -> list[str]:
        caplog.clear()
        options = resolve(tuning=tuning, generation=generation, **others)
        InertSettings(SCHEDULE).warn(options.tuning, options.generation, tuning, generation)
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.WARNING):
        yield warned


@pytest.mark.parametrize(
    ("steps", "level", "expected"),
    [
        (10, 500, [401, 301, 201, 101, 1]),
        (10, 501, [501, 401, 301, 201, 101, 1]),
        (3, 1000, [667, 334, 1]),
        (1, 500, [1]),
    ],
)
def test_the_timesteps_that_sampling_visits(steps: int, level: int, expected: list[int]) -> None:
    assert SCHEDULE.visited(steps, level) == expected


def test_a_range_covers_its_first_timestep_but_not_its_stop() -> None:
    visited = [401, 301, 201, 101, 1]
    assert covered(visited, 201, 401) == [301, 201]
    assert covered(visited, 450, 1000) == []


@pytest.mark.parametrize(
    ("tuning", "generation", "expected"),
    [
        (
            {"noise_min": 450},
            {"steps": 10, "denoise_from": 500},
            "little effect of the warped clip in tuning: it is learnt at timesteps 450 to 999, of "
            "which sampling uses none (5 from 401 to 1); lower tuning.noise_min to 401 or less, "
            "or raise generation.denoise_from to 501 or more",
        ),
        (
            {"noise_min": 0, "noise_max": 1},
            {"steps": 10, "denoise_from": 500},
            "raise tuning.noise_max above 1",
        ),
        (
            {"noise_min": 210, "noise_max": 290},
            {"steps": 10, "denoise_from": 500},
            "widen the range or raise generation.steps above 10",
        ),
        (
            {"noise_min": 200, "source_noise_min": 600},
            {"steps": 10, "denoise_from": 500},
            "little effect of the source in tuning: it is learnt at timesteps 600 to 999",
        ),
        (
            {"warped_weight": 0.0, "noise_min": 300},
            {},
            "no effect of tuning.noise_min with tuning.warped_weight=0",
        ),
        (
            {"iterations": 0, "lora": "all", "rank": 4, "group_norm": "per_frame"},
            {},
            "no effect of tuning.lora, tuning.rank with tuning.iterations=0",
        ),
        (
            {"iterations": 40, "plateau": 0.1},
            {},
            "no effect of tuning.plateau, which may stop after 40 iterations or more, with "
            "tuning.iterations=40",
        ),
        (
            {"iterations": 20, "plateau": 0.1, "iterations_min": 1},
            {},
            "no effect of tuning.plateau, which may stop after 20 iterations",
        ),
        ({"iterations_min": 50}, {}, "no effect of tuning.iterations_min with tuning.plateau=0"),
        (
            {},
            {"guidance": 1.0, "negative_prompt": "a horse"},
            "no effect of generation.negative_prompt with generation.guidance=1",
        ),
        (
            {},
            {"noise_weight": 0.5, "noise_warp": "preserve"},
            "no effect of generation.noise_weight with generation.noise_warp=preserve",
        ),
        (
            {"noise_min": 200},
            {"steps": 10, "denoise_from": 500, "unseen_from": 480},
            "little effect of generation.unseen_from=480: cells that no source frame shows begin "
            "with all others at 401",
        ),
        (
            {},
            {"steps": 10, "denoise_from": 950},
            "no effect of generation.denoise_from=950: the first of 10 steps is at 901",
        ),
    ],
)
def test_each_kind_is_one_line(
    lines: Any, tuning: dict[str, Any], generation: dict[str, Any], expected: str
) -> None:
    (line,) = lines(tuning, generation)
    assert expected in line and "\n" not in line


@pytest.mark.parametrize(
    ("tuning", "generation"),
    [
        ({}, {}),
        ({"warped_weight": 0.0}, {"steps": 10, "denoise_from": 500}),  # nobody named a range
        ({"iterations": 0}, {"steps": 10, "denoise_from": 500}),
        ({"noise_min": 401}, {"steps": 10, "denoise_from": 500}),
        ({"iterations": 41, "plateau": 0.1}, {}),
        ({}, {"noise_weight": 0.5, "noise_warp": "paper"}),
        ({}, {"guidance": 2.0, "negative_prompt": "a horse"}),
        ({"noise_min": 800}, {"steps": 10, "denoise_from": 900}),
        ({"noise_min": 200}, {"steps": 10, "denoise_from": 500, "unseen_from": 501}),
    ],
)
def test_settings_that_work_are_not_warned_of(
    lines: Any, tuning: dict[str, Any], generation: dict[str, Any]
) -> None:
    assert lines(tuning, generation) == []


def test_what_only_the_backbone_or_whole_options_name_is_nobodys_wish(lines: Any) -> None:
    advice = {"tuning": {"noise_min": 300}}
    assert lines({"warped_weight": 0.0}, recommended=advice) == []
    whole = TuningOptions(warped_weight=0, noise_min=300)
    assert lines(whole) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_no_preset_leaves_a_part_without_effect(preset: str | None, lines: Any) -> None:
    mini = json.loads((ROOT / "checkpoints" / "mini" / "anamodiff.json").read_text("utf-8"))
    for advice in ({}, mini):
        assert lines({}, preset=preset, recommended=advice) == []


def test_a_line_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    inert = InertSettings(SCHEDULE)
    generation = GenerationOptions(steps=10, denoise_from=500)
    for low in (450, 450, 600):
        inert.warn(TuningOptions(noise_min=low), generation)
    assert len(caplog.records) == 2


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of settings; of the clips, other lines may be."""
    return [r.getMessage() for r in caplog.records if r.name == InertSettings.__module__]


def test_every_command_warns_by_what_it_knows(
    tiny_backbone_folder: Path, drawn_clips: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mover = MotionTransfer.load(tiny_backbone_folder, device="cpu")
    common: dict[str, Any] = {"frames": 4, "prompt": "a turtle", "progress": False}
    tuning = {"iterations": 1, "rank": 2, "noise_min": 700}
    run = mover.tune(*drawn_clips, output=tmp_path / "run", tuning=tuning, **common)
    assert not said(caplog), "how it will be sampled is not known yet"
    mover.generate(run, generation={"steps": 3, "guidance": 1.0}, progress=False)
    (line,) = said(caplog)
    assert "timesteps 700 to 999, of which sampling uses none" in line
    caplog.clear()
    none = {"iterations": 0, "lora": "all"}
    mover.transfer(*drawn_clips, tuning=none, generation={"steps": 2}, **common)
    assert ["tuning.lora" in line for line in said(caplog)] == [True]


@pytest.mark.parametrize(
    ("steps", "first", "stop"), [(10, 450, 1000), (20, 480, 560), (7, 990, 999)]
)
def test_the_cures_that_a_line_names_work(steps: int, first: int, stop: int) -> None:
    tuning = TuningOptions(noise_min=first, noise_max=stop)
    generation = GenerationOptions(steps=steps, denoise_from=440)
    (line,) = inert_ranges(tuning, generation, SCHEDULE)
    low = re.search(r"noise_min to (\d+)", line)
    level = re.search(r"denoise_from to (\d+)", line)
    assert low and not list(
        inert_ranges(replace(tuning, noise_min=int(low[1])), generation, SCHEDULE)
    )
    if level is None:
        assert not covered(SCHEDULE.visited(steps, 1000), first, stop), "no level would do"
    else:
        later = replace(generation, denoise_from=int(level[1]))
        assert not list(inert_ranges(tuning, later, SCHEDULE))
