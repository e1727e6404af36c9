"""The served page: what it gives away, what it refuses, and that it builds."""

import importlib.util
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

from anamodiff.app.options import AppOptions
from anamodiff.app.server import Server
from anamodiff.cli import main as cli
from anamodiff.run.motion_transfer import MotionTransfer

gradio = pytest.importorskip("gradio", reason="needs the extra app", exc_type=ImportError)
ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "integrations" / "space"


@pytest.fixture(scope="module")
def server(tiny_backbone_folder: Path) -> Iterator[Server]:
    before = dict(os.environ)
    made = Server(AppOptions(max_mb=1), backbone=tiny_backbone_folder, device="cpu")
    yield made
    made.close()
    for name in set(os.environ) - set(before):  # what a server sets goes with it
        del os.environ[name]


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    return server.launch("127.0.0.1")


def status(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, headers)).status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_answers_on_this_machine_only(server: Server, address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    assert server.page.server_name == "127.0.0.1" and not server.page.share
    assert status(address) == 200


def test_only_its_own_files_are_served(server: Server, address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    inside = server.folder / "runs" / "a" / "config.yaml"
    inside.parent.mkdir(parents=True)
    inside.write_text("x")
    own = server.folder / "files" / "a.txt"
    own.parent.mkdir(exist_ok=True)
    own.write_text("x")
    for path in (secret, inside, ROOT / "pyproject.toml", Path("pyproject.toml"), "/etc/passwd",
                 f"{own.parent}/../runs/a/config.yaml"):  # fmt: skip
        assert status(f"{address}gradio_api/file={path}") == 403, path
        assert status(f"{address}file={path}") in (403, 404), path
    assert status(f"{address}gradio_api/file={own}") == 200


def upload(address: str, data: bytes) -> tuple[int, bytes]:
    """Status and answer of Gradio's upload."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.gif"\r\n'
        b"Content-Type: image/gif\r\n\r\n" + data + b"\r\n--b--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(f"{address}gradio_api/upload", body, kind)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def previewed(server: Server, address: str, path: str, session: str) -> bool:
    """Whether the page's preview takes a file as its source."""
    index = next(i for i, fn in server.page.fns.items() if fn.name == "preview")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    values = [[file], None, "", "auto", "first", 0, 1, 10, "auto", "auto", "source",
              "what suits the model", "", "", "", 0]  # fmt: skip
    body = json.dumps({"data": values, "fn_index": index, "session_hash": session}).encode()
    url = f"{address}gradio_api/queue/join"
    kind = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, body, kind)).read()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}") as events:
        text = events.read().decode()
    done = [line for line in text.splitlines() if "process_completed" in line]
    assert len(done) == 1
    return json.loads(done[0].removeprefix("data:"))["success"]


def test_a_path_of_the_machine_is_no_upload(server: Server, address: str) -> None:
    """What a page sends as a file must be one that it has uploaded."""
    assert not previewed(server, address, str(ROOT / "pyproject.toml"), "a")
    (path,) = json.loads(upload(address, b"0" * 99)[1])
    assert previewed(server, address, path, "b")


def test_large_uploads_are_refused(address: str) -> None:
    assert upload(address, b"0" * 1000)[0] == 200
    assert upload(address, b"0" * 2_000_000)[0] >= 400


def test_a_queue_of_one_that_ends(server: Server, address: str) -> None:
    assert server.page._queue.max_size == AppOptions.queue
    computing = [fn for fn in server.page.fns.values() if fn.concurrency_id == "compute"]
    assert {fn.name for fn in computing} == {"preview", "start"}
    assert all(fn.concurrency_limit == 1 for fn in computing)
    assert server.page.delete_cache == (900, 3600)


def test_nothing_is_reported(server: Server) -> None:
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert not server.page.analytics_enabled


def test_the_examples_are_drawn(server: Server) -> None:
    chosen = [fn.fn() for fn in server.page.fns.values() if fn.name == "choose"]
    assert len(chosen) == 4
    for source, driving, prompt in chosen:
        assert Path(source[0]).is_file() and Path(driving[0]).is_file() and prompt
        assert server.folder in Path(source[0]).parents


def test_closing_removes_the_folder(tiny_backbone_folder: Path) -> None:
    made = Server(backbone=tiny_backbone_folder)
    assert made.folder.is_dir()
    made.close()
    assert not made.folder.exists()


def test_a_port_that_is_taken_is_one_line(server: Server, address: str) -> None:
    other = Server(backbone="mini")
    try:
        with pytest.raises(ValueError, match="expected a free port"):
            other.launch("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))
    finally:
        other.close()


def test_the_space_builds_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("space_app", SPACE / "app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        assert isinstance(module.demo, gradio.Blocks)
        assert module.demo is module.server.page
    finally:
        module.server.close()


def test_the_space_says_what_hugging_face_asks() -> None:
    import yaml

    _, head, text = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["sdk"] == "gradio" and (SPACE / told["app_file"]).is_file()
    assert int(str(told["sdk_version"]).partition(".")[0]) == 6
    assert len(told["short_description"]) <= 60 and text.strip()
    assert (SPACE / "requirements.txt").read_text().startswith("anamodiff[app]")


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and 'pip install "anamodiff[app]"' in error


def test_the_command_hands_its_settings_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def serve(options: AppOptions, **models: object) -> None:
        seen.extend([options, models])

    monkeypatch.setattr("anamodiff.app.server.serve", serve)
    assert cli.main(["app", "port=8123", "max_mb=7", "--backbone", "mini", "--size", "256"]) == 0
    options, models = seen
    assert isinstance(options, AppOptions) and isinstance(models, dict)
    assert (options.host, options.port, options.max_mb) == ("127.0.0.1", 8123, 7)
    assert (models["backbone"], models["size"]) == ("mini", 256)
    # What is left is what `MotionTransfer.load` takes.
    assert set(models) <= set(signature(MotionTransfer.load).parameters)
