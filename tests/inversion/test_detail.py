"""Detail of the warped clip within the character, and nowhere else."""

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


def test_outlines_and_ground_are_the_result_s() -> None:
    frames, warped = clips(shift=6)
    found = keep_detail(frames, warped, 0.06)
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[32:96, 32:96] = False
    assert torch.equal(found[..., outside], frames[..., outside])
    assert (found[:, :, 32:36, 32:96] - frames[:, :, 32:36, 32:96]).abs().max() < 0.01
    assert found.abs().max() <= 1


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
