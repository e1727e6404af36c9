"""A dense flow from joints: which bone moves each cell, and whether the source shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.creatures.skeleton import BONES
from anamodiff.lofnet.bone_motion import bone_distances, bone_motions, other_parts
from anamodiff.lofnet.joints import ConvBlock, ResidualBlock
from anamodiff.lofnet.saving import SavedModule
from anamodiff.lofnet.silhouette import (
    GRID,
    RIM,
    Silhouette,
    limb_lines,
    resized,
    rim_logits,
    without_specks,
)
from anamodiff.warp import identity_grid, resize_flow, warp

FARTHEST = 0.2  # of [-1, 1]: the correction of a bone's motion is smaller
BONE_WIDTH = 0.05  # of [-1, 1]: half of a limb's, about
UNKNOWN = -30.0  # logit of a bone that is not there
TAKEN_OUT = 0.7  # the share of the background's known error that is taken out
FRAMES = 8  # at once, at a picture's size: more would take memory, and save no time


@dataclass(frozen=True)
class LimbMotion:
    """What the network says of target frames.

    Attributes:
        character: ``b h w 2``, backward flow of the character (also where there is none).
        mask: ``b n+1 h w``, softmax weights of the background (first) and of each bone.
        ground: logits ``b h w`` of the background.
        visible: logits ``b h w``, whether the source shows what belongs there.
    """

    character: Tensor
    mask: Tensor
    ground: Tensor
    visible: Tensor

    def flow(
        self,
        foregrounds: Tensor,
        frames: Tensor,
        height: int = GRID,
        width: int = GRID,
        own: LimbMotion | None = None,
        joints: Tensor | None = None,
    ) -> Tensor:
        """One flow ``b height width 2``: the character's where it is, else one to the background.

        The two are not blended: between a place on the character and one beside it lies neither.
        Where a limb's motion is off by a little, the character's flow would show background: it is
        led to the nearest place on the character, and along the rim to the rim.

        Args:
            foregrounds: of all source frames, bool ``s H W``.
            frames: the source frame ``b`` of each.
            own: what the network says of the source frames that occur, in their order, in their
                own poses: its errors there are known, and taken out.
            joints: ``b j 2`` in [-1, 1], NaN where there is none: bones of limbs are no background.
        """
        flow = self.character.new_empty(len(frames), height, width, 2)
        for place, number in enumerate(frames.unique().tolist()):  # what a frame needs, once
            foreground = foregrounds[number]
            silhouette = Silhouette(foreground)
            beside = silhouette.off_character((height, width))
            wrong = None if own is None else own._ground_error(place, foreground, (height, width))
            for of in (frames == number).nonzero()[:, 0].split(FRAMES):
                found = resize_flow(self.character[of], height, width)
                ground = resized(self.ground[of], (height, width))
                if own is not None and wrong is not None:
                    found = found - own._flow_error(place, found)
                    ground = ground - TAKEN_OUT * warp(wrong, found)[:, 0]
                inside = ground <= 0
                if joints is not None:
                    inside |= limb_lines(joints[of], (height, width)).to(inside.device)
                inside = without_specks(inside)
                found = silhouette.onto_character(silhouette.along_rim(found, inside))
                flow[of] = torch.where(inside[..., None], found, beside.to(found))
        return flow

    def _flow_error(self, number: int, flow: Tensor) -> Tensor:
        """How far a source frame's flow to its own pose is from none, looked up along the flow
        ``b h w 2``."""
        wrong = self.character[number] - identity_grid(GRID, GRID, device=flow.device)
        wrong = rearrange(wrong, "h w xy -> 1 xy h w").expand(len(flow), -1, -1, -1)
        return rearrange(warp(wrong, flow), "b xy h w -> b h w xy")

    def _ground_error(self, number: int, foreground: Tensor, size: tuple[int, int]) -> Tensor:
        """How far a source frame's background logits are from its own outline, ``1 1 h w``."""
        found = resized(self.ground[None, number], size).clamp(-RIM, RIM)
        return (found - rim_logits(foreground, size).to(found))[:, None]


