"""Random proportions, places, covers and faults for batches of samples, on the samples' device."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.creatures import HIDDEN, SEEN

from .looks import SIZE, compose, grounds, marked, normal, recolour, some, uniform

KNOTS = 7
COVERED = 0.2


@dataclass(frozen=True)
class Mapping:
    """From samples' pictures to augmented ones: stretch each axis by a monotone curve, then apply a
    2x3 matrix. `knots` ``b 2 n`` are places on the axes, `images` ``b 2 n`` where they go; beyond
    them the curves go straight on. `matrix` is ``b 2 3``."""

    knots: Tensor
    images: Tensor
    matrix: Tensor

    def forward(self, points: Tensor) -> Tensor:
        """Points ``b n 2`` (pixels) of the samples in the augmented pictures."""
        stretched = _curve(points.transpose(1, 2), self.knots, self.images)
        return (self.matrix[:, :, :2] @ stretched + self.matrix[:, :, 2:]).transpose(1, 2)

    def grid(self) -> Tensor:
        """For every augmented pixel its place in the sample, ``b 256 256 2`` in [-1, 1]."""
        (a, b), (c, d) = (row.unbind(-1) for row in self.matrix[:, :, :2].unbind(1))
        adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], 1)
        inverse = adjugate / (a * d - b * c)[:, None, None]
        at = torch.arange(SIZE, device=self.matrix.device, dtype=torch.float32)
        back = -(inverse @ self.matrix[:, :, 2:])[..., None]
        place = inverse[:, :, :1, None] * at + inverse[:, :, 1:, None] * at[:, None] + back
        place = _curve(place.flatten(2), self.images, self.knots)
        return (place * (2 / (SIZE - 1)) - 1).unflatten(2, (SIZE, SIZE)).permute(0, 2, 3, 1)


def _curve(values: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Values ``b 2 m`` through the curves that take `start` ``b 2 n`` to `end`, of slope one beyond
    them."""
    slopes = F.pad(end.diff(dim=-1) / start.diff(dim=-1), (1, 1), value=1.0).diff(dim=-1)
    moved = values + (end - start)[..., :1]
    for knot, bend in zip(start.unbind(-1), slopes.unbind(-1), strict=True):
        moved.addcmul_((values - knot[..., None]).clamp_min_(0), bend[..., None])
    return moved


