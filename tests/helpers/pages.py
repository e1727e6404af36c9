"""README.md and the pages of docs/ as tests read them: blocks of code, and the commands in them."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, *sorted(DOCS.rglob("*.md")))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page's fenced blocks, those within lists included, without their indent."""
    found = re.finditer(
        rf"^( *)```{language}(?: [^\n]*)?\n(.*?)^\1```$", text_of(page), re.M | re.S
    )
    return [dedent(match[2]) for match in found]


def commands(page: Path, language: str = "bash") -> list[str]:
    """Each command of a page's blocks; `&&` joins several, `#` begins a comment."""
    lines = "".join(blocks(page, language)).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.partition(" #")[0].split("&&")]
    return [part.strip() for part in parts if part.strip() and not part.startswith("#")]


def without_code(page: Path) -> str:
    """A page's prose: neither blocks of code nor code within lines."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", text_of(page), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", prose)
