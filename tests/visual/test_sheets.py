"""Key points on frames, captions, comparisons and sheets."""

import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff.errors import AnaMoDiffError
from anamodiff.video.letterbox import to_pixels
from anamodiff.visual.sheets import (
    contact_sheet,
    draw_points,
    label,
    point_colours,
    save_picture,
    side_by_side,
)

WHITE = torch.ones(2, 3, 64, 96)


def test_points_lie_where_they_should():
    points = torch.tensor([[[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, -0.5]]]).expand(2, 4, 2)
    drawn = to_pixels(draw_points(WHITE, points))
    places = [(0, 0), (32, 48), (63, 95), (16, 71)]
    for (row, column), colour in zip(places, point_colours(4), strict=True):
        assert np.abs(drawn[1, row, column].astype(int) - colour).max() < 40


def test_a_disc_is_round_centred_and_rimmed():
    points = torch.tensor([[[0.1337, -0.2]]])
    ink = (draw_points(torch.ones(1, 3, 200, 200), points)[0].mean(0) < 0.9).float()
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    centre = (columns * ink).sum() / ink.sum(), (rows * ink).sum() / ink.sum()
    assert centre[0] == pytest.approx((1.1337) * 199 / 2, abs=0.2)
    assert centre[1] == pytest.approx(0.8 * 199 / 2, abs=0.2)
    assert ink.sum() == pytest.approx(np.pi * (3.6 * 4 / 3 + 0.5) ** 2, rel=0.15)
    drawn = to_pixels(draw_points(torch.ones(1, 3, 200, 200), points))[0]
    assert (drawn.reshape(-1, 3).max(axis=1) < 60).sum() > 10


def test_colours_are_distinct_and_stable():
    colours = np.array(point_colours(10)).astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(10, dtype=int)
    assert apart.min() > 90
    assert point_colours(3) == point_colours(10)[:3]
    assert len(set(point_colours(40))) == 40


def test_points_outside_or_lost_are_left_out():
    far = [[5.0, 5.0], [float("nan"), 0.0], [float("inf"), 0.0], [1e30, 0.0]]
    assert torch.equal(draw_points(WHITE, torch.tensor([far, far])), WHITE)
    edge = draw_points(WHITE, torch.tensor([[[-1.01, 0.0]]] * 2))
    assert not torch.equal(edge, WHITE)


def test_points_and_frames_may_be_one_for_all():
    points = torch.zeros(4, 2, 2)
    assert draw_points(WHITE[:1], points).shape == (4, 3, 64, 96)
    assert draw_points(WHITE, points[:1]).shape == (2, 3, 64, 96)
    for wrong in (torch.zeros(3, 2, 2), torch.zeros(2, 2), torch.zeros(2, 2, 3)):
        with pytest.raises(AnaMoDiffError, match="expected points"):
            draw_points(WHITE, wrong)


def test_the_frames_given_are_not_painted_on():
    frames = WHITE.clone()
    draw_points(frames, torch.zeros(2, 1, 2))
    assert torch.equal(frames, WHITE)


@pytest.mark.parametrize("text", ["source", "a name much too long for such a picture" * 3, ""])
def test_label_adds_a_strip_above(text):
    frames = torch.zeros(2, 3, 64, 96)
    labelled = label(frames, text)
    above = labelled.shape[-2] - 64
    assert labelled.shape == (2, 3, 64 + above, 96) and 10 <= above <= 24
    np.testing.assert_array_equal(to_pixels(labelled)[:, above:], to_pixels(frames))
    assert (labelled[:, :, :above].min() < 0) == bool(text)
    assert labelled[..., :above, 0].min() == 1  # nothing is cut off at the edge


def test_side_by_side_is_watchable_and_stretches_time():
    moving = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 3, 32, 32)
    short = moving[[0, 5]]
    still = torch.full((1, 3, 64, 32), 0.5)
    shown = side_by_side([("moving", moving), ("short", short), ("still", still)])
    assert shown.shape[0] == 6
    strip = shown.shape[-2] - 256
    assert shown.shape[-1] == 256 + 256 + 128 + 2 * 4 and strip > 10
    torch.testing.assert_close(shown[:, 0, -1, 0], moving[:, 0, 0, 0], atol=0.01, rtol=0)
    assert (shown[:3, 0, -1, 300] == -1).all() and (shown[3:, 0, -1, 300] == 1).all()
    torch.testing.assert_close(shown[:, 0, -1, -1], torch.full((6,), 0.5), atol=0.01, rtol=0)


def test_side_by_side_keeps_large_frames():
    shown = side_by_side([("a", torch.zeros(1, 3, 300, 200)), ("b", torch.zeros(1, 3, 30, 20))])
    assert shown.shape[-1] == 404 and shown.shape[-2] >= 300
    with pytest.raises(AnaMoDiffError, match="at least one column"):
        side_by_side([])


def test_contact_sheet_and_picture_file(tmp_path):
    rows = [("long", torch.zeros(25, 3, 128, 128)), ("one", torch.ones(1, 3, 64, 32))]
    sheet = contact_sheet(rows, columns=5)
    assert sheet.dtype == np.uint8 and sheet.shape == (2 * (20 + 128 + 4), 5 * (128 + 4), 3)
    assert (sheet[30, 10] == 128).all() and (sheet[30, 129] == 255).all()
    path = save_picture(tmp_path / "new" / "sheet.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sheet)
    with pytest.raises(AnaMoDiffError, match="at least one row"):
        contact_sheet([])


def test_contact_sheet_thins_evenly():
    frames = torch.linspace(-1, 1, 20)[:, None, None, None].expand(20, 3, 100, 100)
    sheet = contact_sheet([("a", frames)], columns=4)
    shown = sheet[60, [50 + 104 * index for index in range(4)], 0]
    np.testing.assert_array_equal(shown, to_pixels(frames[[0, 5, 10, 15]])[:, 0, 0, 0])
