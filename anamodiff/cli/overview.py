"""How the help presents the commands: by what they are for, and each with examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

#: Commands by purpose, in the order of `anamodiff --help`.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "do one transfer": ("demo", "transfer", "tune", "generate"),
    "make many": ("transfer-many",),
    "look": ("app", "inspect"),
    "measure": ("evaluate", "benchmark", "ablation", "survey", "survey-results"),
    "set up": ("examples", "doctor", "fetch", "train-lofnet", "completion"),
}

_PAIR = '--source examples/turtle.gif --driving examples/rhino-jumps.gif --prompt "a turtle"'
#: Command lines for the end of each command's help. The clips are those of `anamodiff examples`.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "demo": ("", "--iterations 20 --output runs/first"),
    "transfer": (
        _PAIR,
        '--source examples/fox.png --driving examples/horse-gallops.gif --prompt "an orange fox" '
        "--output fox.mp4",
        f"{_PAIR} --output runs/turtle --resume",
    ),
    "tune": (f"{_PAIR} --output runs/turtle",),
    "generate": ("--run runs/turtle", "--run runs/turtle --seed 1 --output turtle.gif"),
    "transfer-many": (
        "examples/list.csv --output runs/examples",
        "list.csv --jobs 2 launcher=joblib",
    ),
    "app": ("", "--browser --backbone mini", "--port 8000 max_mb=20 max_frames=500"),
    "inspect": (
        "examples/turtle.gif",
        'examples/turtle.gif --driving examples/rhino-jumps.gif --prompt "a green turtle"',
    ),
    "evaluate": (
        "runs/turtle",
        'turtle.gif --source examples/turtle.gif --prompt "a turtle" --clip-model none',
    ),
    "benchmark": ("creatures --limit 4", "my-pairs --methods anamodiff,still --output runs/bench"),
    "ablation": ("figure7 --limit 2",),
    "survey": ("runs/bench --pairs 8",),
    "survey-results": ("anna.json ben.json --key outputs/survey/key.json",),
    "examples": ("", "clips"),
    "doctor": ("", "--frames 32"),
    "fetch": ("sd14", "clip"),
    "train-lofnet": ("--data my-clips --steps 2000",),
    "completion": (
        "bash > ~/.local/share/bash-completion/completions/anamodiff",
        "zsh > ~/.zfunc/_anamodiff",
    ),
}


#: What may stand in an error's line, and the command that helps.
_HELP = (
    (r"expected a (clip|source|driving clip) \(file or folder\), got nothing at", "examples"),
    (r"expected (--source|--driving|CLIP)\b.*got none", "examples"),
    (r"CUDA|MPS|expected a device", "doctor"),
    (r"expected memory for this command", "doctor"),
    (r"^unexpected error", "doctor"),
)
_OFFERS = {
    "examples": "anamodiff examples writes clips to try",
    "doctor": "anamodiff doctor says what is here and what a run takes",
}


def command_list(helps: Mapping[str, str]) -> str:
    """The commands under the headings of their groups, with the line of help of each."""
    width = max(map(len, helps)) + 2
    parts = []
    for title, names in GROUPS.items():
        lines = [f"    {name:{width}}{helps[name]}" for name in names]
        parts.append("\n".join([f"  {title}:", *lines]))
    return "\n\n".join(["commands:", *parts])


def example_lines(name: str) -> str:
    """A command's examples, one a line."""
    lines = (f"  anamodiff {name} {words}".rstrip() for words in EXAMPLES[name])
    return "\n".join(["examples:", *lines])


def advice(line: str, words: Sequence[str]) -> str:
    """What to append to an error's line: the command that helps, unless it says one itself.

    Args:
        line: the error's.
        words: of the command line, whose own command is not advised.
    """
    for pattern, command in _HELP:
        if re.search(pattern, line) and command not in words and "anamodiff " not in line:
            return f"; {_OFFERS[command]}"
    return ""
