"""Uploads: which clip they are, and how large they may be."""

import io
import os
import zipfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from anamodiff.app.options import AppOptions
from anamodiff.app.uploads import clip_of_upload
from anamodiff.errors import AnaMoDiffError
from anamodiff.video.clip import read_clip

SMALL = AppOptions(max_mb=1, max_frames=4, max_megapixels=0.01)


def png(shade: int, side: int = 32) -> bytes:
    buffer = io.BytesIO()
    iio.imwrite(buffer, np.full((side, side, 3), shade, np.uint8), extension=".png")
    return buffer.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def clip(files: list[Path], folder: Path, limits: AppOptions = SMALL, minimum: int = 1) -> Path:
    return clip_of_upload([str(file) for file in files], "source", minimum, folder, limits)


def shades(path: Path) -> list[int]:
    frames = read_clip(path, frames=None).frames
    return [round(float((frame.mean() + 1) * 127.5)) for frame in frames]


def test_one_file_is_the_clip(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(9))
    assert clip([picture], tmp_path / "unpacked") == picture


def test_several_pictures_are_frames_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    files = []
    for number in (10, 9, 2):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / f"frame{number}.png")
        files[-1].write_bytes(png(10 * number))
    found = clip(files, tmp_path / "unpacked")
    assert shades(found) == [20, 90, 100]
    assert clip(files, tmp_path / "unpacked") == found, "not gathered again"


def test_a_zip_holds_frames_or_one_clip(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    names = {"../up/2.png": png(20), "a/1.png": png(10), "__MACOSX/._1.png": b"x", "a/.x": b"x"}
    found = clip([zipped(tmp_path / "frames.zip", names)], tmp_path / "unpacked")
    assert shades(found) == [10, 20]
    assert found.parent == tmp_path / "unpacked" and not (tmp_path / "up").exists()
    one = clip([zipped(tmp_path / "one.zip", {"only.png": png(30)})], tmp_path / "unpacked")
    assert one.name == "only.png"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "expected pictures or a clip in the source's zip, got none"),
        ({f"{i}.png": png(1) for i in range(5)}, "at most 4 pictures, got 5"),
        ({"a/1.png": png(1), "b/1.png": png(2)}, "got two named 1.png"),
        ({"1.png": b"0" * 1_100_000}, "at most 1 MB, got 1 MB"),
        ({"1.png": png(1, 128)}, "at most 0.01 megapixels, got 128x128"),
        ({"1.txt": b"a plain text"}, "got text that begins with"),
    ],
)
def test_zips_that_are_refused(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(AnaMoDiffError, match=words) as refused:
        clip([zipped(tmp_path / "a.zip", files)], tmp_path / "unpacked")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "unpacked").glob(".*")), "nothing half-made stays"


def test_a_zip_packed_on_windows_keeps_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    names = {r"..\up\1.png": png(10), "C:2.png": png(20), r"C:\up\3.png": png(30)}
    found = clip([zipped(tmp_path / "a.zip", names)], tmp_path / "unpacked")
    assert sorted(path.name for path in found.iterdir()) == ["1.png", "2.png", "3.png"]


def test_what_is_used_again_is_not_old_and_what_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    path = zipped(tmp_path / "a.zip", {"1.png": png(1), "2.png": png(2)})
    found = clip([path], tmp_path / "unpacked")
    os.utime(found, (0, 0))
    assert clip([path], tmp_path / "unpacked").stat().st_mtime > 0
    path.unlink()
    with pytest.raises(AnaMoDiffError, match="kept for 60 minutes; drop it again"):
        clip([path], tmp_path / "unpacked")


def test_too_many_frames_bytes_and_none(tmp_path: Path) -> None:
    film = tmp_path / "a.gif"
    noise = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    iio.imwrite(film, noise)
    with pytest.raises(AnaMoDiffError, match="at most 4 frames, got 6: cut it shorter"):
        clip([film], tmp_path)
    assert clip([film], tmp_path, AppOptions(), minimum=2) == film
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * 1_500_000)
    with pytest.raises(AnaMoDiffError, match="at most 1 MB, got 2 MB"):
        clip([large], tmp_path)
    with pytest.raises(AnaMoDiffError, match="expected a source, got none"):
        clip_of_upload(None, "source", 1, tmp_path, SMALL)
    still = tmp_path / "still.png"
    still.write_bytes(png(1))
    with pytest.raises(AnaMoDiffError, match="at least 2 frames, got one picture"):
        clip([still], tmp_path, minimum=2)


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_broken_zip_is_one_line(tmp_path: Path, packed: int) -> None:
    (tmp_path / "unpacked").mkdir()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("1.png", png(1))
    data = bytearray(path.read_bytes())
    for at in range(45, 55):  # in the picture
        data[at] ^= 255
    path.write_bytes(data)
    with pytest.raises(AnaMoDiffError, match="zip that can be unpacked"):
        clip([path], tmp_path / "unpacked")
