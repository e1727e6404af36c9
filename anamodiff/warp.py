"""Coordinate grids, and warping of pictures, latents and Gaussian noise.

A *flow* is an absolute backward sampling grid ``b h w 2``: for every output cell the coordinates
(x, y) in [-1, 1] to sample at, with the centres of the corner cells at -1 and 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.options import GenerationOptions, NoiseWarp

#: Weight of fresh noise with nearest sampling: enough to make equal neighbours and seeds differ.
NEAREST_FRESH = 0.1

# Offset that breaks ties of nearest sampling, in about half cells.
_TIE = 1e-3

# Of [-1, 1] times the points along a side: neighbours of one part differ by a quarter of it.
_JUMP = 8.0

# Usual flows leave a standard deviation of about 0.7; this much fresh noise brings it near one on
# average (not in every cell, hence `preserve`).
PAPER_NOISE_WEIGHT = GenerationOptions.noise_weight


def identity_grid(
    height: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The identity flow, ``h w 2``."""
    y = torch.linspace(-1, 1, height, device=device, dtype=dtype)
    x = torch.linspace(-1, 1, width, device=device, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def warp(
    x: Tensor,
    flow: Tensor,
    *,
    align_corners: bool = True,
    padding_mode: str = "border",
    interpolation: str = "bilinear",
) -> Tensor:
    """Backward warping: sample `x` at the coordinates of `flow`.

    Args:
        x: ``b c h w``, of any floating type; a batch of one is expanded.
        flow: ``b h' w' 2``.
        align_corners: False only to reproduce references that mix the two conventions.
        padding_mode: ``border``, ``zeros`` or ``reflection``, as in ``grid_sample``.
        interpolation: ``bilinear`` or ``nearest``.

    Returns:
        ``b c h' w'`` in the type of `x`; computed in at least 32 bits, since half-precision
        coordinates are off by whole cells.

    Raises:
        AnaMoDiffError: the batches differ and `x` is not a batch of one.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    flow = flow.to(dtype)
    if padding_mode == "border" and align_corners and x.device.type == "mps":
        # The same by definition; torch before 2.13 has no border there.
        flow, padding_mode = flow.clamp(-1, 1), "zeros"
    sampled = F.grid_sample(
        _match_batch(x, flow).to(dtype),
        flow,
        mode=interpolation,
        padding_mode=padding_mode,
        align_corners=align_corners,
    )
    return sampled.to(x.dtype)


def finer(height: int, width: int) -> tuple[int, int]:
    """The grid that `warp_without_jags` takes its flow on: with points between all points."""
    return 2 * height - 1, 2 * width - 1


def warp_without_jags(x: Tensor, flow: Tensor) -> Tensor:
    """`warp` by a flow on the `finer` grid: edges between what moves apart are mixed, not stepped.

    Args:
        x: ``b c h w``; a batch of one is expanded.
        flow: ``b 2h-1 2w-1 2``.

    Returns:
        ``b c h w``. Where the flow jumps a pixel is the mean of what lies about it (binomial
        weights); everywhere else it is what lies at it, as sharp as `warp` gives it.
    """
    moved = warp(x, flow)
    across = (flow[:, :, 1:] - flow[:, :, :-1]).norm(dim=-1)
    down = (flow[:, 1:] - flow[:, :-1]).norm(dim=-1)
    jump = F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1)) > _JUMP / flow.shape[1]
    edges = F.max_pool2d(jump[:, None].to(moved.dtype), 3, stride=2, padding=1) > 0
    weights = moved.new_tensor([0.25, 0.5, 0.25])
    kernel = (weights[:, None] * weights).expand(moved.shape[1], 1, 3, 3)
    padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")
    mixed = F.conv2d(padded, kernel, stride=2, groups=moved.shape[1])
    return torch.where(edges, mixed, moved[..., ::2, ::2])


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow ``b h' w' 2`` to ``b h w 2``; its coordinates do not depend on the size."""
    if flow.shape[1:3] == (height, width):
        return flow
    channels = rearrange(flow, "b h w xy -> b xy h w")
    channels = F.interpolate(channels, (height, width), mode="bilinear", align_corners=True)
    return rearrange(channels, "b xy h w -> b h w xy")


def thin_out_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow ``b h' w' 2`` at the nearest of its points to those of a coarser grid ``b h w 2``.

    Unlike `resize_flow` it mixes no two motions where one part of a picture passes another.
    """
    rows = torch.linspace(0, flow.shape[1] - 1, height, device=flow.device).round().long()
    columns = torch.linspace(0, flow.shape[2] - 1, width, device=flow.device).round().long()
    return flow[:, rows][:, :, columns]


def foldover(flow: Tensor) -> Tensor:
    """Share (b,) in [0, 1] of a flow's cells where it is folded over or flat.

    A cell lies between four neighbouring points of the grid ``b h w 2``. It is folded if the
    determinant of the flow's Jacobian at its centre is not positive: the source appears mirrored.
    """
    along = flow[:, :, 1:] - flow[:, :, :-1]
    down = flow[:, 1:] - flow[:, :-1]
    along, down = along[:, 1:] + along[:, :-1], down[:, :, 1:] + down[:, :, :-1]
    determinant = along[..., 0] * down[..., 1] - along[..., 1] * down[..., 0]
    return (determinant <= 0).float().mean(dim=(1, 2))


def warp_noise(
    noise: Tensor,
    flow: Tensor,
    *,
    mode: NoiseWarp = "nearest",
    generator: torch.Generator | None = None,
    weight: float = PAPER_NOISE_WEIGHT,
) -> Tensor:
    """Warp Gaussian noise (paper, section 3.5).

    Bilinear sampling averages neighbours and loses variance: a shift by half a cell both ways
    leaves a quarter. Modes:

    - ``nearest``: each cell takes the value of one cell, so that the variance stays, and a little
      fresh noise (`NEAREST_FRESH`) makes neighbours differ that are sampled from one cell. It
      keeps the character best.
    - ``preserve``: bilinear, plus independent noise of exactly the missing variance, which follows
      from the four bilinear weights of each cell and the noise's own neighbour correlation (that
      of DDIM inversion is not quite white). Cells sampled outside the frame are all new.
    - ``paper``: bilinear, plus `weight` times fresh noise.
    - ``bilinear``: nothing is added.

    Args:
        noise: ``b c h w``; a batch of one is expanded.
        flow: ``b h' w' 2``.
        generator: of the fresh noise.
        weight: that of ``paper``.

    Returns:
        ``b c h' w'`` in the type of `noise`.

    Raises:
        AnaMoDiffError: an unknown mode, or batches that do not fit.
    """
    if mode == "bilinear":
        return warp(noise, flow)
    if mode == "nearest":
        # Exact ties would be rounded to even cells, so that every other cell appeared twice.
        size = torch.tensor(noise.shape[:-3:-1], device=flow.device)
        moved = warp(noise, flow + _TIE / size, interpolation="nearest")
        fresh = moved.std() * _fresh_like(moved, generator)
        return (1 - NEAREST_FRESH**2) ** 0.5 * moved + NEAREST_FRESH * fresh
    if mode == "paper":
        moved = warp(noise, flow)
        return moved + weight * _fresh_like(moved, generator)
    if mode != "preserve":
        raise AnaMoDiffError(
            f"expected a noise warp of nearest, preserve, paper or bilinear, got {mode!r}: "
            "name one of them"
        )
    moved = warp(noise, flow, padding_mode="zeros")
    missing = _missing_variance(noise, flow).to(moved.dtype)
    return moved + missing.sqrt() * _fresh_like(moved, generator)


def neighbour_correlation(noise: Tensor) -> float:
    """Mean correlation of cells of ``b c h w`` with right and lower neighbours; 0 if white.

    Diffusion models are trained on white noise: from correlated noise they denoise blurred
    pictures.
    """
    own, right, below, _ = (moment.mean() for moment in _neighbour_moments(noise))
    return float((right + below) / (2 * own))


def _match_batch(x: Tensor, flow: Tensor) -> Tensor:
    if x.shape[0] == flow.shape[0]:
        return x
    if x.shape[0] != 1:
        raise AnaMoDiffError(
            f"expected one picture or as many as flows ({flow.shape[0]}), got {x.shape[0]}: "
            "pass one batch entry for each flow"
        )
    return x.expand(flow.shape[0], -1, -1, -1)


def _fresh_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else x.device
    return torch.randn(x.shape, generator=generator, device=device).to(x)


def _missing_variance(noise: Tensor, flow: Tensor) -> Tensor:
    """Variance ``b 1 h' w'`` that bilinear sampling with zeros outside loses, at least 0."""
    top_left, top_right, bottom_left, bottom_right = _bilinear_weights(flow, *noise.shape[-2:])
    own, right, below, diagonal = _neighbour_moments(noise)
    kept = own * (top_left**2 + top_right**2 + bottom_left**2 + bottom_right**2)
    kept = kept + 2 * right * (top_left * top_right + bottom_left * bottom_right)
    kept = kept + 2 * below * (top_left * bottom_left + top_right * bottom_right)
    kept = kept + 2 * diagonal * (top_left * bottom_right + top_right * bottom_left)
    return rearrange((own - kept).clamp_min(0), "b h w -> b 1 h w")


def _neighbour_moments(noise: Tensor) -> list[Tensor]:
    """Mean products ``b 1 1`` of a cell with itself and its right, lower, diagonal neighbours."""
    x = noise.float()
    products = [
        x * x,
        x[..., :, 1:] * x[..., :, :-1],
        x[..., 1:, :] * x[..., :-1, :],
        (x[..., 1:, 1:] * x[..., :-1, :-1] + x[..., 1:, :-1] * x[..., :-1, 1:]) / 2,
    ]
    return [rearrange(p.mean(dim=(1, 2, 3)), "b -> b 1 1") for p in products]


def _bilinear_weights(flow: Tensor, height: int, width: int) -> list[Tensor]:
    """Bilinear weights ``b h' w'`` of the four cells around each point, zero outside the frame."""
    size = torch.tensor([width - 1, height - 1], device=flow.device, dtype=torch.float32)
    place = (flow.float() + 1) / 2 * size
    corner = place.floor()
    share = place - corner
    weights = []
    for dy in (0, 1):
        for dx in (0, 1):
            step = torch.tensor([dx, dy], device=flow.device, dtype=torch.float32)
            inside = ((corner + step >= 0) & (corner + step <= size)).all(dim=-1)
            weight = (1 - share + step * (2 * share - 1)).prod(dim=-1)
            weights.append(weight * inside)
    return weights
