"""The package as people get it: from a wheel, an editable install and a bare checkout."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import anamodiff

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(anamodiff.__file__).resolve().parents[1]
IMPORT_SECONDS = 0.5
COMPOSE = (
    "from anamodiff import resources; from anamodiff.cli import compose; import anamodiff; "
    "print(anamodiff.__file__); "
    "print(resources.find('configs')); print(resources.find('checkpoints/mini')); "
    "print(compose.compose('demo').frames)"
)


def python(
    *words: str, path: Path | str | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs this Python on `words`; anything but success fails the test with what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def build(target: Path, editable: bool = False) -> Path:
    """Builds a wheel of the checkout with the project's own backend, without the network."""
    kind = "build_editable" if editable else "build_wheel"
    python("-c", f"import hatchling.build as b; b.{kind}({str(target)!r})", cwd=ROOT)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def shipped(folder: str) -> set[str]:
    """The files of a folder of the checkout, as the wheel has to name them."""
    files = (ROOT / folder).rglob("*")
    return {f"anamodiff/{file.relative_to(ROOT).as_posix()}" for file in files if file.is_file()}


def test_the_wheel_carries_configs_weights_and_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert shipped("configs") and shipped("configs") <= names
    assert "anamodiff/checkpoints/mini/model_index.json" in names
    assert shipped("checkpoints/mini") <= names
    assert shipped("checkpoints/matte") <= names
    assert "anamodiff/checkpoints/matte/LICENSE" in names
    code = {path for path in shipped("anamodiff") if path.endswith((".py", ".pyi", "py.typed"))}
    assert {path.removeprefix("anamodiff/") for path in code} <= names
    page = {
        f"anamodiff/evaluation/survey/static/{name}"
        for name in ("index.html", "survey.css", "pages.js", "rating.js", "survey.js")
    }
    assert page <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"anamodiff", f"anamodiff-{anamodiff.__version__}.dist-info"}


def test_an_installed_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    found = python("-c", COMPOSE, path=target, cwd=elsewhere).stdout.split()
    inside = target / "anamodiff"
    assert found == [
        str(inside / "__init__.py"),
        str(inside / "configs"),
        str(inside / "checkpoints" / "mini"),
        "10",
    ]
    script = target / "bin" / "anamodiff"
    assert "transfer" in python(str(script), "--help", path=target, cwd=elsewhere).stdout
    assert not list(elsewhere.iterdir())


def test_an_editable_install_finds_the_checkout(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tmp_path, editable=True)) as archive:
        link = next(name for name in archive.namelist() if name.endswith(".pth"))
        path = archive.read(link).decode().strip()
    check_checkout(path, tmp_path)


def test_a_bare_checkout_works(tmp_path: Path) -> None:
    check_checkout(ROOT, tmp_path)


def check_checkout(path: Path | str, cwd: Path) -> None:
    found = python("-c", COMPOSE, path=path, cwd=cwd).stdout.split()
    expected = ("anamodiff/__init__.py", "configs", "checkpoints/mini")
    assert found == [*(str(ROOT / name) for name in expected), "10"]


@pytest.mark.parametrize(
    "words",
    [["-c", "import anamodiff"], ["-m", "anamodiff", "--help"], ["-m", "anamodiff", "--version"]],
    ids=lambda words: words[-1],
)
def test_starting_is_quick_and_light(words: Sequence[str], tmp_path: Path) -> None:
    heavy = "torch|diffusers|transformers|hydra|omegaconf|numpy|cv2"
    done = python("-X", "importtime", *words, path=HERE, cwd=tmp_path)
    assert not re.search(rf"\| +({heavy})$", done.stderr, re.M)
    # Child's own processor time: a busy machine does not make the package slow.
    assert min(processor_seconds(words, tmp_path) for _ in range(3)) < IMPORT_SECONDS


def processor_seconds(words: Sequence[str], cwd: Path) -> float:
    before = os.times()
    python(*words, path=HERE, cwd=cwd)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def test_public_names_are_listed_and_lazy(tmp_path: Path) -> None:
    assert set(anamodiff.__all__) <= {*dir(anamodiff), *vars(anamodiff)}
    assert {"transfer", "MotionTransfer", "__version__"} <= set(anamodiff.__all__)
    with pytest.raises(AttributeError, match="transfur"):
        anamodiff.transfur  # noqa: B018
    code = "import sys, anamodiff; anamodiff.AnaMoDiffError; print('torch' in sys.modules)"
    assert python("-c", code, path=HERE, cwd=tmp_path).stdout == "False\n"


def test_using_lofnet_loads_no_trainer(tmp_path: Path) -> None:
    code = (
        "import sys, anamodiff.lofnet, anamodiff.lofnet.model, anamodiff.lofnet.animate; "
        "print([name for name in sys.modules if name.startswith('accelerate') "
        "or 'lofnet.training.' in name and not name.endswith('.options')])"
    )
    assert python("-c", code, path=HERE, cwd=tmp_path).stdout == "[]\n"


def test_public_names_are_there() -> None:
    for name in anamodiff.__all__:
        assert getattr(anamodiff, name) is not None


def test_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "MIT" and (ROOT / "LICENSE").is_file()
    assert {"test", "dev"} <= set(project["optional-dependencies"])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {anamodiff.__version__}" in changes


def test_the_installed_package_is_under_test() -> None:
    if not os.environ.get("ANAMODIFF_TEST_INSTALLED"):
        pytest.skip("ANAMODIFF_TEST_INSTALLED is not set")
    assert ROOT not in Path(anamodiff.__file__).resolve().parents
