"""`evaluate`."""

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_evaluate_takes_a_result(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--truth", "t.gif", "my run", "--clip-model", "none", "--output", "a.json", "size=64"]
    assert cli.main(["evaluate", *words]) == 0
    assert stages.calls[-1] == (
        "evaluate",
        {
            "result": "my run",
            "source": None,
            "truth": "t.gif",
            "driving": None,
            "prompt": None,
            "clip_model": "none",
            "tracker": "flow",
            "output": "a.json",
            "frames": 10,
            "size": 64,
            "device": "auto",
        },
    )
    assert "foreground IoU  0.8000\ntook " in capsys.readouterr().out
    assert cli.main(["evaluate", "--prompt", "a turtle"]) == 2
    assert "expected RESULT, got none" in capsys.readouterr().err