def augment(
    canvases: Tensor, boxes: Tensor, joints: Tensor, visibility: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Augmented pictures.

    Args:
        canvases: uint8 ``b 256 256 4``, RGB and foreground.
        boxes: ``b 4``, x, y, width and height of the animals' boxes in pixels.
        joints: ``b j 2`` in pixels, NaN where absent.
        visibility: ``b j``.

    Returns:
        ``b 3 256 256`` in [-1, 1] (half precision on a GPU); joints ``b j 2`` in [-1, 1]; and
        visibility, where what lies outside the picture or under something put in front counts as
        hidden.
    """
    mapping = random_mapping(boxes)
    pictures, alpha = warp(canvases, mapping)
    pictures, alpha = marked(recolour(pictures), alpha)
    pictures = compose(pictures, alpha, *grounds(pictures))
    joints = mapping.forward(joints)
    pictures, under = cover(pictures, joints)
    outside = ((joints - (SIZE - 1) / 2).abs() > (SIZE - 1) / 2).any(-1)
    visibility = torch.where((visibility == SEEN) & (outside | under), HIDDEN, visibility)
    return degrade(pictures) * 2 - 1, joints / (SIZE - 1) * 2 - 1, visibility


def random_mapping(boxes: Tensor) -> Mapping:
    """Other proportions, then mirrored or not, turned, sheared, scaled, and put somewhere."""
    count, device = len(boxes), boxes.device
    corner, extent = boxes[:, :2], boxes[:, 2:]
    spread = torch.where(uniform(boxes, 1, 1) < 0.65, 0.24, 0.0)
    slopes = (normal(boxes, 2, KNOTS - 1) * spread).clamp(-0.5, 0.5).exp()
    slopes = slopes / slopes.mean(-1, keepdim=True)
    images = F.pad(slopes.cumsum(-1), (1, 0)) / (KNOTS - 1)
    even = torch.linspace(0, 1, KNOTS, device=device).expand(count, 2, KNOTS)
    knots, images = (corner[..., None] + extent[..., None] * x for x in (even, images))
    return Mapping(knots, images, _random_matrix(corner + extent / 2, extent))


def _random_matrix(centre: Tensor, extent: Tensor) -> Tensor:
    """The matrices ``b 2 3`` that put the middles of boxes somewhere, at some size."""
    turn = (normal(centre) * math.radians(10)).clamp(-0.52, 0.52) * (uniform(centre) < 0.6)
    shear, aspect = normal(centre) * 0.08, (normal(centre) * 0.1).exp()
    flip = torch.where(uniform(centre) < 0.5, -1.0, 1.0)
    cos, sin = turn.cos(), turn.sin()
    rows = (flip * cos * aspect, cos * shear - sin / aspect)
    rows += (flip * sin * aspect, sin * shear + cos / aspect)
    linear = torch.stack(rows, -1).unflatten(-1, (2, 2))
    reach = (linear.abs() @ extent[..., None])[..., 0].amax(-1)
    linear = linear * (uniform(centre, low=0.36, high=0.97) * SIZE / reach)[:, None, None]
    room = (SIZE - (linear.abs() @ extent[..., None])[..., 0]).clamp_min(0) / 2 + 0.04 * SIZE
    goal = (SIZE - 1) / 2 + uniform(centre, 2, low=-1, high=1) * room
    return torch.cat([linear, goal[..., None] - linear @ centre[..., None]], -1)


def warp(canvases: Tensor, mapping: Mapping) -> tuple[Tensor, Tensor]:
    """Samples in their new shapes: RGB ``b 3 256 256`` in [0, 1] and coverage ``b 1 256 256``."""
    # Complements, because what lies beyond a canvas is read as zero and has to be white.
    ink = canvases.permute(0, 3, 1, 2).float()
    ink[:, :3] = 255 - ink[:, :3]
    ink = F.grid_sample(ink, mapping.grid(), align_corners=True) / 255
    ink = ink.half() if ink.is_cuda else ink
    return 1 - ink[:, :3], ink[:, 3:]


def cover(pictures: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Put discs and blocks in front of some; also which joints (pixels) lie under them, ``b j``."""
    under = torch.zeros(joints.shape[:2], dtype=torch.bool, device=joints.device)
    if (chosen := some(pictures, COVERED)) is None:
        return pictures, under
    place = joints[chosen]
    centre = uniform(place, 2, low=0.2, high=0.8)[:, None] * SIZE
    extent = uniform(place, 2, low=8, high=42)[:, None]
    disc = uniform(place, 1) < 0.5

    def inside(apart: Tensor) -> Tensor:
        apart = ((apart - centre) / extent).abs()
        return torch.where(disc, apart.square().sum(-1) < 1, (apart < 1).all(-1))

    at = torch.arange(SIZE, device=joints.device, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).flatten(0, 1)
    colour = uniform(place, 3, 1, 1).to(pictures.dtype)
    there = inside(pixels).unflatten(1, (1, SIZE, SIZE))
    pictures[chosen] = torch.where(there, colour, pictures[chosen])
    under[chosen] = inside(place)
    return pictures, under


def degrade(pictures: Tensor) -> Tensor:
    """Smaller and up again, blurred, noisy; each now and then."""
    for share in (0.12, 0.12, 0.12):  # three sizes and widths a batch
        if (chosen := some(pictures, share)) is not None:
            small = random.randrange(72, 200)
            part = pictures[chosen].float()
            part = F.interpolate(part, (small, small), mode="bilinear", antialias=True)
            part = F.interpolate(part, (SIZE, SIZE), mode="bilinear")
            pictures[chosen] = part.to(pictures.dtype)
        if (chosen := some(pictures, share / 2)) is not None:
            pictures[chosen] = _blurred(pictures[chosen], random.uniform(0.4, 1.8))
    if (chosen := some(pictures, 0.25)) is not None:
        part = pictures[chosen]
        grain = torch.randn_like(part[:, :1]) * uniform(part, 1, 1, 1, low=0.008, high=0.06)
        pictures[chosen] = part + grain.to(part.dtype)
    return pictures.clamp(0, 1)


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures ``b c h w`` under a Gaussian of seven taps a side."""
    taps = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-3, 4)]
    padded = F.pad(pictures, (3, 3, 3, 3), mode="replicate")
    rows = sum(tap / sum(taps) * padded[:, :, i : i + SIZE] for i, tap in enumerate(taps))
    return sum(tap / sum(taps) * rows[..., i : i + SIZE] for i, tap in enumerate(taps))
