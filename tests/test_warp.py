"""Warping: identity, parity of the noise's variance, and what is refused."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.warp import (
    finer,
    foldover,
    identity_grid,
    neighbour_correlation,
    resize_flow,
    thin_out_flow,
    warp,
    warp_noise,
    warp_without_jags,
)

SIZE = 32


def flow_of(kind: str) -> torch.Tensor:
    """One flow of a kind, 1 h w 2."""
    grid = identity_grid(SIZE, SIZE)
    cell = 2 / (SIZE - 1)
    if kind == "half":
        grid = grid + cell / 2
    elif kind == "rotation":
        turn = math.radians(23)
        grid = grid @ torch.tensor(
            [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
        )
    elif kind == "zoom":
        grid = grid * 0.61
    elif kind == "shrink":
        grid = grid * 1.7
    return grid[None]


def test_grid_is_x_then_y_and_meets_the_corners() -> None:
    grid = identity_grid(3, 5)
    assert grid.shape == (3, 5, 2)
    assert_close(grid[0, -1], torch.tensor([1.0, -1.0]))
    assert_close(grid[-1, 0], torch.tensor([-1.0, 1.0]))


def test_identity_returns_its_input() -> None:
    x = torch.randn(2, 4, 7, 12, generator=torch.Generator().manual_seed(0))
    flow = identity_grid(7, 12).expand(2, -1, -1, -1)
    assert_close(warp(x, flow), x, atol=1e-5, rtol=0)
    # The other convention blurs: this is why the library does not use it.
    assert (warp(x, flow, align_corners=False) - x).abs().max() > 0.1


def test_whole_cells_shift_and_the_border_goes_on() -> None:
    x = torch.arange(5.0).expand(1, 1, 4, 5)
    flow = identity_grid(4, 5)[None] + torch.tensor([2 / 4, 0.0])
    assert_close(warp(x, flow)[0, 0, 0], torch.tensor([1.0, 2, 3, 4, 4]))


class OnMps(torch.Tensor):
    """Stands for a tensor on Apple's MPS."""

    device = torch.device("mps")  # type: ignore[assignment]


def test_the_border_goes_on_where_torch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """On MPS, torch before 2.13 raises for padding_mode="border"."""
    x = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    flows = {kind: flow_of(kind) for kind in ("half", "rotation", "shrink")}
    expected = {kind: warp(x, flow) for kind, flow in flows.items()}
    real, modes = F.grid_sample, []

    def grid_sample(*given: torch.Tensor, padding_mode: str, **more: object) -> torch.Tensor:
        modes.append(padding_mode)
        return real(*given, padding_mode=padding_mode, **more)

    monkeypatch.setattr(F, "grid_sample", grid_sample)
    for kind, flow in flows.items():
        found = warp(x.as_subclass(OnMps), flow).as_subclass(torch.Tensor)
        assert_close(found, expected[kind], atol=1e-5, rtol=0)
    assert set(modes) == {"zeros"}


def test_half_precision_is_sampled_in_full() -> None:
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)).half()
    flow = identity_grid(64, 64)[None]
    assert warp(x, flow).dtype == torch.float16
    assert_close(warp(x, flow), x, atol=2e-3, rtol=0)


def test_one_picture_serves_many_flows_and_others_are_refused() -> None:
    flow = torch.cat([flow_of("zoom"), flow_of("half")])
    x = torch.randn(1, 2, SIZE, SIZE)
    assert_close(warp(x, flow)[1:], warp(x, flow[1:]))
    with pytest.raises(AnaMoDiffError, match="as many as flows"):
        warp(torch.randn(3, 2, SIZE, SIZE), flow)


def test_gradients_of_picture_and_flow() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    shift = 0.2 * torch.rand(1, 5, 4, 2, generator=generator, dtype=torch.float64)
    flow = (0.7 * identity_grid(5, 4, dtype=torch.float64) + shift).requires_grad_()
    assert torch.autograd.gradcheck(warp, (x, flow))


def test_resizing_keeps_the_identity() -> None:
    small = identity_grid(8, 8)[None]
    assert_close(resize_flow(small, 20, 13)[0], identity_grid(20, 13))
    assert resize_flow(small, 8, 8) is small


