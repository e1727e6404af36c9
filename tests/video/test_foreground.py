"""Masks of characters on plain grounds."""

import torch

from anamodiff.video.foreground import foreground_mask


def test_thin_parts_that_hang_on_a_thicker_one_are_kept_where_asked_for():
    frame = torch.ones(1, 3, 64, 64)
    frame[..., 20:40, 20:40] = -1.0
    frame[..., 40:52, 25] = -1.0  # a leg one pixel wide
    frame[..., 10, 10] = -1.0  # a speck
    wide, whole = foreground_mask(frame)[0], foreground_mask(frame, thin=True)[0]
    assert not wide[42:52, 25].any()
    assert whole[40:52, 25].all() and whole[20:40, 20:40].all()
    assert not whole[10, 10]