class LimbFlow(SavedModule):
    """Choose among the motions of bones, cell by cell, and correct the choice (section 3.2).

    Each bone's similarity takes the source's picture to where the bone is in the target. From the
    pictures so moved and the places of the bones a U-Net finds the weights of the motions, a small
    correction, the background, and what the source hides.

    Args:
        widths: features at the grid's size and each half of it.
    """

    role = "limb flow"

    def __init__(self, widths: Sequence[int] = (48, 96, 128, 192)) -> None:
        super().__init__()
        self.config = {"widths": list(widths)}
        bones = len(BONES)
        first = widths[0]
        self.enter = ConvBlock(4 * (bones + 1) + 2 * bones, first)
        self.first = ResidualBlock(first)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, 2), ResidualBlock(b))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.up = nn.ModuleList(nn.Sequential(ConvBlock(b, b), ResidualBlock(b)) for _, b in pairs)
        self.answer = nn.Conv2d(first, bones + 4, 3, padding=1)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)
        self.register_buffer("other", other_parts(), persistent=False)

    def forward(self, picture: Tensor, source: Tensor, target: Tensor) -> LimbMotion:
        """Motions from source frames to target poses.

        Args:
            picture: source frames and their foregrounds, ``b 4 64 64``, RGB in [-1, 1] and
                coverage in [0, 1].
            source: joints ``b j 2`` in [-1, 1], NaN where absent.
            target: the same joints in the target pose.
        """
        grid = identity_grid(GRID, GRID, device=picture.device)
        motions = bone_motions(source, target)
        flows = motions.flows(grid)  # b n h w 2
        near = bone_distances(target, grid)
        shown = self._features(picture, flows, near, bone_distances(source, grid), motions.known)
        answer = self.answer(self._unet(shown)).float()
        chosen, offset, ground, visible = answer.split([len(BONES), 2, 1, 1], dim=1)
        chosen = chosen - (near / BONE_WIDTH).clamp_max(12)
        chosen = torch.where(motions.known[..., None, None], chosen, UNKNOWN)
        share = chosen.softmax(1)
        character = (share[..., None] * flows).sum(1)
        character = character + FARTHEST * rearrange(offset, "b xy h w -> b h w xy").tanh()
        ground = ground[:, 0] + (near.amin(1) / BONE_WIDTH).clamp_max(6) - 2.5
        behind = ground.sigmoid()[:, None]
        mask = torch.cat([behind, share * (1 - behind)], dim=1)
        return LimbMotion(character, mask, ground, visible[:, 0])

    def _features(
        self, picture: Tensor, flows: Tensor, near: Tensor, near_source: Tensor, known: Tensor
    ) -> Tensor:
        """What the U-Net sees, ``b c 64 64``: the source's picture and as each bone moves it, how
        near each bone is, and what other part of the body lies where the source is looked up."""
        count = flows.shape[1]
        there = known[..., None, None].to(picture.dtype)
        closeness = torch.exp(-near.square() / (2 * BONE_WIDTH**2)) * there
        in_source = torch.exp(-near_source.square() / (2 * BONE_WIDTH**2))
        others = torch.stack(
            [in_source.masked_fill(~row[None, :, None, None], 0).amax(1) for row in self.other],
            dim=1,
        )
        stacked = torch.cat(
            [picture[:, None].expand(-1, count, -1, -1, -1), others[:, :, None]], dim=2
        )
        moved = warp(stacked.flatten(0, 1), flows.flatten(0, 1))
        moved = rearrange(moved, "(b n) c h w -> b n c h w", n=count) * there[:, :, None]
        return torch.cat([picture, moved.flatten(1, 2), closeness], dim=1)

    def _unet(self, x: Tensor) -> Tensor:
        maps = [self.first(self.enter(x))]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            x = block(F.interpolate(narrow(x), scale_factor=2) + maps.pop())
        return x
