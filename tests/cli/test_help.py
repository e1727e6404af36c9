"""The help, and the flags that it lists."""

import inspect

import pytest
from cli_samples import REQUIRED, Stages

import anamodiff
from anamodiff.cli import main as cli
from anamodiff.cli.settings import all_settings, help_of


def test_help_and_version(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["transfer", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.endswith(f"anamodiff {anamodiff.__version__}\n")
    for name in cli.COMMANDS:
        assert f"\n    {name}" in out
    assert cli.main([]) == 2
    assert "commands:\n" in capsys.readouterr().err


def composed(name: str) -> dict:
    """The values of a command to which only what it needs is given."""
    return cli.values_of(name, {}, REQUIRED[name.replace("-", "_")])


def test_every_flag_sets_a_setting_of_its_command() -> None:
    used = {key for command in cli.COMMANDS.values() for key in command.flags}
    assert used == {key for key, setting in all_settings().items() if setting.flag}
    for name, command in cli.COMMANDS.items():
        values = composed(name)
        example = command.example.partition("=")[0]
        assert example not in command.flags
        assert set(command.texts) <= set(command.flags)
        for key in [*command.flags, *filter(None, [example])]:
            group, _, last = key.rpartition(".")
            assert last in (values[group] if group else values), f"{name} has no {key}"


def test_commands_without_an_example_have_flags_for_all_settings() -> None:
    for name, command in cli.COMMANDS.items():
        if not command.example:
            assert set(composed(name)) == set(command.flags)


def test_defaults_in_the_help_are_the_configs() -> None:
    values = composed("transfer")
    for key in ("backbone", "frames", "start_frame", "device", "precision"):
        assert help_of(key)[1].endswith(f" (default: {values[key]})")
    training = composed("train-lofnet")["training"]
    assert help_of("training.steps")[1].endswith(f" (default: {training['steps']})")
    assert help_of("seed", "of the dice")[1] == "of the dice (default: 0)"
    assert help_of("seed", "of the dice (default: a six)")[1] == "of the dice (default: a six)"


def test_choices_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["transfer", "--help"])
    out = capsys.readouterr().out
    for words in ("--preset {paper,fast}", "--vram {8,12,16,24,auto}", "--resume "):
        assert words in out


def test_the_stages_take_what_the_configs_give() -> None:
    from anamodiff.evaluation.scores import evaluate
    from anamodiff.evaluation.survey.page import TITLE, write_survey
    from anamodiff.evaluation.survey.ranking import survey_results
    from anamodiff.run.api import generate, transfer
    from anamodiff.run.inspect import inspect as inspect_clip

    for stage in (transfer, generate, inspect_clip, evaluate, survey_results):
        values = composed(stage.__name__.replace("_", "-"))
        assert set(values) == set(inspect.signature(stage).parameters)
    values = composed("survey")
    show = values.pop("show")
    assert {*values, *show} == set(inspect.signature(write_survey).parameters)
    assert show["title"] == TITLE
