"""What is logged where, and which libraries fall silent."""

import logging
import sys
import warnings

import pytest
from cli_samples import Stages

from anamodiff.cli import main as cli


def test_messages_of_the_library_go_to_stderr(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["demo"])
    logging.getLogger("anamodiff.backbone.model").info("backbone: mini (no CUDA device)")
    logging.getLogger("anamodiff.backbone.model").debug("more than one wants to know")
    out, err = capsys.readouterr()
    assert err == "backbone: mini (no CUDA device)\n"
    cli.main(["demo", "--debug"])
    logging.getLogger("anamodiff.backbone.model").debug("more than one wants to know")
    assert "more than one wants to know" in capsys.readouterr().err


def test_libraries_fall_silent_where_they_work_unless_one_debugs(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    quieted = []
    monkeypatch.setattr(cli, "_import_libraries", lambda quiet: quieted.append(quiet))
    for words, expected in (
        (["doctor"], [True]),
        (["doctor", "--debug"], [False]),
        (["survey", "results"], []),
    ):
        quieted.clear()
        assert cli.main(words) == 0
        assert quieted == expected


def test_garbage_is_collected_again_after_the_imports() -> None:
    import gc

    cli._import_libraries(quiet=False)
    assert gc.isenabled() and gc.get_freeze_count() > 100_000
    gc.unfreeze()


def test_libraries_fall_silent_but_downloads_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.utils import logging as diffusers_logging
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging as transformers_logging

    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        monkeypatch.setenv(name, "error")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        monkeypatch.setattr(sys, "warnoptions", [])
        cli._import_libraries(quiet=True)
        warnings.warn("noise", stacklevel=1)
    assert not shown
    assert not diffusers_logging.is_progress_bar_enabled()
    assert not transformers_logging.is_progress_bar_enabled()
    assert not are_progress_bars_disabled()
