"""Settings under one name, in the place of those that a backbone recommends for itself."""

from typing import Any

# By the name of a preset, then of a stage. What is not named takes the stages' own defaults: the
# paper's schedule. A backbone's folder may name its own (`presets` in its `anamodiff.json`).
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {},
    "fast": {
        "tuning": {"iterations": 150},
        "generation": {"steps": 20, "solver": "dpm"},
    },
}
