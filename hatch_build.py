"""What the build adds to the metadata: README.md with links that lead somewhere on PyPI, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"\((?![a-z]+:|#)([^)\s]+)\)"


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Markdown whose relative links and pictures are those of a tag on GitHub."""
    text = re.sub(rf"(!\[[^\]]*\]){_RELATIVE}", rf"\1({repository}/raw/{tag}/\2)", text)
    return re.sub(rf"\]{_RELATIVE}", rf"]({repository}/blob/{tag}/\1)", text)


class ReadmeHook(MetadataHookInterface):
    """Hatchling's hook: `readme` is dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        source = Path(self.root, "anamodiff", "__init__.py").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "(.+)"$', source, re.M)
        assert found, "anamodiff/__init__.py has the version"
        text = with_absolute_links(text, metadata["urls"]["Repository"], f"v{found[1]}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
