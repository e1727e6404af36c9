"""Coordinate grids, and warping of pictures, latents and Gaussian noise.

A *flow* is an absolute backward sampling grid ``b h w 2``: at every output place it holds the
coordinates ``(x, y)`` in [-1, 1] to look up, with the centres of the corner cells at -1 and 1.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

#: Share of fresh noise beside the nearest cells: enough to part equal neighbours and seeds.
NEAREST_FRESH = 0.1

# In halves of a cell, about.
_TIE = 1e-3

NoiseWarp = Literal["nearest", "preserve", "paper", "bilinear"]

# A flow of the usual strength leaves a standard deviation of about 0.7; as much again of fresh
# noise brings it back near one on the average (not at every place, hence `preserve`).
PAPER_NOISE_WEIGHT = 0.7


def identity_grid(
    height: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the flow ``h w 2`` that looks every place up at itself."""
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
    """Sample `x` where `flow` says, bilinearly unless `interpolation` is ``nearest``.

    Args:
        x: ``b c h w``, of any floating type; a batch of one serves every flow.
        flow: ``b h' w' 2``, coordinates in [-1, 1].
        align_corners: ``False`` only to reproduce references that mix the two conventions.
        padding_mode: ``grid_sample``'s: what lies outside (``border``, ``zeros``, ``reflection``).

    Returns:
        ``b c h' w'`` in the type of `x`; computed in at least 32 bits, since half-precision
        coordinates are off by whole cells.

    Raises:
        AnaMoDiffError: the batches differ and `x` is not a batch of one.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    sampled = F.grid_sample(
        _match_batch(x, flow).to(dtype),
        flow.to(dtype),
        mode=interpolation,
        padding_mode=padding_mode,
        align_corners=align_corners,
    )
    return sampled.to(x.dtype)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow ``b h' w' 2`` to ``b h w 2``; coordinates are relative, so values stay."""
    if flow.shape[1:3] == (height, width):
        return flow
    channels = rearrange(flow, "b h w xy -> b xy h w")
    channels = F.interpolate(channels, (height, width), mode="bilinear", align_corners=True)
    return rearrange(channels, "b xy h w -> b h w xy")


def foldover(flow: Tensor) -> Tensor:
    """Share of a flow's cells that are folded over or flat: ``b``, in [0, 1].

    A cell lies between four neighbouring places ``b h w 2``; it is folded where the determinant
    of the flow's Jacobian in its middle is not positive, so that it shows the source mirrored.
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
    """Move Gaussian noise along a flow (paper, section 3.5).

    Bilinear sampling averages neighbours, so it loses variance: a half-cell shift both ways
    leaves a quarter. ``preserve`` knows the four weights at each place, hence the variance that
    they leave, and adds exactly the missing part as independent noise; what comes from outside
    the frame is all new. Noise from DDIM inversion is not quite white: its neighbours agree a
    little and less is lost, so the agreement is measured and counted. ``paper`` adds `weight`
    times fresh noise everywhere, ``bilinear`` adds nothing. ``nearest`` averages nothing: each
    place takes the value of one cell, so variance stays, and a little fresh noise (`NEAREST_FRESH`)
    parts neighbours that the flow has made equal. It keeps the character best.

    Args:
        noise: ``b c h w``; a batch of one serves every flow.
        flow: ``b h' w' 2``.
        generator: where the fresh noise comes from.
        weight: share of fresh noise, for ``paper`` alone.

    Returns:
        ``b c h' w'`` in the type of `noise`.

    Raises:
        AnaMoDiffError: an unknown mode, or batches that do not fit.
    """
    if mode == "bilinear":
        return warp(noise, flow)
    if mode == "nearest":
        # Ties are rounded to even cells, which would show every other cell twice: no exact ties.
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
    """Correlation of cells with their right and lower neighbours; 0 for white noise ``b c h w``.

    Diffusion models know white noise only: what a warp smears is denoised to blurred pictures.
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
    """Variance that bilinear sampling with zeros outside takes away: ``b 1 h' w'``, >= 0."""
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
    """Weights ``b h' w'`` of the four cells round each looked-up place, zero outside the frame."""
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