@pytest.fixture(scope="module")
def lofnet_flows() -> torch.Tensor:
    """Flows of the shipped network: a drawn creature after another's jump, 5 h w 2."""
    from anamodiff import creatures
    from anamodiff.backbone.model import Backbone
    from anamodiff.lofnet.animate import animate
    from anamodiff.lofnet.model import LOFNet
    from anamodiff.options import AdaptationOptions
    from anamodiff.resources import find
    from anamodiff.video.letterbox import from_pixels

    pair = creatures.draw_pair(
        3, source_species="turtle", driving_species="rhino", motion="jump", frames=6
    )
    backbone = Backbone.load("mini", device="cpu")
    source, driving = from_pixels(pair.source.frames[:1]), from_pixels(pair.driving.frames)
    made = animate(
        LOFNet.load(find("checkpoints/mini") / "lofnet"), source, backbone.encode(source), driving,
        adaptation=AdaptationOptions(),
    )  # fmt: skip
    assert (made.flow[1:] - identity_grid(SIZE, SIZE)).abs().max() > 0.1
    return made.flow[1:]


NOISES = 1000


def noises_and_flows(
    kind: str, request: pytest.FixtureRequest
) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    """A thousand noises, as many flows of a kind, and the generator to go on with."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(NOISES, 4, SIZE, SIZE, generator=generator)
    flow = request.getfixturevalue("lofnet_flows") if kind == "lofnet" else flow_of(kind)
    return noise, flow.repeat_interleave(NOISES // len(flow), dim=0), generator


@pytest.mark.parametrize("kind", ["identity", "half", "rotation", "zoom", "shrink", "lofnet"])
def test_preserved_noise_stays_standard(kind: str, request: pytest.FixtureRequest) -> None:
    noise, flow, generator = noises_and_flows(kind, request)
    moved = warp_noise(noise, flow, mode="preserve", generator=generator)
    assert abs(moved.mean()) < 0.01
    assert abs(moved.std() - 1) < 0.02
    # At every single place of every flow too, not only on the average over places.
    places = moved.unflatten(0, (-1, 200)).std(dim=(1, 2))
    assert abs(places - 1).max() < 0.15


@pytest.mark.parametrize("kind", ["half", "rotation", "zoom", "lofnet"])
def test_neighbours_agree_less_where_variance_is_preserved(
    kind: str, request: pytest.FixtureRequest
) -> None:
    noise, flow, generator = noises_and_flows(kind, request)
    found = {
        mode: neighbour_correlation(warp_noise(noise, flow, mode=mode, generator=generator))
        for mode in ("bilinear", "paper", "preserve", "nearest")
    }
    assert abs(neighbour_correlation(noise)) < 0.005
    # The flow network's flows are near the identity over most of the ground.
    margin = 0.03 if kind == "lofnet" else 0.05
    assert found["bilinear"] > max(found["paper"], found["preserve"]) + margin
    assert found["preserve"] < 0.6
    if kind == "half":  # an even half-cell shift both ways: each is the mean of four
        assert found["bilinear"] == pytest.approx(0.5, abs=0.02)
        assert found["preserve"] == pytest.approx(0.125, abs=0.02)
        assert found["nearest"] == pytest.approx(0, abs=0.05)
    if kind == "zoom":  # cells are shown twice
        assert found["nearest"] > 0.3


def test_foldover_is_the_share_of_mirrored_cells() -> None:
    still = identity_grid(9, 9)
    mirrored, half = still * torch.tensor([-1.0, 1.0]), still.clone()
    half[:, 4:, 0] = half[:, 4:, 0].flip(1)  # the right half is sampled in reverse
    flat = torch.zeros_like(still)
    turned = 0.3 * still.flip(0, 1)  # both axes: turned, not mirrored
    shares = foldover(torch.stack([still, mirrored, half, flat, turned]))
    assert_close(shares[[0, 1, 3, 4]], torch.tensor([0.0, 1, 1, 0]))
    assert shares[2] == pytest.approx(0.5, abs=0.01)


def test_nearest_noise_is_moved_and_keeps_its_variance() -> None:
    noise = torch.randn(1, 4, 16, 16)
    flow = identity_grid(16, 16)[None] + torch.tensor([2 / 15, 0.0])  # one cell to the right
    moved = warp_noise(noise, flow, mode="nearest")
    both = torch.stack([moved[..., :-1].flatten(), noise[..., 1:].flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.985  # a tenth is fresh
    between = flow + torch.tensor([0.9 / 15, 0.9 / 15])
    moved = warp_noise(noise, between, mode="nearest")
    torch.testing.assert_close(moved.std(), noise.std(), atol=0.05, rtol=0)


def test_preserved_noise_follows_the_flow() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(20, 4, SIZE, SIZE, generator=generator)
    still = warp_noise(
        noise, flow_of("identity").expand(20, -1, -1, -1), mode="preserve", generator=generator
    )
    assert_close(still, noise, atol=0.02, rtol=0)
    flow = flow_of("half").expand(20, -1, -1, -1)
    moved, plain = warp_noise(noise, flow, mode="preserve", generator=generator), warp(noise, flow)
    inner = (..., slice(0, -1), slice(0, -1))
    agreement = (moved[inner] * plain[inner]).mean() / plain[inner].square().mean()
    assert abs(agreement - 1) < 0.05


def test_preserve_does_not_blow_up_smooth_noise() -> None:
    # DDIM-inverted noise is not white. Neighbours that agree lose less, so less must be added.
    generator = torch.Generator().manual_seed(3)
    white = torch.randn(100, 4, SIZE, SIZE, generator=generator)
    smooth = white + 0.7 * (white.roll(1, -1) + white.roll(1, -2))
    smooth = smooth / smooth.std()
    for kind in ("half", "rotation", "zoom"):
        flow = flow_of(kind).expand(100, -1, -1, -1)
        assert abs(warp_noise(smooth, flow, mode="preserve", generator=generator).std() - 1) < 0.02


def test_other_modes() -> None:
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(50, 4, SIZE, SIZE, generator=generator)
    flow = flow_of("half").expand(50, -1, -1, -1)
    bilinear = warp_noise(noise, flow, mode="bilinear")
    inner = bilinear[..., :-1, :-1]
    assert abs(inner.std() - 0.5) < 0.02  # a quarter of the variance is left
    paper = warp_noise(noise, flow, mode="paper", weight=0.6, generator=generator)
    assert abs(paper[..., :-1, :-1].var() - (0.25 + 0.36)) < 0.02
    with pytest.raises(AnaMoDiffError, match="nearest, preserve, paper or bilinear"):
        warp_noise(noise, flow, mode="cubic")


def test_same_generator_same_noise() -> None:
    noise = torch.randn(1, 4, SIZE, SIZE)
    flow = flow_of("rotation").expand(3, -1, -1, -1)
    first, second = (
        warp_noise(noise, flow, mode="preserve", generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    fresh = [first[i] - warp(noise, flow[:1])[0] for i in range(2)]
    assert (fresh[0] - fresh[1]).abs().max() > 0.5  # every frame gets its own


def test_a_thinned_flow_points_where_it_did_and_mixes_nothing() -> None:
    thin = thin_out_flow(identity_grid(128, 128)[None], 32, 32)
    assert (thin - identity_grid(32, 32)).abs().max() <= 1 / 127 + 1e-6  # half a pixel
    edge = torch.zeros(1, 128, 128, 2)
    edge[:, 50:] = 1
    assert set(thin_out_flow(edge, 32, 32).unique().tolist()) == {0.0, 1.0}


def test_edges_between_motions_are_mixed_and_the_rest_is_sharp() -> None:
    height, width = 12, 16
    picture = torch.rand(1, 2, height, width)
    fine = identity_grid(*finer(height, width))[None]
    torch.testing.assert_close(warp_without_jags(picture, fine), picture)
    halves = torch.zeros(1, 1, height, width)
    halves[..., 8:] = 1
    flow = torch.full((1, *finer(height, width), 2), -1.0)
    flow[:, :, 15:, 0] = 1.0  # from half a pixel left of column 8 on it shows the right half
    shown = warp_without_jags(halves, flow)[0, 0]
    torch.testing.assert_close(shown[:, 7], torch.full((height,), 0.25))
    torch.testing.assert_close(shown[:, 8], torch.full((height,), 1.0))
    assert (shown[:, :7] == 0).all() and (shown[:, 9:] == 1).all()
