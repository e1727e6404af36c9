"""The wheels for a machine without a network: their packing and their size."""

import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import gpu_wheels  # noqa: E402


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A wheel of text that packs well."""
    path = tmp_path / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("some/__init__.py", "some-1.0.dist-info/RECORD"):
            file.writestr(name, "".join(f"{n * n}\n" for n in range(30_000)))
    return path


def test_repacked_wheels_are_smaller_and_hold_the_same(wheel):
    with zipfile.ZipFile(wheel) as file:
        before = {name: file.read(name) for name in file.namelist()}
    size = wheel.stat().st_size
    gpu_wheels.repack(wheel)
    assert wheel.stat().st_size < size
    with zipfile.ZipFile(wheel) as file:
        assert {name: file.read(name) for name in file.namelist()} == before
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]


def test_too_much_to_carry_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_wheels, "collect", lambda folder: None)
    monkeypatch.setattr(gpu_wheels, "tracked", lambda root: [tmp_path / "tree"])
    (tmp_path / "tree").write_bytes(bytes(1000))
    words = [str(tmp_path / "wheels"), "--also", str(tmp_path / "more")]
    (tmp_path / "more").mkdir()
    assert gpu_wheels.main(words) == 0
    (tmp_path / "more" / "data").write_bytes(bytes(2000))
    monkeypatch.setattr(gpu_wheels, "LIMIT", 3000)
    assert gpu_wheels.main(words) == 2
    assert "expected less than" in capsys.readouterr().err
    monkeypatch.setattr(gpu_wheels, "LIMIT", 3001)
    assert gpu_wheels.main(words) == 0


def test_old_wheels_are_removed(wheel, monkeypatch):
    monkeypatch.setattr(gpu_wheels, "collect", lambda folder: None)
    gpu_wheels.main([str(wheel.parent)])
    assert not wheel.exists()
