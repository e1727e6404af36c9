"""`survey` and `survey-results`."""

from pathlib import Path

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_survey_takes_results(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["my results", "--pairs", "3", "--methods", "a,b", "--seed", "2"]
    for flag in ("--out", "--output"):
        assert cli.main(["survey", *words, flag, "my survey", "show.title=Ours, and theirs"]) == 0
        assert stages.calls[-1] == (
            "write_survey",
            {
                "results": "my results",
                "output": "my survey",
                "seed": 2,
                "pairs": 3,
                "methods": "a,b",
                "title": "Ours, and theirs",
                "ask": "both",
            },
        )
    assert "key: outputs/survey/key.json (" in capsys.readouterr().out


def test_survey_results_takes_files_in_any_order(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "unit=x.json"
    odd.touch()
    words = [
        "a, b.json",
        "--key",
        "k.json",
        "c.json",
        "unit=ranking",
        str(odd),
        "--output",
        "r.json",
    ]
    assert cli.main(["survey-results", *words]) == 0
    assert stages.calls[-1] == (
        "survey_results",
        {
            "answers": ["a, b.json", "c.json", str(odd)],
            "key": "k.json",
            "output": "r.json",
            "unit": "ranking",
        },
    )
    assert "motion  mean rank\nfigures: r.json\n" in capsys.readouterr().out
    mistakes = {
        (): "expected ANSWERS, got none",
        ("a.json", "unitt=x"): "unknown setting 'unitt'; did you mean unit?",
        ("a.json", "--kye", "k.json"): "has no flag --kye; did you mean --key?",
        ("a.json", "unit=pair"): "unit: expected one of person, ranking, got 'pair'",
    }
    for wrong, line in mistakes.items():
        assert cli.main(["survey-results", *wrong]) == 2
        assert line in capsys.readouterr().err
