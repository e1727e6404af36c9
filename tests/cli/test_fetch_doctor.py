"""`fetch` and `doctor`."""

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_fetch_and_doctor(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fetch", "fomm", "--from", "some/one/a.pth.tar", "--device", "cpu"]) == 0
    assert stages.calls[-1] == (
        "fetch",
        {"what": "fomm", "source": "some/one/a.pth.tar", "device": "cpu", "precision": "auto"},
    )
    assert cli.main(["doctor", "--precision", "bf16", "--frames", "16"]) == 0
    assert stages.calls[-1] == ("doctor", {"frames": 16, "device": "auto", "precision": "bf16"})
    assert capsys.readouterr().out == "fomm: /cache/mgif-cpk.pth.tar\ndevice: cpu\n"
    assert cli.main(["fetch"]) == 2
    assert "expected WHAT, got none" in capsys.readouterr().err
