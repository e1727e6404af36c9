"""Finding the character, and giving it its colours back."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.colours import match_histograms
from anamodiff.video.foreground import foreground_mask

GREEN, YELLOW = (-0.6, 0.3, -0.5), (0.8, 0.7, -0.6)


def paint(
    body: tuple[float, ...],
    spot: tuple[float, ...],
    *,
    shift: int = 0,
    ground: float = 1.0,
    noise: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """A smooth-edged disc with a spot, 2 frames of 48 pixels, and its mask."""
    ys, xs = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")

    def disc(x: float, y: float, radius: float) -> Tensor:
        return (radius - ((xs - x - shift) ** 2 + (ys - y) ** 2).sqrt() + 0.5).clamp(0, 1)

    outer, inner = disc(22, 24, 13), disc(18, 20, 6)
    frame = torch.full((3, 48, 48), ground)
    for cover, colour in ((outer, body), (inner, spot)):
        frame = frame + cover * (torch.tensor(colour).view(3, 1, 1) - frame)
    frames = frame.repeat(2, 1, 1, 1)
    random = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames + noise * random).clamp(-1, 1), (outer > 0.5).repeat(2, 1, 1)


def lab(frames: Tensor) -> np.ndarray:
    pictures = (frames.permute(0, 2, 3, 1).numpy() / 2 + 0.5).astype(np.float32)
    return np.stack([cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2LAB) for x in pictures])


def distance(first: Tensor, second: Tensor, mask: Tensor) -> float:
    return float(np.linalg.norm(lab(first) - lab(second), axis=-1)[mask.numpy()].mean())


def overlap(first: Tensor, second: Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("ground", [1.0, 0.2])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_mask_finds_the_character(ground: float, noise: float) -> None:
    frames, mask = paint(GREEN, YELLOW, ground=ground, noise=noise)
    assert overlap(foreground_mask(frames), mask) > 0.9


def test_mask_of_a_nearly_white_character_and_of_a_given_ground() -> None:
    frames, mask = paint((0.8, 0.8, 0.78), (0.7, 0.7, 0.7))
    assert overlap(foreground_mask(frames), mask) > 0.9
    # With its own body colour named as the ground, the rest is what differs.
    inverse = foreground_mask(frames, torch.tensor([0.8, 0.8, 0.78]))
    assert inverse[:, :4].all()


def test_mask_drops_specks_and_fills_pinholes_but_not_holes() -> None:
    frames, mask = paint(GREEN, GREEN)
    frames[:, :, 2:4, 2:4] = -1.0  # a speck
    frames[:, :, 23:26, 22:25] = 1.0  # a pinhole
    assert overlap(foreground_mask(frames), mask) > 0.9
    frames[:, :, 19:31, 16:28] = 1.0  # as in the letter O
    assert not foreground_mask(frames)[:, 22:28, 19:25].any()


def test_mask_of_an_empty_picture_is_empty() -> None:
    assert not foreground_mask(torch.ones(2, 3, 16, 16)).any()


def test_drifted_colours_come_back() -> None:
    """A green and yellow character that turned brown, paler, and moved."""
    reference, _ = paint(GREEN, YELLOW)
    truth, mask = paint(GREEN, YELLOW, shift=4)
    drifted, _ = paint((0.0, -0.2, -0.5), (0.6, 0.45, -0.1), shift=4, ground=0.93, noise=0.02)
    matched = match_histograms(drifted, reference)
    before, after = distance(drifted, truth, mask), distance(matched, truth, mask)
    assert before > 25
    assert after < 6
    outside = foreground_mask(drifted).logical_not()
    assert distance(matched, reference[:, :, :1, :1].expand_as(matched), outside) < 0.01
    kept = match_histograms(drifted, reference, ground="keep")
    assert torch.equal(kept.permute(0, 2, 3, 1)[outside], drifted.permute(0, 2, 3, 1)[outside])


def test_no_halo_around_the_character() -> None:
    """Just outside and on the edge nothing is darker or more colourful than in the truth."""
    reference, _ = paint(GREEN, YELLOW)
    drifted, mask = paint((0.0, -0.2, -0.5), (0.6, 0.45, -0.1))
    ring = torch.nn.functional.max_pool2d(mask.float(), 5, 1, 2).bool() & ~mask
    matched = match_histograms(drifted, reference)
    assert distance(matched, reference, ring) < 8


def test_own_colours_stay() -> None:
    frames, mask = paint(GREEN, YELLOW)
    assert distance(match_histograms(frames, frames), frames, mask) < 0.5


def test_a_white_ground_takes_no_part() -> None:
    drifted, mask = paint((0.0, -0.2, -0.5), (0.6, 0.45, -0.1))
    reference, _ = paint(GREEN, YELLOW)
    small = torch.nn.functional.pad(reference, (40, 40, 40, 40), value=1.0)
    first, second = match_histograms(drifted, reference), match_histograms(drifted, small)
    assert distance(first, second, mask) < 1.0


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_even_colour_does_not_explode(noise: float) -> None:
    """Against a reference of two colours, it becomes one even colour between them."""
    reference, _ = paint(GREEN, YELLOW)
    even, mask = paint((0.0, -0.2, -0.5), (0.0, -0.2, -0.5), noise=noise)
    inside = torch.nn.functional.avg_pool2d(mask.float(), 7, 1, 3) > 0.99
    matched = lab(match_histograms(even, reference))[inside.numpy()]
    assert matched.std(0).max() < 4
    assert np.isfinite(matched).all()


def test_nothing_to_match_changes_nothing() -> None:
    frames, _ = paint(GREEN, YELLOW)
    empty = torch.ones(1, 3, 48, 48)
    assert torch.equal(match_histograms(frames, empty), frames)
    assert torch.equal(match_histograms(empty, frames), empty)


def test_reference_may_have_another_size_and_length() -> None:
    drifted, _ = paint((0.0, -0.2, -0.5), (0.6, 0.45, -0.1))
    reference, _ = paint(GREEN, YELLOW)
    reference = torch.nn.functional.interpolate(reference[:1], scale_factor=2)
    matched = match_histograms(drifted, reference)
    assert matched.shape == drifted.shape
    assert matched.dtype == drifted.dtype
    assert matched.abs().max() <= 1


def test_masks_that_do_not_fit_are_refused() -> None:
    frames, mask = paint(GREEN, YELLOW)
    with pytest.raises(AnaMoDiffError, match="reference_mask"):
        match_histograms(frames, frames, frames_mask=mask, reference_mask=mask[:1])


def test_a_character_on_a_texture_is_not_painted_over() -> None:
    frames, _ = paint(GREEN, YELLOW)
    random = torch.rand(frames.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    _, mask = paint(GREEN, YELLOW)
    textured = torch.where(mask[:, None], frames, random)
    assert torch.equal(match_histograms(textured, textured), textured)
    assert not torch.equal(match_histograms(frames, textured, reference_mask=mask), frames)


def test_gaps_between_legs_are_not_painted() -> None:
    """Two legs whose gap is closed below, and a source whose legs are further apart."""
    frames, source = (torch.ones(2, 3, 96, 96) for _ in range(2))
    brown = torch.tensor([0.3, -0.1, -0.4]).view(3, 1, 1)
    frames[..., 20:80, 30:66] = brown + 0.05
    frames[..., 60:72, 42:54] = 1.0
    source[..., 20:50, 20:76] = brown
    source[..., 50:80, 20:30] = brown
    source[..., 50:80, 66:76] = brown
    assert foreground_mask(frames)[:, 66, 48].all(), "the gap is closed"
    matched = match_histograms(frames, source)
    assert (matched[..., 62:70, 44:52] > 0.99).all()
    assert (matched[..., 30:50, 40:56] - brown).abs().max() < 0.04
