"""A file's own transparency is the matte of its character."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff.matting.checks import has_useful_alpha
from anamodiff.matting.network import MatteNetwork
from anamodiff.run.compositing import set_on_ground
from anamodiff.run.grounds import Subject, cut_pair
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.alpha import write_alpha, write_alpha_frames
from anamodiff.video.clip import Clip, read_clip

SIZE, FRAMES = 96, 3


def no_network() -> MatteNetwork:
    raise AssertionError("alpha needs no network")


@pytest.fixture(scope="module")
def ghost() -> torch.Tensor:
    """A white ghost with a soft edge and a red mouth that moves right, ``f 4 h w`` in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    frames = torch.full((FRAMES, 4, SIZE, SIZE), -1.0)  # hidden pixels are black
    for number in range(FRAMES):
        distance = ((x - 40 - 6 * number) ** 2 + (y - 48) ** 2).float().sqrt()
        alpha = ((28 - distance) / 6).clamp(0, 1)
        frames[number, :3] = torch.where(alpha > 0, 1.0, -1.0)
        frames[number, 1:3, 56:60, 36 + 6 * number : 46 + 6 * number] = -1
        frames[number, 3] = 2 * alpha - 1
    return frames


def write(ghost: torch.Tensor, folder: Path, kind: str) -> Path:
    if kind == "folder":
        write_alpha_frames(folder / "frames", ghost)
        return folder / "frames"
    if kind == "mov":
        return write_prores(folder / "a.mov", ghost)
    return write_alpha(folder / f"a{kind}", ghost, 8)


def write_prores(path: Path, frames: torch.Tensor) -> Path:
    rgba = ((frames + 1) * 127.5).round().byte().movedim(1, 3).numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("prores_ks", 8, {"profile": "4444"})
        stream.height = stream.width = SIZE
        stream.pix_fmt = "yuva444p10le"
        for picture in rgba:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


KINDS = [".webm", ".webp", ".apng", ".gif", "mov", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_is_the_matte_whatever_holds_it(ghost, kind: str, tmp_path, caplog) -> None:
    caplog.set_level("INFO", "anamodiff")
    clip = read_clip(write(ghost, tmp_path, kind), frames=FRAMES, size=SIZE)
    subjects = cut_pair(clip, clip, "auto", no_network)
    said = [record.getMessage() for record in caplog.records if "alpha" in record.getMessage()]
    assert len(said) == 1
    found, wanted = subjects.source.mattes, ghost[:, 3] / 2 + 0.5
    if kind == ".gif":  # seen or not
        wanted = (wanted >= 0.5).float()
    assert (found - wanted).abs().mean() < 0.01
    soft = (wanted > 0.2) & (wanted < 0.8)
    assert (found - wanted)[soft].abs().mean() < 0.06 or kind == ".gif"
    # What is white on white is the character's, too.
    assert subjects.source.foreground is not None and subjects.source.foreground[:, 40, 40].all()


def test_none_takes_the_frames_as_they_lie_on_white(ghost, tmp_path) -> None:
    clip = read_clip(write(ghost, tmp_path, "folder"), frames=FRAMES, size=SIZE)
    found = cut_pair(clip, clip, "none", no_network).source
    assert found.clip is clip and found.mattes[:, 40, 40].max() == 0


def test_one_opaque_frame_or_all_are_no_matte(ghost, tmp_path) -> None:
    opaque = ghost.clone()
    opaque[1, 3] = 1
    clip = read_clip(write(opaque, tmp_path, "folder"), frames=FRAMES, size=SIZE)
    assert clip.alpha is None


@pytest.mark.parametrize(
    ("alpha", "useful"),
    [
        (torch.full((2, 64, 64), 0.5), False),  # a clip that is faded out
        (torch.zeros(2, 64, 64), False),
        (torch.nn.functional.pad(torch.ones(2, 63, 63), (1, 0, 1, 0)), False),  # a window's rim
        (torch.nn.functional.pad(torch.ones(2, 44, 54), (5, 5, 10, 10)), False),  # its shadow
        (torch.ones(2, 64, 64).triu(), True),
    ],
)
def test_alpha_that_shows_no_character_is_not_used(alpha: torch.Tensor, useful: bool) -> None:
    assert has_useful_alpha(alpha) == useful


def test_a_large_film_s_hidden_colours_do_not_get_into_its_edges(tmp_path) -> None:
    """Black hidden pixels beside a red disc: made smaller, its rim stays red."""
    y, x = np.mgrid[:600, :600]
    disc = (x - 300) ** 2 + (y - 300) ** 2 < 200**2
    picture = np.zeros((600, 600, 4), np.uint8)
    picture[disc] = (255, 0, 0, 255)
    Image.fromarray(picture).save(tmp_path / "a.png")
    frames = torch.from_numpy(picture).movedim(-1, 0)[None].repeat(2, 1, 1, 1) / 127.5 - 1
    for path in (tmp_path / "a.png", write_alpha(tmp_path / "a.webp", frames, 8)):
        clip = read_clip(path, frames=2, size=64)
        assert clip.alpha is not None
        green = clip.frames[:, 1] / 2 + 0.5
        assert (green - (1 - clip.alpha)).abs().max() < 0.02


def test_a_picture_that_is_not_square_is_transparent_beside_it(ghost, tmp_path) -> None:
    write_alpha_frames(tmp_path / "frames", ghost[:, :, 16:80])
    clip = read_clip(tmp_path / "frames", frames=FRAMES, size=SIZE)
    found = cut_pair(clip, clip, "auto", no_network).source
    assert found.mattes.shape == (FRAMES, SIZE, SIZE)
    assert found.mattes[:, :16].max() == 0 and found.mattes[:, 17:22].max() > 0
    assert torch.equal(found.clip.frames[:, :, :16], torch.ones(FRAMES, 3, 16, SIZE))


def test_the_result_stays_on_white_and_is_transparent_where_that_is_asked_for(
    ghost, tmp_path
) -> None:
    mover = MotionTransfer.load("mini", device="cpu", precision="fp32", size=128)
    clip = read_clip(write(ghost, tmp_path, "folder"), frames=FRAMES, size=128)
    pair = moved(mover, clip)
    assert pair.source_ground is None
    frames = pair.warped.source
    assert set_on_ground(frames, pair, "source") is frames
    clear = set_on_ground(frames, pair, "transparent")
    assert clear.shape[1] == 4 and clear[:, 3, 0].max() == -1


def moved(mover: MotionTransfer, clip: Clip) -> ClipPair:
    options = mover.resolve(adaptation={"pose": "points"}).adaptation
    subjects = mover.cut(clip, replace(clip), options)
    assert isinstance(subjects.source, Subject)
    return ClipPair.of(mover.warp(subjects, options, "first"), subjects)
