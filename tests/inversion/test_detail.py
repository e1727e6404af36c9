"""Detail of the warped clip on the character, and nowhere else."""

import torch

from anamodiff.inversion.detail import keep_detail

SIDE = 128


def clips(shift: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A grey square that lost its stripes, and the square with stripes, brighter, `shift` lower."""
    frames = torch.ones(2, 3, SIDE, SIDE)
    frames[:, :, 32:96, 32:96] = -0.2
    warped = torch.ones(2, 3, SIDE, SIDE)
    stripes = (torch.arange(SIDE) // 4 % 2).float() * 0.4 - 0.2
    warped[:, :, 32 + shift : 96 + shift, 32:96] = 0.1 + stripes[32:96]
    return frames, warped


def test_stripes_come_back_and_colours_stay() -> None:
    frames, warped = clips()
    found = keep_detail(frames, warped, 0.06)
    inner = (slice(None), slice(None), slice(44, 84), slice(44, 84))
    assert found[inner].std() > 0.8 * warped[inner].std() > 0.1
    assert (found[inner].mean() - frames[inner].mean()).abs() < 0.03, "not the warped clip's"
    assert torch.equal(keep_detail(frames, warped, 0.0), frames)


def test_outlines_are_the_warped_clip_s_and_the_ground_stays_white() -> None:
    frames, warped = clips()
    blurred = torch.nn.functional.avg_pool2d(frames, 7, 1, 3, count_include_pad=False)
    found = keep_detail(blurred, warped, 0.06)
    rim = (slice(None), slice(None), slice(29, 35), slice(44, 84))
    assert (found[rim] - frames[rim]).abs().mean() < 0.7 * (blurred[rim] - frames[rim]).abs().mean()
    assert torch.equal(found[:, :, :20], frames[:, :, :20]) and found.abs().max() <= 1
    found = keep_detail(frames, warped, 0.06)
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[32:96, 32:96] = False
    assert torch.equal(found[..., outside], frames[..., outside]), "brighter stripes leave no rim"


def test_what_the_source_does_not_show_stays() -> None:
    frames, warped = clips()
    visible = torch.ones(2, 16, 16)
    visible[:, :, :8] = 0
    found = keep_detail(frames, warped, 0.06, visible)
    torch.testing.assert_close(found[..., :56], frames[..., :56])
    assert found[:, :, 44:84, 76:84].std() > 0.1


def test_without_a_character_nothing_changes() -> None:
    empty = torch.ones(2, 3, SIDE, SIDE)
    assert torch.equal(keep_detail(empty, clips()[1], 0.06), empty)
