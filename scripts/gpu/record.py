"""Figures of a part, written to a file as they come: a part that is killed leaves those it had."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Record:
    """Figures by name, in a JSON file.

    Args:
        path: the file; it is replaced atomically.
        end: when the part is killed, as `time.time` tells it.
    """

    def __init__(self, path: Path, end: float) -> None:
        self.path = path
        self.figures: dict[str, Any] = {}
        self.end = end

    def left(self) -> float:
        """Seconds before the part is killed."""
        return self.end - time.time()

    def note(self, **figures: Any) -> None:
        """Add figures, and write all."""
        self.figures |= figures
        write_json(self.path, self.figures)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    os.replace(draft, path)
