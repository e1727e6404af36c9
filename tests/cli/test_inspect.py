"""`inspect`."""

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_inspect_takes_a_clip(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["my clip,1.gif", "--frames", "4"], ["--frames", "4", "my clip,1.gif"]):
        assert cli.main(["inspect", *words, "adaptation.scale=none"]) == 0
        name, called = stages.calls[-1]
        assert (name, called["clip"], called["driving"]) == ("inspect", "my clip,1.gif", None)
        assert (called["frames"], called["adaptation"]["scale"]) == (4, "none")
    assert "sheet: outputs/s-flow.png\nfolded over: 1.00%\n" in capsys.readouterr().out
    assert cli.main(["inspect", "a.gif", "--driving", "b.gif", "--output", "c.png"]) == 0
    assert (stages.last["driving"], stages.last["output"]) == ("b.gif", "c.png")
    for words, line in (([], "expected CLIP, got none"), ([""], "CLIP: expected text that is not")):
        assert cli.main(["inspect", *words]) == 2
        assert line in capsys.readouterr().err
