"""JOKR's two stages of training on one pair of clips: points and silhouettes, then the look."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.baselines.jokr import JOKR, Cut, DomainDiscriminator, JOKROptions
from anamodiff.lofnet.training.losses import PlaneTransform
from anamodiff.warp import identity_grid, warp

# Weights of the published losses.
SILHOUETTE, EQUIVARIANCE, SEPARATION, TEMPORAL, CONFUSION, INSIDE = (
    20.0,
    2.0,
    1.0,
    130.0,
    5e-3,
    10.0,
)
#: Squared distance below which two points are too near.
TOO_NEAR = 0.1
_BETAS = (0.5, 0.999)


def fit(
    source: Cut, driving: Cut, options: JOKROptions, perceptual: nn.Module, *, seed: int = 0
) -> JOKR:
    """Train JOKR on a pair of clips.

    Args:
        source, driving: with `options.size` pixels a side.
        perceptual: the loss of looks beside their absolute error, of frames in [0, 1]. Published
            is LPIPS with VGG, at ten times the weight.
    """
    device = source.frames.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = JOKR(options).to(device)
        judge = DomainDiscriminator(options.points).to(device)
    generator = torch.Generator().manual_seed(seed)
    fit_shapes(model, judge, source, driving, generator)
    fit_look(model, source, perceptual, generator)
    return model.eval()


def fit_shapes(
    model: JOKR, judge: DomainDiscriminator, source: Cut, driving: Cut, generator: torch.Generator
) -> None:
    """The first stage: detector, silhouettes and the affine map, against a discriminator."""
    options = model.options
    learnt = [*model.detector.parameters(), *model.shapes.parameters(), model.affine]
    ours = torch.optim.Adam(learnt, lr=options.rate, betas=_BETAS)
    theirs = torch.optim.Adam(judge.parameters(), lr=options.rate, betas=_BETAS)
    for rate in _rates(options.rate, options.shape_steps):
        for group in ours.param_groups:
            group["lr"] = rate
        own, other = (neighbours(clip, options.batch, generator) for clip in (source, driving))
        with torch.autocast(source.frames.device.type, torch.bfloat16):
            terms, points = shape_terms(model, judge, own, other, generator)
        ours.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        ours.step()
        theirs.zero_grad()
        told = [judge(one.detach()) for one in points]
        (_called(told[0], 1.0) + _called(told[1], 0.0)).backward()
        theirs.step()


def shape_terms(
    model: JOKR, judge: DomainDiscriminator, source: Cut, driving: Cut, generator: torch.Generator
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """The first stage's losses, weighted, and the points that the discriminator is to tell apart.

    Args:
        source, driving: frames, then each one's next: ``2b 3 s s``.
    """
    both = Cut(torch.cat([source.frames, driving.frames]), torch.cat([source.masks, driving.masks]))
    transform = PlaneTransform.random(
        len(both.frames), generator=generator, sigma_affine=0.1, sigma_tps=0.0
    ).to(both.frames.device)
    points, heat = model.detector.detect(torch.cat([both.frames, transform.frames(both.frames)]))
    points, bent = points.chunk(2)
    # b frames of the source, their next ones, b of the driving clip, their next ones
    own, own_next, other, other_next = points.chunk(4)
    shapes = model.silhouettes(torch.cat([own, other]))
    masks = both.masks.chunk(4)
    wanted = torch.cat([masks[0], masks[2]])
    found = torch.cat([shapes[: len(own), :1], shapes[len(own) :, 1:]])
    carried = model.carried(other)
    confused = _called(judge(own), 1.0) + _called(judge(carried), 1.0)
    step = (torch.cat([own_next, other_next]) - torch.cat([own, other])).norm(dim=-1)
    terms = {
        "silhouette": 2 * SILHOUETTE * F.mse_loss(found, wanted),
        "equivariance": 2 * EQUIVARIANCE * (points - transform(bent)).abs().mean(),
        "separation": 2 * SEPARATION * crowded(torch.cat([own, other])),
        "inside": 2 * INSIDE * outside(heat[: len(points)], both.masks),
        "temporal": 2 * TEMPORAL * step.mean(),
        "confusion": CONFUSION * confused,
    }
    return terms, (own, carried)


def fit_look(model: JOKR, source: Cut, perceptual: nn.Module, generator: torch.Generator) -> None:
    """The second stage: the source's look from its silhouettes, all else as it is."""
    options = model.options
    optimiser = torch.optim.Adam(model.look.parameters(), lr=options.rate, betas=_BETAS)
    for rate in _rates(options.rate, options.look_steps):
        for group in optimiser.param_groups:
            group["lr"] = rate
        wanted = neighbours(source, options.batch, generator).frames[: options.batch]
        with torch.autocast(wanted.device.type, torch.bfloat16):
            with torch.no_grad():
                shape = model.silhouettes(model.detector.detect(wanted)[0])[:, :1]
            made = model.painted(shape)
            loss = F.l1_loss(made, wanted) + perceptual((made + 1) / 2, (wanted + 1) / 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def neighbours(clip: Cut, count: int, generator: torch.Generator) -> Cut:
    """Frames, then each one's next, ``2*count ...``, both moved by one random affine map."""
    first = torch.randint(0, max(1, len(clip.frames) - 1), (count,), generator=generator)
    rows = torch.cat([first, (first + 1).clamp_max(len(clip.frames) - 1)])
    rows = rows.to(clip.frames.device)
    matrix = _affine_maps(count, generator).repeat(2, 1, 1).to(clip.frames.device)
    grid = identity_grid(*clip.frames.shape[-2:], device=clip.frames.device)
    places = rearrange(grid, "h w xy -> (h w) xy") @ matrix[..., :2].mT
    flow = (places + matrix[:, None, :, 2]).unflatten(1, grid.shape[:2])
    frames, masks = (
        warp(part[rows], flow, padding_mode="zeros") for part in (clip.frames, clip.masks)
    )
    masks = (masks > 0.5).float()
    return Cut(frames * masks, masks)


def crowded(points: Tensor) -> Tensor:
    """How near points ``b k 2`` are to one another (published: with each to itself)."""
    square = (points[:, :, None] - points[:, None]).square().sum(-1)  # b k k
    return (TOO_NEAR - square).clamp_min(0).sum() / (2 * square.shape[0] * square.shape[1])


def outside(heat: Tensor, masks: Tensor) -> Tensor:
    """Minus log of the share of heat maps ``b k h w`` within silhouettes ``b 1 s s``, the mean."""
    small = F.interpolate(masks, heat.shape[-2:], mode="bilinear", antialias=True) > 0.5
    return -((heat * small).sum((2, 3)) + 1e-12).log().mean()


def _affine_maps(count: int, generator: torch.Generator) -> Tensor:
    """Random maps ``b 2 3``: scales from 0.8 to 1.2, 20 degrees, shears and shifts of a fifth."""
    lots = 2 * torch.rand(7, count, generator=generator) - 1
    angle = 0.35 * lots[0]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    shape = torch.stack([1 + 0.2 * lots[1], 0.3 * lots[2], 0.3 * lots[3], 1 + 0.2 * lots[4]], 1)
    return torch.cat([turn @ shape.view(-1, 2, 2), 0.2 * lots[5:].T[..., None]], dim=2)


def _called(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits, label).float()
    )


def _rates(rate: float, steps: int) -> Iterator[float]:
    """The learning rate of each step: level, then straight down in the last third.

    Published is a level one, for a hundred times as many steps.
    """
    for step in range(steps):
        yield rate * min(1.0, max(0.05, 3 * (1 - step / steps)))
