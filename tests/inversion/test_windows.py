"""Windows of long clips: how they are cut, and what sampling makes of them."""

import pytest
import torch
from torch import Tensor

from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.sampling import sample
from anamodiff.inversion.windows import split_frames
from anamodiff.options import GenerationOptions
from anamodiff.unet3d.model import UNet3D, inflate

SCHEDULE = Schedule.from_config({})


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def denoise(unet: UNet3D, noise: Tensor, **options: object) -> Tensor:
    text, empty = randn(1, 5, 12, seed=1), randn(1, 5, 12, seed=2)
    return sample(
        unet, noise, embedding=text, negative=empty, schedule=SCHEDULE, steps=3, **options
    )


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_windows_are_the_whole_clip_where_nothing_is_temporal(unet2d, guidance: float) -> None:
    """Sparse-causal attention is on frame 0 and the previous one only: results are the same."""
    unet, noise = inflate(unet2d(), "per_frame"), randn(1, 4, 9, 8, 8)
    whole = denoise(unet, noise, guidance=guidance)
    got = denoise(unet, noise, guidance=guidance, window=6, overlap=2)
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


def test_a_clip_of_one_window_is_the_whole_clip(unet2d) -> None:
    unet, noise = inflate(unet2d()), randn(1, 4, 5, 8, 8)
    whole = denoise(unet, noise, guidance=5.0)
    assert torch.equal(denoise(unet, noise, guidance=5.0, window=5, overlap=2), whole)
    assert not torch.equal(denoise(unet, noise, guidance=5.0, window=4, overlap=2), whole)


@pytest.mark.parametrize("turn", [0, 1, 5, 49])
@pytest.mark.parametrize("frames", [2, 10, 11, 13, 17, 18, 64, 101])
@pytest.mark.parametrize(("window", "overlap"), [(10, 3), (10, 9), (2, 1), (16, 4)])
def test_runs_cover_the_clip_and_fit_their_windows(
    frames: int, window: int, overlap: int, turn: int
) -> None:
    runs = split_frames(frames, window, overlap, turn)
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(frames))
    sizes = [run.stop - max(0, run.start - overlap) for run in runs]
    assert max(sizes) <= window
    fewest = 1 if frames <= window else -(-(frames - overlap) // (window - overlap))
    assert fewest <= len(runs) <= fewest + (turn > 0)


def test_runs_are_about_equally_long() -> None:
    assert split_frames(11, 10, 3) == [slice(0, 7), slice(7, 11)]
    assert split_frames(17, 10, 3) == [slice(0, 10), slice(10, 17)]
    assert split_frames(64) == [slice(0, 64)]


def test_no_seam_returns_before_all_places_had_one() -> None:
    seams = [run.start for turn in range(7) for run in split_frames(64, 10, 3, turn)[1:]]
    assert sorted(seams) == list(range(4, 64))


@pytest.mark.parametrize(("window", "overlap"), [(10, 10), (10, 0), (2, 3)])
def test_windows_without_sense_are_refused(window: int, overlap: int) -> None:
    with pytest.raises(AnaMoDiffError, match="generation.overlap: expected .*at least 1"):
        GenerationOptions(window=window, overlap=overlap)
    with pytest.raises(AnaMoDiffError, match=f"got overlap {overlap} and window {window}"):
        split_frames(11, window, overlap)
