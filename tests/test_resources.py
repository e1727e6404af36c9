"""Finding the files shipped with the package."""

from pathlib import Path

import pytest

from anamodiff import resources
from anamodiff.errors import AnaMoDiffError


def test_find_looks_inside_the_package_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "anamodiff"
    (package / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "checkpoints" / "mini").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.find("configs") == package / "configs"
    assert resources.find("checkpoints/mini") == tmp_path / "checkpoints" / "mini"
    with pytest.raises(AnaMoDiffError, match="checkpoints/maxi"):
        resources.find("checkpoints/maxi")
