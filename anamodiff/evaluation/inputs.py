"""What `evaluate` is given, checked before the libraries that measure are imported."""

from __future__ import annotations

from pathlib import Path

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded
from anamodiff.run.folder import CONFIG, check_writable
from anamodiff.run.inputs import glance_at
from anamodiff.run.outputs import check_no_input


def check_evaluation(
    result: str | Path,
    source: str | Path | None = None,
    truth: str | Path | None = None,
    driving: str | Path | None = None,
    output: str | Path | None = None,
) -> None:
    """Refuse clips that cannot be read, and an output that is no JSON file.

    Raises:
        AnaMoDiffError: the message says what to do.
    """
    path = None if output is None else _check_output(output)
    check_no_input(path, (result, source, truth, driving))
    if not (expanded(result) / CONFIG).is_file():  # a run folder has its own
        glance_at(result, 2, "result")
    clips = ((source, 1, "source"), (driving, 2, "driving clip"), (truth, 2, "truth"))
    for clip, minimum, role in clips:
        if clip is not None:
            glance_at(clip, minimum, role)


def _check_output(output: str | Path) -> Path:
    """Refuse an output that is no JSON file before anything is computed."""
    path = expanded(output)
    if path.suffix.lower() != ".json" or path.is_dir():
        raise AnaMoDiffError(
            f"expected a JSON file for --output, got {path}: name one such as figures.json"
        )
    check_writable(path)
    return path
