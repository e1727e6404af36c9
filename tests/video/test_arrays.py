"""Frames in memory make the clip that a file of them makes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff.video.arrays import as_pictures, clip_of_frames
from anamodiff.video.clip import read_clip
from anamodiff.video.sampling import ClipError


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 10, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["pictures", "array", "list", "bytes", "tensor", "half", "byte"])
def test_every_kind_gives_the_same_bytes(frames, kind) -> None:
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
    given = {
        "pictures": [Image.fromarray(picture) for picture in frames],
        "array": frames / 255,
        "list": list(frames),
        "bytes": frames,
        "tensor": tensor / 255,
        "half": (tensor / 255).double(),
        "byte": tensor,
    }[kind]
    np.testing.assert_array_equal(as_pictures(given)[..., :3], frames)


def test_the_clip_is_a_file_s(frames, tmp_path: Path) -> None:
    Image.fromarray(frames[0]).save(
        tmp_path / "clip.png", save_all=True, duration=40,
        append_images=[Image.fromarray(picture) for picture in frames[1:]],
    )  # fmt: skip
    file = read_clip(tmp_path / "clip.png", frames=4, size=16)
    clip = clip_of_frames(frames, 25.0, frames=4, size=16)
    torch.testing.assert_close(clip.frames, file.frames, rtol=0, atol=0)
    assert clip.fps == pytest.approx(file.fps) == pytest.approx(25 * 4 / 6)
    assert (clip.box, clip.indices, clip.background) == (file.box, file.indices, file.background)
    assert clip.path is None


def test_transparent_frames_go_on_white() -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert clip_of_frames(picture, frames=1).frames.min() == 1
    grey = Image.new("P", (8, 8), 0)
    assert clip_of_frames([grey, grey], frames=2).frames.shape == (2, 3, 8, 8)


def test_numbers_of_rounding_are_clipped_and_others_refused() -> None:
    near = np.full((1, 4, 4, 3), 1.004)
    assert as_pictures(near).max() == 255
    for bad in (near * 2, near - 2, near * np.nan, near.astype(int)):
        with pytest.raises(ClipError, match=r"\[0, 1\]"):
            as_pictures(bad)
