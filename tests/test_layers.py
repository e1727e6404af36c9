"""Imports point down only, and only the command line knows Hydra."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import anamodiff

PACKAGE = Path(anamodiff.__file__).resolve().parent

# From the top: a part may import what stands in any lower line, and nothing beside or above it.
LAYERS = (
    {"__init__", "__main__"},
    {"cli"},
    {"commands"},
    {"evaluation", "inspection", "many"},
    {"evaluation", "inspection"},
    {"doctor"},
    {"fetching"},
    {"pipeline"},
    {"result"},
    {"tuning", "inversion"},
    {"unet3d", "lofnet"},
    {"flowpictures", "transferlist"},
    {"backbone", "creatures", "pictures", "progress", "runfolder", "scene"},
    {"loading"},
    {"layout"},
    {"config", "diffusion", "foreground", "hub", "memory", "muon", "video", "warp"},
    {"film", "letterbox"},
    {"stills"},
    {"reel"},
    {"flags", "settings", "errors"},
    {"presets"},
)
LEVEL = {part: -depth for depth, parts in enumerate(LAYERS) for part in parts}
# What the general rule would allow and the design does not.
ONLY = {
    "backbone": {"config", "diffusion", "errors", "hub", "layout", "loading", "presets"},
    "config": {"errors", "settings"},
    "creatures": {"errors"},
    "diffusion": {"errors"},
    "film": {"errors", "reel", "stills"},
    "foreground": set(),
    "flags": set(),
    "flowpictures": {"letterbox", "pictures", "warp"},
    "hub": {"errors"},
    "layout": {"errors"},
    "letterbox": {"errors", "reel"},
    "loading": {"errors", "hub", "layout"},
    "memory": {"errors"},
    "muon": set(),
    "pictures": {"errors", "letterbox", "video"},
    "presets": set(),
    "progress": set(),
    "result": {"errors", "pictures", "scene", "video"},
    "runfolder": {"errors"},
    "scene": {"errors", "letterbox"},
    "video": {"errors", "film", "letterbox", "reel", "stills"},
    "warp": {"errors"},
}
NEVER_IMPORTED = {"__main__", "cli", "commands", "evaluation"}
KNOW_HYDRA = {"cli", "config"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, wherever in the file it does."""
    package = ["anamodiff", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import starts from the file's own package.
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            # `from anamodiff import cli` names a module too.
            yield from (f"{module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def parts_imported(path: Path) -> set[str]:
    """The other parts of the house that a file imports."""
    names = (name.split(".") for name in imported(path) if name != "anamodiff.__version__")
    parts = {name[1] for name in names if name[0] == "anamodiff" and len(name) > 1}
    # `from anamodiff import read_clip`: a name of the package itself, which is at the top.
    return {part if part in LEVEL else "__init__" for part in parts} - {part_of(path)}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    assert part in LEVEL, f"{part} has no place in LAYERS yet: give it one, as low as it can be"
    if part == "__init__":
        return  # its names are lazy; what it names is everything
    found = parts_imported(path)
    may = {"__main__": {"cli"}, "cli": {"commands"}, "commands": {"evaluation"}}
    assert not found & NEVER_IMPORTED - may.get(part, set())
    level = LEVEL[part]
    assert not {other for other in found if LEVEL[other] >= level}, "imports must point down"
    if part in ONLY:
        assert found <= ONLY[part]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_hydra(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    if part_of(path) not in KNOW_HYDRA:
        assert not roots & {"hydra", "omegaconf"}


def test_every_part_of_the_house_exists() -> None:
    found = {part_of(path) for path in modules()}
    assert set(LEVEL) - found <= {"evaluation"}, "LAYERS names a part that is gone"


def test_relative_and_late_imports_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lofnet" / "train.py"
    file.parent.mkdir()
    file.write_text(
        "from ..tuning import x\nfrom . import data\nfrom anamodiff import pipeline\n"
        "def f():\n    import anamodiff.inversion\n    import_module('anamodiff.cli')\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert parts_imported(file) == {"tuning", "pipeline", "inversion", "cli"}
