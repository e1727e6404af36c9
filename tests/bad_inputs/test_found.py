"""What damage at random found in the clip reader: `found/` holds a file of each kind.

`python scripts/fuzz_clips.py` looks for more.
"""

import logging
import os
import sys
from pathlib import Path

import pytest
from bad_samples import huge_gif
from PIL import Image
from video_samples import moving_square

from anamodiff.video.clip import read_clip
from anamodiff.video.find import find_clips
from anamodiff.video.sampling import HIGHEST_FPS, LOWEST_FPS, ClipError

ROOT = Path(__file__).resolve().parents[2]
FOUND = sorted((Path(__file__).parent / "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_read_or_refused_in_one_line(path: Path) -> None:
    try:
        clip = read_clip(path, frames=8, size=64)
    except ClipError as error:
        assert "\n" not in str(error) and str(error).startswith("expected ")
        assert str(path) in str(error)
    else:
        assert clip.frames.shape[1:] == (3, 64, 64)
        assert LOWEST_FPS <= clip.fps <= HIGHEST_FPS


@pytest.mark.parametrize("name", ["lzw.tiff", "zip.tiff", "samples.tiff", "tag.tiff"])
def test_libraries_print_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("PIL").propagate, before = False, logging.getLogger("PIL").propagate
    try:
        read_clip(Path(__file__).parent / "found" / name, frames=8, size=64)
    except ClipError:
        pass
    finally:
        logging.getLogger("PIL").propagate = before
    assert capfd.readouterr().err == ""


def test_a_huge_gif_takes_no_memory(tmp_path: Path) -> None:
    """It is refused by its header: 60,000 x 60,000 pixels would be 10 GB."""
    resource = pytest.importorskip("resource")
    (tmp_path / "huge.gif").write_bytes(huge_gif(60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ClipError, match="at most 178 megapixels"):
        read_clip(tmp_path / "huge.gif")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_large_sparse_gif_is_not_read_whole(tmp_path: Path) -> None:
    """Whether a gif has its end is seen from its end: this one says that it has 8 GB."""
    images = [Image.fromarray(picture) for picture in moving_square(3)]
    path = tmp_path / "a.gif"
    images[0].save(path, save_all=True, append_images=images[1:])
    with path.open("r+b") as file:
        file.truncate(2**33)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_clip(path).total == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_among_clips_are_never_opened(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.png", "c.txt"):
        os.mkfifo(tmp_path / name)
    for path in find_clips(tmp_path):
        with pytest.raises(ClipError, match="pipe"):
            read_clip(path)


@pytest.mark.parametrize("name", ["a.bin", "a.txt", "a.yuv", "a.nfo", "a.adf"])
def test_any_bytes_are_no_video_whatever_the_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(128, 256)) * 40)
    with pytest.raises(ClipError, match="damaged, truncated or unknown"):
        read_clip(tmp_path / name)


@pytest.mark.slow
def test_short_fuzz(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from fuzz_clips import main
    finally:
        sys.path.pop(0)
    assert main(["--count", "3000", "--first", "77000000", "--keep", str(tmp_path)]) == 0
