"""README.md and docs/: links lead somewhere, and what pages say of the source is so."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from pages import DOCS, PAGES, README, ROOT, text_of, without_code

import anamodiff

METHOD = DOCS / "method.md"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site make them."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_links_into_the_repository_lead_somewhere() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    repository = project["urls"]["Repository"]
    place = repository.removeprefix("https://github.com/")
    assert tomllib.loads(text_of(ROOT / "zensical.toml"))["project"]["repo_url"] == repository
    for page in PAGES:
        for path in re.findall(rf"/{place}/(?:blob|tree)/main/([^)\s]+)", without_code(page)):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_navigation_has_every_page() -> None:
    site = tomllib.loads(text_of(ROOT / "zensical.toml"))["project"]
    named = re.findall(r"[\w/]+\.md", str(site["nav"]))
    assert sorted(named) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES if page != README
    )


def test_pictures_are_small_and_used() -> None:
    pictures = [p for p in DOCS.rglob("*") if p.suffix in (".png", ".webp", ".gif", ".jpg")]
    prose = "".join(text_of(page) for page in PAGES)
    assert all(picture.name in prose for picture in pictures)
    assert sum(picture.stat().st_size for picture in pictures) < 4e6
    shown = [picture for picture in pictures if picture.name in text_of(README)]
    assert sum(picture.stat().st_size for picture in shown) < 2e6


SNIPPETS = re.findall(
    r'^```python title="([^"]+)"\n(.*?)^```$', text_of(METHOD), re.M | re.S
)  # fmt: skip


def test_the_method_s_page_has_snippets() -> None:
    assert len(SNIPPETS) >= 12


@pytest.mark.parametrize(("file", "snippet"), SNIPPETS, ids=lambda text: text.splitlines()[0][:50])
def test_snippets_are_the_source_s_lines(file: str, snippet: str) -> None:
    lines, wanted = text_of(ROOT / file).splitlines(), snippet.splitlines()
    found = any(
        dedent("\n".join(lines[i : i + len(wanted)])).splitlines() == wanted
        for i in range(len(lines))
    )
    assert found, f"{file} changed: copy its lines into docs/method.md"


def test_names_in_the_method_s_tables_are_there() -> None:
    rows = re.findall(r"^\| [^|]+ \| (`anamodiff/[^|]+) \| (`[^|]+`) \|$", text_of(METHOD), re.M)
    assert len(rows) > 25
    for files, names in rows:
        known = set[str]()
        for file in re.findall(r"`([^`]+)`", files):
            tree = ast.parse(text_of(ROOT / file))
            known |= {node.name for node in tree.body if hasattr(node, "name")}
        for name in re.findall(r"`([^`]+)`", names):
            assert name in known, f"{name} in {files}"


def test_files_that_pages_name_are_there() -> None:
    # A path's parts may be left to the reader: `path/to/...`, `configs/COMMAND.yaml`.
    for page in PAGES:
        for path in re.findall(r"`((?:anamodiff|configs|tests)/[a-z_\d/]+\.\w+)`", text_of(page)):
            assert (ROOT / path).is_file(), f"{page.name}: {path}"


def test_the_reference_has_every_public_name() -> None:
    documented = set(re.findall(r"^::: \S+\.(\w+)$", text_of(DOCS / "api.md"), re.M))
    assert set(anamodiff.__all__) - {"__version__"} <= documented


def test_new_methods_have_names_of_their_own() -> None:
    tree = ast.parse(text_of(ROOT / "anamodiff" / "evaluation" / "methods.py"))
    (known,) = [
        {key.value for key in node.value.keys}
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "METHODS"
    ]
    assert "still" in known
    for page in PAGES:
        for name in re.findall(r"--method (\S+?)=", text_of(page)):
            assert name not in known, f"{page.name}: --method {name}=... is refused"


@cache
def messages() -> list[str]:
    """Texts of the package, `...` where something is put in."""
    found = []
    for file in (ROOT / "anamodiff").rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(file))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "..." for p in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sdg]", "...", node.value))
    return found


# What others print: pip, the system's loader.
FOREIGN = ("ERROR: Could not find", "requires-python", "ImportError:", "libgthread", "libxcb")


def symptoms() -> list[str]:
    """Lines after *You see* that are ours: code within a line, or an indented block."""
    found = []
    for part in re.findall(
        r"^\*You see\*(.*?)(?=^\*|^#|\Z)", text_of(DOCS / "troubleshooting.md"), re.M | re.S
    ):
        code = [*re.findall(r"`([^`\n]+)`", part), *re.findall(r"^    (\S.*)$", part, re.M)]
        found += [line for line in code if " " in line and not line.startswith(FOREIGN)]
    return found


@pytest.mark.parametrize("symptom", symptoms())
def test_symptoms_are_lines_of_the_source(symptom: str) -> None:
    # A line may join several texts, and what is put in may be written out: pieces are looked up.
    pieces = [piece.strip(" ;,.:()") for piece in re.split(r"\.\.\.|; |: |\(|\)", symptom)]
    texts = " | ".join(messages())
    for piece in pieces:
        if len(piece) > 14:
            assert piece in texts, piece


def test_there_are_symptoms() -> None:
    assert len(symptoms()) > 20
