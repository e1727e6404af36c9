"""Random colours, coats, outlines and grounds for batches of pictures, on the pictures' device.

Pictures are ``b 3 256 256`` in [0, 1]. What only some of a batch get is done to a random part of
fixed size, so that nothing has to be read back from a GPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 256
LUMA = (0.299, 0.587, 0.114)
# Shares of grounds; the rest are white.
PLAIN, GRADIENTS, CLOUDS, TEXTURES, STRIPES, SHAPES = 0.18, 0.08, 0.1, 0.08, 0.05, 0.1


def uniform(like: Tensor, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Random float32 numbers ``b *shape`` in [low, high], on the device of `like` ``b ...``."""
    return torch.rand(len(like), *shape, device=like.device) * (high - low) + low


def normal(like: Tensor, *shape: int) -> Tensor:
    """Normal float32 numbers ``b *shape``."""
    return torch.randn(len(like), *shape, device=like.device)


def some(like: Tensor, share: float) -> Tensor | None:
    """Random indices of a share of a batch; None where that is nobody."""
    count = int(share * len(like) + float(torch.rand(())))
    return torch.rand(len(like), device=like.device).argsort()[:count] if count else None


def recolour(pictures: Tensor) -> Tensor:
    """Other hues, mixed channels, grey, negatives, brighter or darker."""
    matrix, lift = _colours(pictures)
    flat = torch.baddbmm(lift.to(pictures.dtype), matrix.to(pictures.dtype), pictures.flatten(2))
    gamma = torch.where(uniform(pictures) < 0.7, (normal(pictures) * 0.28).exp(), 1.0)
    flat = flat.clamp_(1e-3, 1) ** gamma[:, None, None].to(pictures.dtype)
    return flat.view_as(pictures)


