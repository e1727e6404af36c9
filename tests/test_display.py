"""Objects show themselves in notebooks, by what IPython asks them for; consoles get one line."""

import io
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff import creatures
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.flow import Motion
from anamodiff.lofnet.joints import Joints
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.retarget import Retargeted
from anamodiff.lofnet.skeletal import Poses, SkeletalMotion
from anamodiff.run.inspect import Inspection
from anamodiff.run.preview import Preview
from anamodiff.run.result import Result
from anamodiff.video.canvas import fit
from anamodiff.video.letterbox import from_pixels
from anamodiff.visual.sheets import contact_sheet, save_picture
from anamodiff.warp import identity_grid

FRAMES, COUNT = 7, 22
GRID = identity_grid(16, 16).expand(FRAMES, -1, -1, -1)


@pytest.fixture(scope="module")
def drawn() -> creatures.Drawn:
    return creatures.draw(creatures.Character("horse", "brown"), "walk", frames=FRAMES, size=64)


@pytest.fixture(scope="module")
def frames(drawn: creatures.Drawn) -> torch.Tensor:
    return from_pixels(drawn.frames)


@pytest.fixture(scope="module")
def places(drawn: creatures.Drawn) -> torch.Tensor:
    return torch.from_numpy(drawn.skeleton).float()


@pytest.fixture(scope="module")
def warped(frames: torch.Tensor, places: torch.Tensor) -> WarpedIntermediate:
    latents = torch.zeros(FRAMES, 4, 16, 16)
    return WarpedIntermediate(
        frames, frames, latents, latents, GRID, 0, poses=Poses(places, places, places),
        visible=torch.ones(FRAMES, 16, 16), frames=torch.arange(FRAMES),
    )  # fmt: skip


def sheet(thing: object) -> Image.Image:
    """The picture that IPython, where it is here, gets from an object."""
    formatters = pytest.importorskip("IPython.core.formatters", reason="needs IPython")
    formatter = formatters.DisplayFormatter()
    data, _ = formatter.format(thing)
    assert len(data["image/jpeg"]) < 1_000_000
    return Image.open(io.BytesIO(data["image/jpeg"]))


def colourful(picture: Image.Image) -> float:
    """Share of pixels that are neither white nor black nor grey."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return float((np.ptp(pixels, axis=-1) > 40).mean())


def joints(places: torch.Tensor, on: torch.Tensor | None) -> Joints:
    presence = torch.zeros(FRAMES, COUNT, 3)
    presence[..., 2] = 1
    return Joints(places, torch.full((FRAMES, COUNT), 0.9), presence, on)


def test_joints_are_shown_on_their_frames(frames: torch.Tensor, places: torch.Tensor) -> None:
    alone, on = sheet(joints(places, None)), sheet(joints(places, frames))
    assert on.size == alone.size
    assert colourful(on) > colourful(alone) + 0.02 > 0.02


def test_joints_that_a_clip_lacks_are_not_drawn(places: torch.Tensor) -> None:
    presence = torch.zeros(FRAMES, COUNT, 3)
    presence[..., 0] = 1
    nothing = sheet(Joints(places, torch.full((FRAMES, COUNT), 0.9), presence))
    assert colourful(nothing) == 0


def test_flows_are_shown_as_colours(places: torch.Tensor) -> None:
    flow = GRID.clone()
    flow[:, 4:12, 4:12, 0] += 0.5
    mask = torch.full((FRAMES, 3, 16, 16), 1 / 3)
    moving, still = sheet(Motion(flow, mask)), sheet(Motion(GRID, mask))
    assert colourful(moving) > colourful(still) + 0.03
    poses = Poses(places, places, places)
    skeletal = SkeletalMotion(flow, mask, mask[:, 0], torch.arange(FRAMES), poses)
    assert colourful(sheet(skeletal)) > 0.03
    assert colourful(sheet(Retargeted(places, torch.zeros(FRAMES, COUNT)))) > 0.001


def test_a_warped_intermediate_is_a_sheet(warped: WarpedIntermediate) -> None:
    by_points = WarpedIntermediate(
        warped.source, warped.driving, warped.latents, warped.warped, GRID, 0,
        KeyPoints(torch.zeros(FRAMES, 3, 2)), KeyPoints(torch.zeros(1, 3, 2)),
        KeyPoints(torch.zeros(FRAMES, 3, 2)), torch.ones(FRAMES, 4, 16, 16) / 4,
    )  # fmt: skip
    assert sheet(warped).height > sheet(by_points).height > 500


def test_results_and_previews_are_videos(warped: WarpedIntermediate, tmp_path: Path) -> None:
    shown = torch.cat([warped.source, torch.zeros(FRAMES, 1, 64, 64)], dim=1)
    for frames in (warped.source, shown):
        result = Result(
            warped.source, frames, fit(48, 64, 64), 9.0, tmp_path / "result.mp4", tmp_path, {}
        )
        assert "<video" in result._repr_html_() and "7 frames of 64x48" in repr(result)
        assert "\n" not in repr(result) and "tensor" not in repr(result)
    clips = [field.name for field in fields(Preview) if field.name not in ("fps", "made")]
    preview = Preview(**dict.fromkeys(clips, warped.source), fps=9.0, made=warped)
    assert "<video" in preview._repr_html_()


def test_an_inspection_is_its_sheet(warped: WarpedIntermediate, tmp_path: Path) -> None:
    file = save_picture(tmp_path / "sheet.png", contact_sheet([("source", warped.source)]))
    found = Inspection(file, (0.0,), 3.0, None, warped)
    assert sheet(found).size == Image.open(file).size
    assert "sheet.png" in repr(found) and "tensor" not in repr(found)
