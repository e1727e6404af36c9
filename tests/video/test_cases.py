"""The files of public trouble reports, where they lie beside the checkout; kinds are elsewhere."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.find import look_for_clips
from anamodiff.video.folder import list_frames
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.sampling import ClipError


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    if not (shared / "cases").is_dir():
        pytest.skip("needs the cases in shared/cases")
    return shared / "cases"


def first(clip: Clip) -> np.ndarray:
    return to_pixels(clip.frames)[0].astype(int)


def as_the_truth(clip: Clip) -> bool:
    """HDR: white is white, and each patch has the truth's colour but for the codec's losses."""
    assert clip.path is not None
    truth = np.asarray(
        Image.open(clip.path.with_name("hdr_reference_frame0.png")).convert("RGB")
    ).astype(int)
    frame = first(clip)
    green = (truth == (40, 160, 60)).all(axis=2)
    white = (truth == 255).all(axis=2)
    found = np.median(frame[green], axis=0)
    saturated = found[1] - found[[0, 2]].max() > 75
    return bool(saturated and np.median(frame[white]) >= 250 and np.abs(frame - truth).mean() < 8)


def not_combed(clip: Clip) -> bool:
    frame = first(clip).mean(axis=2)
    return bool(np.abs(2 * frame[1:-1] - frame[:-2] - frame[2:]).mean() < 2)


READ: dict[str, Callable[[Clip], bool]] = {
    "hdr_pq.mov": as_the_truth,
    "hdr_hlg.mov": as_the_truth,
    "interlaced.ts": not_combed,
    "short.flv": lambda clip: clip.total == 12,
    "stack.tif": lambda clip: clip.total == 12,
    "thumbnail_is_stream_0.mp4": lambda clip: clip.total == 12 and first(clip).shape[1] == 160,
    "~tilde.gif": lambda clip: clip.total == 12,
    "vfr_two_second_hold.mp4": lambda clip: abs(len(clip.indices) / clip.fps - 3.2) < 0.05,
    "photo_12mp.jpg": lambda clip: clip.total == 1,
}
REFUSED = {
    "audio_only.m4a": "only sound",
    "song_with_cover.mp3": "only sound with a cover",
    "picture.jxl": "JPEG XL",
}


@pytest.mark.parametrize("name", READ)
def test_a_case_is_read(cases, name, caplog, monkeypatch):
    monkeypatch.chdir(cases)  # a tilde at the beginning is part of a name
    with caplog.at_level(logging.WARNING):
        clip = read_clip(name, frames=8)
    assert READ[name](clip) and not caplog.text
    fitted = read_clip(name, frames=8, size=128)
    assert fitted.frames.shape[-2:] == (128, 128) and fitted.box is not None
    assert fitted.box.original == clip.frames.shape[-2:]


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_is_refused_by_name(cases, name):
    with pytest.raises(ClipError, match=REFUSED[name]) as caught:
        read_clip(cases / name)
    assert "damaged" not in str(caught.value) and "\n" not in str(caught.value)


def test_tiles_are_one_picture_or_refused(cases):
    try:
        clip = read_clip(cases / "iphone_tiles.heic")
    except ClipError as error:
        assert "HEIC" in str(error)
    else:
        assert clip.frames.shape[-2:] == (120, 160)


def test_decimal_names_are_in_order(cases):
    times = [float(path.stem.rstrip("s")) for path in list_frames(cases / "decimal_names")]
    assert times == sorted(times) and len(times) == 8


def test_films_of_cameras_are_clips(cases):
    found = look_for_clips(cases / "train_camera_files")
    assert [path.name for path in found.clips] == ["camera.mts", "known.gif", "phone.3gp",
                                                   "record.ts"]  # fmt: skip
    assert not found.left_out and all(read_clip(path).total > 1 for path in found.clips)