def _colours(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices ``b 3 3`` and offsets ``b 3 1`` of colours."""
    device, kind = pictures.device, uniform(pictures, 1, 1)
    one = torch.eye(3, device=device)
    cross = one.roll(-1, 0) - one.roll(1, 0)
    luma = torch.stack([torch.full((3,), weight, device=device) for weight in LUMA], 1)
    angle = uniform(pictures, 1, 1, high=2 * math.pi)
    turned = angle.cos() * one + (1 - angle.cos()) / 3 + angle.sin() / math.sqrt(3) * cross
    vivid = uniform(pictures, 1, 1, low=0.3, high=1.5)
    turned = (vivid * one + (1 - vivid) * luma) @ turned
    mixed = (3 * normal(pictures, 3, 3)).softmax(-1)
    matrix = torch.where(kind < 0.4, turned, torch.where(kind < 0.52, mixed, one))
    matrix = torch.where((kind >= 0.52) & (kind < 0.6), luma, matrix)
    often = uniform(pictures, 1, 1) < 0.7
    gain = (normal(pictures, 3, 1) * 0.14 + normal(pictures, 1, 1) * 0.22).exp()
    matrix = matrix * torch.where(often, gain, 1.0)
    lift = torch.where(often, normal(pictures, 3, 1) * 0.07, 0.0)
    negative = uniform(pictures, 1, 1) < 0.03
    return torch.where(negative, -matrix, matrix), torch.where(negative, 1 - lift, lift)


def marked(pictures: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Coats, light, textures, few tones, silhouettes and outlines; pictures and their coverage."""
    for change, share in (
        (_blotched, 0.06), (_blotched, 0.06), (_striped, 0.06), (_lit, 0.2), (_rough, 0.1),
        (_few_tones, 0.07), (_silhouette, 0.05),
    ):  # fmt: skip
        if (chosen := some(pictures, share)) is not None:
            pictures[chosen] = change(pictures[chosen]).clamp(0, 1).to(pictures.dtype)
    if (chosen := some(pictures, 0.1)) is not None:
        inside = alpha[chosen]
        wider = F.max_pool2d(inside, 3, 1, 1)
        tone = uniform(inside, 3, 1, 1, high=0.25).to(pictures.dtype)
        pictures[chosen] = torch.where(inside > 0.5, pictures[chosen], tone)
        alpha[chosen] = wider
    return pictures, alpha


def noise(like: Tensor, cells: int, channels: int = 1) -> Tensor:
    """Smooth noise ``b c 256 256`` in [0, 1]."""
    grid = uniform(like, channels, cells, cells)
    return F.interpolate(grid, (SIZE, SIZE), mode="bicubic").clamp(0, 1)


def _cells(low: int, high: int) -> int:
    return int(torch.randint(low, high, ()))


def _tone(like: Tensor) -> Tensor:
    return uniform(like, 3, 1, 1)


def _waves(like: Tensor) -> Tensor:
    """Stripes of any direction and width, ``b 1 256 256`` in [0, 1]."""
    at = torch.arange(SIZE, device=like.device, dtype=torch.float32)
    angle, pace = uniform(like, 1, 1, 1, high=math.pi), uniform(like, 1, 1, 1, low=0.05, high=0.6)
    along = angle.cos() * at + angle.sin() * at[:, None]
    return 0.5 + 0.5 * (pace * along + uniform(like, 1, 1, 1, high=6.3)).sin()


def _blotched(pictures: Tensor) -> Tensor:
    high = noise(pictures, _cells(4, 24)) > uniform(pictures, 1, 1, 1, low=0.45, high=0.65)
    share = uniform(pictures, 1, 1, 1, low=0.3, high=0.9) * high
    return pictures * (1 - share) + _tone(pictures) * share


def _striped(pictures: Tensor) -> Tensor:
    dark = _waves(pictures) > uniform(pictures, 1, 1, 1, low=0.3, high=0.8)
    share = uniform(pictures, 1, 1, 1, low=0.3, high=0.9) * dark
    return pictures * (1 - share) + _tone(pictures) * share


def _lit(pictures: Tensor) -> Tensor:
    return pictures * (0.55 + 0.9 * noise(pictures, _cells(2, 5)))


def _rough(pictures: Tensor) -> Tensor:
    return pictures + (noise(pictures, _cells(40, 128)) - 0.5) * uniform(
        pictures, 1, 1, 1, low=0.1, high=0.6
    )


def _few_tones(pictures: Tensor) -> Tensor:
    levels = uniform(pictures, 1, 1, 1, low=2, high=6)
    return (pictures * levels).round() / levels


def _silhouette(pictures: Tensor) -> Tensor:
    share = uniform(pictures, 1, 1, 1, low=0.7, high=0.97)
    return pictures * (1 - share) + _tone(pictures) * share


def grounds(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """White, one colour, gradients, clouds, textures, stripes and shapes: like the pictures; and
    which of them are white, ``b``."""
    made = torch.ones_like(pictures)
    white = torch.ones(len(made), dtype=torch.bool, device=made.device)
    order, at = torch.rand(len(made), device=made.device).argsort(), float(torch.rand(()))
    for share, make in (
        (PLAIN, _plain), (GRADIENTS, _gradient), (CLOUDS, _clouds), (TEXTURES, _texture),
        (STRIPES, _stripes), (SHAPES, _shapes),
    ):  # fmt: skip
        chosen = order[int(at) : int(at + share * len(made))]
        at += share * len(made)
        if len(chosen):
            made[chosen] = make(made[chosen]).to(made.dtype)
            white[chosen] = False
    return made, white


def _plain(like: Tensor) -> Tensor:
    pale = uniform(like, 1, 1, 1) < 0.4
    tone = _tone(like)
    return torch.where(pale, 0.78 + 0.22 * tone, tone).expand_as(like)


def _between(like: Tensor, share: Tensor) -> Tensor:
    return _tone(like) * (1 - share) + _tone(like) * share


def _gradient(like: Tensor) -> Tensor:
    share = torch.linspace(0, 1, SIZE, device=like.device)
    share = torch.where(uniform(like, 1, 1, 1) < 0.7, share[:, None], share)
    return _between(like, share)


def _clouds(like: Tensor) -> Tensor:
    return _between(like, 0.5 * noise(like, _cells(3, 40)) + 0.5 * noise(like, _cells(3, 12)))


def _texture(like: Tensor) -> Tensor:
    """Coloured noise of three scales."""
    layers = [noise(like, _cells(*span), 3) for span in ((2, 6), (8, 24), (30, 128))]
    weights = uniform(like, 3, 1, 1, 1).softmax(1)
    mixed = sum(weights[:, i] * layer for i, layer in enumerate(layers))
    return _tone(like) + (mixed - 0.5) * uniform(like, 1, 1, 1, low=0.3, high=1.6)


def _stripes(like: Tensor) -> Tensor:
    return _between(like, _waves(like))


def _shapes(like: Tensor) -> Tensor:
    """Discs and blocks over two colours, sky and earth."""
    at = torch.arange(SIZE, device=like.device, dtype=torch.float32)
    x, y = at[None, None, None], at[None, None, :, None]
    horizon = uniform(like, 1, 1, 1, low=SIZE / 3, high=SIZE)
    made = torch.where(y < horizon, _tone(like), _tone(like)).expand_as(like)
    for _ in range(_cells(3, 9)):
        angle = uniform(like, 1, 1, 1, high=math.pi)
        across, down = (x - uniform(like, 1, 1, 1, high=SIZE), y - uniform(like, 1, 1, 1, high=SIZE))
        along = angle.cos() * across + angle.sin() * down
        aside = angle.cos() * down - angle.sin() * across
        wide, high = (uniform(like, 1, 1, 1, low=4, high=55) for _ in range(2))
        block = (along.abs() < wide) & (aside.abs() < high)
        disc = (across.square() + down.square()) < wide.square()
        made = torch.where(torch.where(uniform(like, 1, 1, 1) < 0.5, block, disc), _tone(like), made)
    return made


def compose(pictures: Tensor, alpha: Tensor, behind: Tensor, white: Tensor) -> Tensor:
    """The animals over their grounds; a hair's breadth of the rim, still mixed with white, is
    cut, except from most of those on white."""
    whole = (white & (uniform(alpha) < 0.7))[:, None, None, None]
    cut = (uniform(alpha) < 0.6)[:, None, None, None]
    share = torch.where(cut, 1 - F.max_pool2d(F.pad(1 - alpha, (1, 0, 1, 0)), 2, 1), alpha)
    share = F.avg_pool2d(F.pad(share, (1, 0, 1, 0)), 2, 1)
    share = torch.where(whole, (alpha > 0).to(alpha.dtype), share)
    return behind + (pictures - behind) * share
