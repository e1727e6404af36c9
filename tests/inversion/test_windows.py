"""Windows of long clips: how they are cut, and what sampling makes of them."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion import GenerationOptions, sample
from anamodiff.inversion.windows import split_frames
from anamodiff.unet3d import UNet3D, inflate

SCHEDULE = Schedule.from_config({})


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_unet(group_norm: str = "pooled") -> UNet3D:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flat = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=12,
            attention_head_dim=2,
        )
    return inflate(flat.eval(), group_norm)


def denoise(unet: UNet3D, noise: Tensor, **options: object) -> Tensor:
    text, empty = randn(1, 5, 12, seed=1), randn(1, 5, 12, seed=2)
    return sample(
        unet, noise, embedding=text, negative=empty, schedule=SCHEDULE, steps=3, **options
    )


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_windows_are_the_whole_clip_where_nothing_is_temporal(guidance: float) -> None:
    """Sparse-causal attention sees frame 0 and the previous one only, so they are the same."""
    unet, noise = make_unet("per_frame"), randn(1, 4, 9, 8, 8)
    whole = denoise(unet, noise, guidance=guidance)
    got = denoise(unet, noise, guidance=guidance, window=6, overlap=2)
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


def test_a_clip_of_one_window_is_the_whole_clip() -> None:
    unet, noise = make_unet(), randn(1, 4, 5, 8, 8)
    whole = denoise(unet, noise, guidance=5.0)
    assert torch.equal(denoise(unet, noise, guidance=5.0, window=5, overlap=2), whole)
    assert not torch.equal(denoise(unet, noise, guidance=5.0, window=4, overlap=2), whole)


@pytest.mark.parametrize("frames", [2, 10, 11, 13, 17, 18, 64, 101])
@pytest.mark.parametrize(("window", "overlap"), [(10, 3), (10, 9), (2, 1), (16, 4)])
def test_runs_cover_the_clip_and_fit_their_windows(frames: int, window: int, overlap: int) -> None:
    runs = split_frames(frames, window, overlap)
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(frames))
    sizes = [run.stop - max(0, run.start - overlap) for run in runs]
    assert max(sizes) <= window
    assert max(sizes) - min(sizes) <= 1
    fewest = 1 if frames <= window else -(-(frames - overlap) // (window - overlap))
    assert len(runs) == fewest


class Largest(TorchDispatchMode):
    """Notes the most numbers that a tensor had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numbers = max(self.numbers, out.numel())
        return out


def test_the_largest_tensor_does_not_grow_with_the_clip() -> None:
    sizes = []
    for frames in (6, 40):
        with Largest() as largest:
            denoise(make_unet(), randn(1, 4, frames, 8, 8), guidance=5.0, window=6, overlap=2)
        sizes.append(largest.numbers)
    assert sizes[1] == sizes[0]


@pytest.mark.parametrize(("window", "overlap"), [(10, 10), (10, 0), (2, 3)])
def test_windows_without_sense_are_refused(window: int, overlap: int) -> None:
    words = f"got overlap {overlap} and window {window}"
    with pytest.raises(AnaMoDiffError, match=words):
        GenerationOptions(window=window, overlap=overlap)
    with pytest.raises(AnaMoDiffError, match=words):
        split_frames(11, window, overlap)
