"""What goes stale between releases: versions, addresses, workflows, metadata, sizes."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from huggingface_hub import ModelCard

import anamodiff

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CARDS = sorted((ROOT / "checkpoints").glob("*/README.md"))
LARGEST = 60_000_000  # bytes of a wheel or an sdist
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]


def text(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def jobs(workflow: Path) -> dict[str, Any]:
    return yaml.safe_load(text(workflow))["jobs"]


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built without the network."""
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("wheel", "sdist"):
        code = f"import hatchling.build as b; b.build_{kind}({str(folder)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_files_are_small_enough(built: Path) -> None:
    sizes = {path.suffix: path.stat().st_size for path in built.iterdir()}
    assert set(sizes) == {".whl", ".gz"}
    assert all(10_000_000 < size < LARGEST for size in sizes.values()), sizes


def test_the_readme_on_pypi_leads_somewhere(tmp_path: Path) -> None:
    code = f"import hatchling.build as b; b.prepare_metadata_for_build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (file,) = tmp_path.glob("*.dist-info/METADATA")
    metadata = message_from_bytes(file.read_bytes())
    assert metadata["Description-Content-Type"] == "text/markdown"
    page = str(metadata.get_payload())
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 10 and all(link.startswith("https://") for link in links)
    version = f"v{anamodiff.__version__}"
    for link in links:
        if link.startswith(ADDRESS):
            kind, tag, path = link.removeprefix(ADDRESS + "/").split("/", 2)
            assert kind in ("raw", "blob") and tag == version
            assert (ROOT / path.partition("#")[0]).exists(), link


@pytest.mark.slow
def test_an_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "CITATION.cff").is_file() and (source / "notebooks" / "inside.py").is_file()
    code = "import hatchling.build as b; b.build_wheel('..')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    names = [set(ZipFile(next(folder.glob("*.whl"))).namelist()) for folder in (built, tmp_path)]
    assert names[0] == names[1]


def test_links_become_absolute() -> None:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = "![a](docs/a.png) [b](b.md#c) [c](https://x.y/z) [d](#e) [![f](g.png)](https://h)"
    assert module.with_absolute_links(given, "https://r", "v1") == (
        "![a](https://r/raw/v1/docs/a.png) [b](https://r/blob/v1/b.md#c) [c](https://x.y/z) "
        "[d](#e) [![f](https://r/raw/v1/g.png)](https://h)"
    )


def test_versions_agree() -> None:
    version = anamodiff.__version__
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    nodes = tomllib.loads(text("integrations/comfyui/pyproject.toml"))["project"]
    assert nodes["version"] == version
    assert f"v{version}" in text("docs/release.md")
    assert re.search(rf"^## {re.escape(version)} \(.+\)$", text("CHANGELOG.md"), re.M)


def test_the_citation_is_whole() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == ADDRESS
    paper = citation["preferred-citation"]
    assert paper["title"].startswith("AnaMoDiff: ") and len(paper["authors"]) == 6


def test_addresses_agree() -> None:
    for name in ("docs/release.md", "SECURITY.md"):
        owner = ADDRESS.removeprefix("https://github.com/")
        found = set(re.findall(r"https://github\.com/([\w-]+/[\w-]+)", text(name)))
        assert found == {owner}, name


def test_ci_runs_all_that_has_to_hold() -> None:
    ci = jobs(ROOT / ".github" / "workflows" / "ci.yml")
    assert ".ci/run" in commands(ci["all"]).splitlines()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111 or sys.platform == "win32"
    quick = ci["quick"]["strategy"]["matrix"]
    assert [name.partition("-")[0] for name in quick["os"]] == ["macos", "windows"]
    pythons = {*quick["python"], *(row["python"] for row in quick["include"])}
    assert pythons == set(PYTHONS)
    known = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert known == set(PYTHONS)
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_a_release_publishes_what_was_checked_without_a_password() -> None:
    workflow = yaml.safe_load(text(".github/workflows/release.yml"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    build, publish = (workflow["jobs"][name] for name in ("build", "publish"))
    for command in ("python -m build", "twine check --strict", "anamodiff --version"):
        assert command in commands(build)
    assert f"+{LARGEST}c" in commands(build)
    assert publish["needs"] == "build" and publish["permissions"] == {"id-token": "write"}
    assert "permissions" not in build and "secrets." not in text(".github/workflows/release.yml")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_jobs_end(workflow: Path) -> None:
    assert len(WORKFLOWS) == 2
    assert yaml.safe_load(text(workflow))["permissions"] == {"contents": "read"}
    for job in jobs(workflow).values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert re.search(r"@(v\d|release/v\d)", step.get("uses", "@v1"))


def test_the_release_workflow_finds_the_version() -> None:
    """`grep` in the workflow looks for this line."""
    line = f'__version__ = "{anamodiff.__version__}"'
    assert line in text("anamodiff/__init__.py").splitlines()


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_model_cards_have_the_hub_s_metadata(card: Path) -> None:
    loaded = ModelCard.load(card)
    data = loaded.data.to_dict()
    assert {"license", "library_name", "pipeline_tag", "tags"} <= set(data)
    assert "anamodiff" in data["tags"] and "base_model" not in data
    own = (card.parent / "LICENSE").is_file()
    assert data["license"] == ("apache-2.0" if own else "mit")
    assert loaded.text.strip().splitlines()[1].startswith("# ")
    page = text(f"docs/models/{card.parent.name}.md")
    assert page.strip() == f'--8<-- "checkpoints/{card.parent.name}/README.md:card"'
    for edge in ("start", "end"):  # the site shows what is between, not the metadata
        assert f"<!-- --8<-- [{edge}:card] -->" in loaded.text


def test_the_image_has_headless_opencv_and_no_root() -> None:
    recipe = text("Dockerfile")
    assert "opencv-python>=4.12" in PROJECT["dependencies"]  # what `sed` replaces
    assert r"s/^opencv-python\b/opencv-python-headless/" in recipe
    last = recipe.rpartition("FROM ")[2]
    assert re.search(r"^USER anamodiff$", last, re.M) and 'VOLUME ["/data"' in last
    # What is built from gets through `.dockerignore`.
    ignored = text(".dockerignore").splitlines()
    assert "*" in ignored
    shipped = tomllib.loads(text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in (*shipped["packages"], *shipped["force-include"], "hatch_build.py", "LICENSE"):
        assert f"!{path.partition('/')[0]}" in ignored, path


def test_commits_are_checked_by_pinned_hooks() -> None:
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    names = {hook["id"] for repo in hooks for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "nbstripout", "notebooks", "check-yaml"} <= names
    for repo in hooks:
        assert repo["repo"] == "local" or re.fullmatch(r"v?\d+\.\d+\.\d+", repo["rev"])
    if shutil.which("pre-commit"):
        subprocess.run(["pre-commit", "validate-config"], cwd=ROOT, check=True)
