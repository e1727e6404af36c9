"""Imports point down only, siblings do not import each other, and libraries stay in their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import anamodiff

PACKAGE = Path(anamodiff.__file__).resolve().parent

# From the top: a part may import what stands in any lower line, and nothing beside or above it.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"evaluation", "integrations", "app"},
    {"baselines"},
    {"run"},
    {"pipeline"},
    {"lofnet", "tuning", "inversion"},
    {"unet3d", "backbone", "visual", "matting"},
    {"video", "diffusion", "warp", "half_precision", "cuda_graph", "creatures"},
    {"options", "resources", "lock", "meter", "tensors"},
    {"fields"},
    {"errors"},
)
LEVEL = {part: -depth for depth, parts in enumerate(LAYERS) for part in parts}
# Libraries that only these parts may import.
ROOMS = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "diffusers": {"backbone", "unet3d", "integrations"},
    "peft": {"unet3d"},
    "av": {"video"},
    "gradio": {"app"},
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: its folder, or its own name."""
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
    """The other parts of the package that a file imports."""
    names = (name.split(".") for name in imported(path) if name != "anamodiff.__version__")
    parts = {name[1] for name in names if name[0] == "anamodiff" and len(name) > 1}
    return parts - {part_of(path)}


def _id(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", modules(), ids=_id)
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    assert part in LEVEL, f"{part} has no place in LAYERS yet: give it one, as low as it can be"
    # `from anamodiff import read_clip` would be a name of the package itself, which is at the top.
    wrong = {name for name in parts_imported(path) if LEVEL.get(name, 1) >= LEVEL[part]}
    assert not wrong, "imports must point down, at parts of the package"


@pytest.mark.parametrize("path", modules(), ids=_id)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    strangers = {root for root in roots & set(ROOMS) if part_of(path) not in ROOMS[root]}
    assert not strangers


def test_only_the_benchmark_imports_the_rivals_and_late() -> None:
    users = [path for path in modules() if "baselines" in parts_imported(path)]
    assert [_id(path) for path in users] == [str(Path("evaluation", "baseline.py"))]
    top = ast.parse(users[0].read_text(encoding="utf-8")).body
    named = [str(node.module) for node in top if isinstance(node, ast.ImportFrom)]
    assert named and not any(name.startswith("anamodiff.baselines") for name in named)


def test_every_part_exists() -> None:
    assert {part_of(path) for path in modules()} == set(LEVEL)


def test_relative_and_late_imports_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lofnet" / "train.py"
    file.parent.mkdir()
    file.write_text(
        "from ..tuning import x\nfrom . import data\nfrom anamodiff import pipeline\n"
        "def f():\n    import anamodiff.inversion\n    import_module('anamodiff.cli.main')\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert parts_imported(file) == {"tuning", "pipeline", "inversion", "cli"}
