"""Clips on any ground: cut out, moved, and set back on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anamodiff import creatures
from anamodiff.creatures.ground import draw_ground, on_ground, outdoors
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.metrics import foreground_iou
from anamodiff.matting.checks import box_of
from anamodiff.matting.network import FOLDER, MatteNetwork
from anamodiff.matting.smooth import smooth_ground
from anamodiff.matting.zoom import Zoom
from anamodiff.options import AdaptationOptions
from anamodiff.resources import find
from anamodiff.run.compositing import canvas_factor, set_on_ground
from anamodiff.run.grounds import Subjects, cut_pair
from anamodiff.run.intermediate import ClipPair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.video.clip import Clip, read_clip, write_frames, write_video
from anamodiff.video.letterbox import crop_back, from_pixels, to_pixels

COLOURS = {
    "black": (0, 0, 0), "green screen": (0, 177, 64), "grey": (128, 128, 128),
    "sky": (135, 206, 235), "red": (200, 30, 30), "navy": (10, 20, 80),
    "magenta": (255, 0, 255), "dark grey": (50, 50, 50),
}  # fmt: skip
FRAMES = 3


def no_network() -> MatteNetwork:
    raise AssertionError("plain grounds need no network")


@pytest.fixture(scope="module")
def pair() -> creatures.Pair:
    return creatures.draw_pair(
        470, source_species="turtle", driving_species="rhino", motion="jump", frames=FRAMES
    )


def clip_of(pictures: np.ndarray, folder: Path) -> Clip:
    write_frames(folder, from_pixels(pictures))
    return read_clip(folder, frames=len(pictures), size=128)


@pytest.fixture(scope="module")
def white(pair: creatures.Pair, tmp_path_factory) -> tuple[Clip, Clip]:
    folder = tmp_path_factory.mktemp("white")
    return clip_of(pair.source.frames, folder / "s"), clip_of(pair.driving.frames, folder / "d")


@pytest.fixture(scope="module")
def mover() -> MotionTransfer:
    return MotionTransfer.load("mini", device="cpu", precision="fp32", size=128)


def result_of(
    mover: MotionTransfer, source: Clip, driving: Clip, matte: str = "auto", pose: str = "points"
) -> Tensor:
    """The warped clip, decoded: the result without diffusion, on white."""
    options = AdaptationOptions(matte=matte, pose=pose)  # pyright: ignore
    subjects = mover.cut(source, driving, options)
    return mover.backbone.decode(mover.warp(subjects, options, "first").warped).cpu()


@pytest.fixture(scope="module")
def expected(mover: MotionTransfer, white: tuple[Clip, Clip]) -> Tensor:
    return result_of(mover, *white)


@pytest.mark.parametrize("name", ["black", "sky"])
def test_results_are_the_same_on_a_plain_ground(
    mover, pair, white, expected: Tensor, name: str, tmp_path
) -> None:
    source = clip_of(on_ground(pair.source, COLOURS[name]), tmp_path / "source")
    driving = clip_of(on_ground(pair.driving, COLOURS[name]), tmp_path / "driving")
    assert foreground_iou(result_of(mover, white[0], driving), expected) > 0.95
    assert foreground_iou(result_of(mover, source, white[1]), expected) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("pose", ["points", "skeleton"])
def test_results_are_the_same_on_all_plain_grounds(mover, pair, white, pose: str, tmp_path) -> None:
    expected = result_of(mover, *white, pose=pose)
    overlaps = {}
    for name, colour in COLOURS.items():
        source = clip_of(on_ground(pair.source, colour), tmp_path / name / "source")
        driving = clip_of(on_ground(pair.driving, colour), tmp_path / name / "driving")
        for role, clips in {"source": (source, white[1]), "driving": (white[0], driving)}.items():
            found = result_of(mover, *clips, pose=pose)
            overlaps[name, role] = foreground_iou(found, expected)
    assert len(overlaps) == 16
    assert min(overlaps.values()) > 0.95, overlaps


def test_without_cutting_out_the_motion_on_black_is_lost(
    mover, pair, white, expected: Tensor, tmp_path
) -> None:
    """The other tests could not fail if it were not so."""
    driving = clip_of(on_ground(pair.driving, (0, 0, 0)), tmp_path / "driving")
    assert foreground_iou(result_of(mover, white[0], driving, "none"), expected) < 0.9


def test_clips_on_white_are_left_as_they_are(white: tuple[Clip, Clip]) -> None:
    found = cut_pair(*white, "auto", no_network)
    for subject, clip in ((found.source, white[0]), (found.driving, white[1])):
        assert subject.clip is clip and subject.ground is None and subject.foreground is None


def test_none_leaves_every_clip_as_it_is(pair: creatures.Pair, white, tmp_path) -> None:
    black = clip_of(on_ground(pair.source, (0, 0, 0)), tmp_path)
    assert cut_pair(black, white[1], "none", no_network).source.clip is black


def filmed(pair: creatures.Pair, folder: Path) -> Clip:
    return clip_of(outdoors(pair.driving, "gravel", 1, drift=0.06), folder)


def test_textures_need_the_network_and_say_so(pair, white, tmp_path, caplog) -> None:
    caplog.set_level("INFO", "anamodiff")
    found = cut_pair(white[0], filmed(pair, tmp_path), "auto", lambda: loaded())
    said = [record.getMessage() for record in caplog.records]
    assert sum("cut out by a network" in line for line in said) == 1
    assert sum("camera moves" in line for line in said) == 1
    frames = found.driving.clip.frames
    assert torch.equal(frames[:, :, :4], torch.ones_like(frames[:, :, :4]))
    ground = found.driving.ground
    assert ground is not None and ground[:, :4].std() > 0.05  # as it was, not white


def test_a_camera_s_motion_over_nearly_smooth_sand_is_taken_out(pair, white, tmp_path) -> None:
    sand = clip_of(outdoors(pair.driving, "sand", 3, drift=0.06), tmp_path)
    assert smooth_ground(sand.frames) is not None, "another seed is needed"
    assert cut_pair(white[0], sand, "auto", lambda: loaded()).driving.moved


def loaded() -> MatteNetwork:
    return MatteNetwork.load(find(FOLDER))


def pair_on(subjects: Subjects, mover: MotionTransfer) -> ClipPair:
    return ClipPair.of(mover.warp(subjects, AdaptationOptions(pose="points"), "first"), subjects)


@pytest.fixture(scope="module")
def on_grass(pair: creatures.Pair, mover: MotionTransfer, tmp_path_factory) -> ClipPair:
    """A source on grass, with its own masks, and a driving clip on blue."""
    folder = tmp_path_factory.mktemp("grass")
    grass = draw_ground("grass", 128, 128, 0)
    source = clip_of(on_ground(pair.source, grass), folder / "s")
    driving = clip_of(on_ground(pair.driving, (0, 0, 255)), folder / "d")
    write_frames(folder / "m" / "source", from_pixels(pair.source.coverage[..., None].repeat(3, 3)))
    subjects = cut_pair(source, driving, str(folder / "m"), no_network)
    pair_on(subjects, mover).save(folder)
    return ClipPair.load(folder)  # what `generate` has


def test_the_result_stands_on_the_ground_that_is_asked_for(
    on_grass: ClipPair, expected: Tensor
) -> None:
    grass = from_pixels(draw_ground("grass", 128, 128, 0)[None])[0]
    back = {name: set_on_ground(expected, on_grass, name) for name in ("source", "driving")}
    corner = (slice(None), slice(0, 20))
    assert (back["source"][0][corner] - grass[corner]).abs().max() < 0.03
    blue = torch.tensor([-1.0, -1.0, 1.0]).view(3, 1, 1)
    assert (back["driving"][0][corner] - blue).abs().max() < 0.03
    colour = set_on_ground(expected, on_grass, "#80c0FF")
    assert to_pixels(colour)[0, 0, 0].tolist() == [0x80, 0xC0, 0xFF]
    clear = set_on_ground(expected, on_grass, "transparent")
    assert clear.shape[1] == 4 and clear[:, 3, 0].max() == -1
    inside = clear[:, 3] == 1
    assert 0.1 < inside.float().mean() < 0.5
    # The character keeps its colours on every ground.
    for other in (*back.values(), colour):
        assert (other - expected).abs().amax(1)[inside].max() < 0.01


def test_a_result_of_clips_on_white_is_not_touched(mover, white, expected: Tensor) -> None:
    made = pair_on(cut_pair(*white, "auto", no_network), mover)
    assert set_on_ground(expected, made, "source") is expected


def test_the_driving_clip_s_ground_covers_another_shape(on_grass, expected: Tensor) -> None:
    assert on_grass.driving_box is not None
    wide = replace(on_grass.driving_box, top=32, height=64, original=(64, 128))
    other = replace(on_grass, driving_box=wide)
    back = set_on_ground(expected, other, "driving")
    blue = torch.tensor([-1.0, -1.0, 1.0]).view(3, 1)
    for edge in (back[0, :, 0], back[0, :, -1], back[0, :, :, 0], back[0, :, :, -1]):
        assert (edge - blue).abs().max() < 0.03


def masks_in(folder: Path, masks: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / f"{number}.png")
    return folder


def test_masks_belong_to_the_clip_that_they_match(pair, white, tmp_path) -> None:
    still = replace_frames(white[0], 1)
    folder = masks_in(tmp_path / "masks", pair.driving.coverage)
    found = cut_pair(still, white[1], str(folder), no_network)
    assert found.source.foreground is None and found.driving.foreground is not None
    own = found.driving.mattes >= 0.5
    wrong = own ^ torch.from_numpy(pair.driving.coverage > 127)
    assert wrong.float().mean() < 0.002
    write_video(tmp_path / "m.mp4", from_pixels(pair.driving.coverage[..., None].repeat(3, 3)), 8)
    again = cut_pair(still, white[1], str(tmp_path / "m.mp4"), no_network).driving.mattes >= 0.5
    assert (again ^ own).float().mean() < 0.005


def replace_frames(clip: Clip, count: int) -> Clip:
    return replace(clip, frames=clip.frames[:count], indices=tuple(range(count)), total=count)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.zeros((2, 128, 128), np.uint8), "got 2 frames of 128x128"),
        (np.zeros((FRAMES, 64, 128), np.uint8), f"got {FRAMES} frames of 128x64"),
        (np.zeros((FRAMES, 128, 128), np.uint8), "got one shade"),
    ],
)
def test_masks_that_do_not_fit_are_refused(white, masks, words: str, tmp_path) -> None:
    folder = masks_in(tmp_path / "masks", masks)
    with pytest.raises(AnaMoDiffError, match=words):
        cut_pair(*white, str(folder), no_network)
    with pytest.raises(AnaMoDiffError, match="nothing at"):
        cut_pair(*white, str(tmp_path / "none-there"), no_network)


def exact(zoom: Zoom, pictures: np.ndarray) -> Tensor:
    """A square of a canvas of 128 pixels, of pictures four times as large, ``f 3 128 128``."""
    rows, columns = (slice(4 * x, 4 * (x + zoom.side)) for x in (zoom.top, zoom.left))
    part = from_pixels(pictures[:, rows, columns].copy())
    return torch.nn.functional.interpolate(part, (128, 128), mode="bilinear", antialias=True)


def test_a_small_character_is_worked_on_at_full_size_and_pasted_back(
    pair, white, mover, caplog, tmp_path
) -> None:
    small = np.full((FRAMES, 512, 512, 3), 255, np.uint8)
    small[:, 300:428, 40:168] = pair.source.frames
    source = clip_of(small, tmp_path / "source")
    found = cut_pair(source, white[1], "auto", no_network)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(said) == 1 and "source is small" in said[0]
    assert found.driving.zoom is None and found.source.zoom is not None
    # At work it is at least half as large again as in its picture.
    assert found.source.mattes.mean() > 2 * (source.frames.amin(1) < 0.9).float().mean()
    blurred = found.source.zoom.enter(source.frames)
    sharp = exact(found.source.zoom, small)
    wrong, without = ((x - sharp).abs().mean() for x in (found.source.clip.frames, blurred))
    assert wrong < 0.5 * without, (wrong, without)
    pair_on(found, mover).save(tmp_path)
    made = ClipPair.load(tmp_path)
    result = set_on_ground(found.source.clip.frames, made, "source")
    assert foreground_iou(result, source.frames) > 0.85
    times = canvas_factor(made, made.box)
    assert found.source.zoom.side < 64 and times == 3
    large = set_on_ground(found.source.clip.frames, made, "source", times)
    truth = from_pixels(small)
    back = [crop_back(x, made.box.times(n)) for x, n in ((result, 1), (large, times))]
    assert (back[1] - truth).abs().mean() < 0.6 * (back[0] - truth).abs().mean()
    assert torch.equal(result[:, :, :60], torch.ones_like(result[:, :, :60]))
    clear = set_on_ground(found.source.clip.frames, made, "transparent")
    assert clear[:, 3, :60].max() == -1 and clear[:, 3].max() == 1


def filled(drawn: creatures.Drawn) -> np.ndarray:
    """The character cropped to, so that it fills the frame from side to side."""
    columns = np.flatnonzero((drawn.coverage > 127).any((0, 1)))
    rows = np.flatnonzero((drawn.coverage > 127).any((0, 2)))
    frames = drawn.frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.ascontiguousarray(frames)


def test_a_driving_character_that_fills_the_frame_gets_room(pair, white, tmp_path) -> None:
    driving = clip_of(filled(pair.driving), tmp_path / "driving")
    found = cut_pair(white[0], driving, "auto", no_network)
    mattes = found.driving.mattes >= 0.5
    assert max(box_of(mattes)[2:]) <= 0.8 * 128
    assert found.driving.zoom is not None and found.source.zoom is None
    back = found.driving.zoom.leave(found.driving.clip.frames)
    assert (back - driving.frames).abs().mean() < 0.05
    assert cut_pair(driving, white[1], "auto", no_network).source.zoom is None


def test_small_on_a_texture_is_cut_again_from_near(pair, white, tmp_path, caplog) -> None:
    grass = draw_ground("grass", 512, 512, 0)
    pictures = np.repeat(grass[None], FRAMES, axis=0)
    part = (slice(None), slice(300, 428), slice(40, 168))
    pictures[part] = on_ground(pair.source, pictures[part])
    source = clip_of(pictures, tmp_path / "source")
    found = cut_pair(source, white[1], "auto", loaded).source
    assert found.zoom is not None and found.ground is not None
    truth = np.zeros((FRAMES, 512, 512, 1), np.uint8)
    truth[:, 300:428, 40:168, 0] = pair.source.coverage
    wanted = exact(found.zoom, truth)[:, 0] > 0
    assert any("from near" in r.getMessage() for r in caplog.records)
    afar = cut_pair(replace(source, path=None), white[1], "auto", loaded).source

    def overlap(mattes: Tensor) -> float:
        return float(((mattes >= 0.5) & wanted).sum() / ((mattes >= 0.5) | wanted).sum())

    assert overlap(found.mattes) > max(0.78, overlap(afar.mattes) + 0.02)


def test_masks_of_a_small_character_are_read_from_near_too(pair, white, tmp_path) -> None:
    part = (slice(None), slice(300, 428), slice(40, 168))
    pictures = np.full((FRAMES, 512, 512, 3), 255, np.uint8)
    pictures[part] = on_ground(pair.source, draw_ground("grass", 128, 128, 0))
    masks = np.zeros((FRAMES, 512, 512, 1), np.uint8)
    masks[part] = pair.source.coverage[..., None]
    write_frames(tmp_path / "masks" / "source", from_pixels(masks.repeat(3, 3)))
    source = clip_of(pictures, tmp_path / "source")
    found = cut_pair(source, white[1], str(tmp_path / "masks"), no_network).source
    assert found.zoom is not None
    wanted = exact(found.zoom, masks.repeat(3, 3))[:, 0] / 2 + 0.5
    afar = torch.from_numpy(masks[..., 0]).float()[:, None] / 255
    afar = torch.nn.functional.interpolate(afar, (128, 128), mode="area")
    blurred = found.zoom.enter(afar, 0.0)[:, 0]
    wrong, without = ((x - wanted).abs().mean() for x in (found.mattes, blurred))
    assert wrong < 0.5 * without, (wrong, without)
