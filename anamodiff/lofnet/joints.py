"""Named joints of animals, found on single frames (nose to tail tip, near and far limbs apart)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.heat import around, highest, peak_place, probabilities
from anamodiff.lofnet.limbs import read_limbs
from anamodiff.lofnet.saving import SavedModule
from anamodiff.lofnet.transformer import TransformerBlock
from anamodiff.visual.sheets import sheet_jpeg
from anamodiff.visual.skeleton import skeleton_row

SIZE = 256  # pixels; frames of any other size are resized to it
LIMBS = 5  # none, near fore, far fore, near hind, far hind
TRUNK_JOINTS = 6  # nose to tail tip come first


@dataclass(frozen=True)
class Joints:
    """Joints of a batch of frames, in the order of `JOINTS`.

    Attributes:
        place: ``b j 2``, (x, y) in [-1, 1].
        confidence: ``b j`` in [0, 1], the probability of a joint that is there and placed within
            a thirty-second of the picture.
        presence: ``b j 3``, probabilities of absent, hidden and seen.
        frames: what they were found on, ``b 3 h w`` in [-1, 1], to be drawn on.
    """

    place: Tensor
    confidence: Tensor
    presence: Tensor
    frames: Tensor | None = None

    def trust(self) -> Tensor:
        """How far each joint of a clip's frames is to be believed, ``f j`` in [0, 1]: its
        confidence, and 0 for joints that the clip as a whole does not seem to have."""
        there = self.presence[..., 0].mean(0) < 0.5
        return self.confidence.clamp(0.05, 1) * there

    def known(self) -> Tensor:
        """The places ``f j 2`` of a clip's joints; NaN for those that it does not seem to have."""
        return torch.where((self.trust() > 0)[..., None], self.place, torch.nan)

    def _repr_jpeg_(self) -> bytes:
        """Skeletons on their frames, for notebooks."""
        name = f"joints, found with a certainty of {self.certainty():.2f}"
        return sheet_jpeg([(name, skeleton_row(self.known(), self.frames))])

    def certainty(self) -> float:
        """Mean confidence of the joints that the clip seems to have; 0 where it has no trunk."""
        trust = self.trust()
        there = trust.amax(0) > 0
        return float(trust[:, there].mean()) if there[:TRUNK_JOINTS].sum() >= 4 else 0.0


@dataclass(frozen=True)
class JointMaps:
    """What the network says before it is read.

    Attributes:
        heat: heat map logits, ``b j h w``.
        presence: logits of absent, hidden and seen, ``b j 3``.
        confidence: logits, ``b j``.
        limbs: logits of what is seen at each cell, ``b 5 h w``: no limb, near fore limb, far fore
            limb, near hind limb, far hind limb. It teaches the network to tell near from far.
    """

    heat: Tensor
    presence: Tensor
    confidence: Tensor
    limbs: Tensor


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_features: int, out_features: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_features, out_features, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_features),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = ConvBlock(features, features)
        self.second = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class JointDetector(SavedModule):
    """Find the named joints on RGB frames: a U-Net with one heat map for each joint.

    Args:
        widths: features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture.
        global_blocks: attention blocks on the smallest map.
        heads: of each of them.
        joints: names, in the order of the output.
    """

    role = "joint detector"

    def __init__(
        self,
        widths: Sequence[int] = (32, 56, 96, 160, 224),
        global_blocks: int = 2,
        heads: int = 4,
        joints: Sequence[str] = JOINTS,
    ) -> None:
        super().__init__()
        stem, *levels = widths
        last, count = levels[-1], len(joints)
        self.config = {
            "widths": list(widths),
            "global_blocks": global_blocks,
            "heads": heads,
            "joints": list(joints),
        }
        self.stem = nn.Sequential(ConvBlock(3, stem, 2), ConvBlock(stem, levels[0], 2))
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, 2), ResidualBlock(b))
            for a, b in zip(levels, levels[1:], strict=False)
        )
        cells = (SIZE >> len(widths)) ** 2
        self.position = nn.Parameter(torch.randn(1, cells, last) * 0.02)
        self.whole = nn.ModuleList(
            TransformerBlock(last, heads, expansion=2) for _ in range(global_blocks)
        )
        pairs = list(zip(levels[:0:-1], levels[-2::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.up = nn.ModuleList(
            ConvBlock(b, b) if b == levels[0] else nn.Sequential(ConvBlock(b, b), ConvBlock(b, b))
            for _, b in pairs
        )
        self.heat = nn.Conv2d(levels[0], count, 1)
        self.name = nn.Parameter(torch.randn(count, 64) * 0.1)
        self.describe = nn.Linear(levels[0] + last + 3, 64)
        self.answer = nn.Linear(64, 3)
        self.judge = nn.Sequential(nn.Linear(levels[0] + last + 3 + 64, 64), nn.GELU())
        self.confidence = nn.Linear(64, 1)
        pairs = _pairs(joints)
        self.register_buffer("pair", torch.tensor(pairs), persistent=False)
        self.limbs = nn.Conv2d(levels[0], LIMBS, 1)

    def forward(self, frames: Tensor) -> JointMaps:
        """Heat maps and answers for frames ``b 3 256 256`` in [-1, 1]."""
        features, whole = self._features(frames)
        heat = self.heat(features).float()
        with torch.autocast(frames.device.type, enabled=False):
            presence, confidence = self._answers(heat.detach(), features.float(), whole.float())
        return JointMaps(heat, presence, confidence, self.limbs(features).float())

    @torch.no_grad()
    def detect(
        self, frames: Tensor, batch: int = 16, precision: torch.dtype | None = None
    ) -> Joints:
        """Joints of a clip's frames ``f 3 h w`` in [-1, 1], of any size.

        Near and far limbs keep their order over the clip. `precision` is that of the convolutions;
        16 bits take half the time on processors that have them.
        """
        with torch.autocast(frames.device.type, precision, enabled=precision is not None):
            maps = [self(resized(part)) for part in frames.split(batch)]
        whole = JointMaps(
            *(torch.cat([getattr(m, name) for m in maps]) for name in JointMaps.__annotations__)
        )
        found = read_joints(whole)
        places = read_limbs(probabilities(whole.heat), found.presence[..., 0])
        return Joints(places, found.confidence, found.presence, frames)

    def _features(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``b c 64 64``, and of the whole picture ``b d``."""
        maps = [self.stem(frames)]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()
        tokens = rearrange(x, "b d h w -> b (h w) d") + self.position
        for block in self.whole:
            tokens = block(tokens)
        x = x + rearrange(tokens, "b (h w) d -> b d h w", h=x.shape[-2])
        for narrow, block in zip(self.narrow, self.up, strict=True):
            x = block(F.interpolate(narrow(x), scale_factor=2) + maps.pop())
        return x, tokens.mean(dim=1)

    def _answers(self, heat: Tensor, features: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of absent, hidden and seen, ``b j 3``, and of confidence, ``b j``, from what lies
        at each peak.

        Confidence is learnt from features that it has no hold on: it is to judge what was found,
        not to be told which animals were learnt.
        """
        share = probabilities(heat)
        there = einsum(share, features, "b j h w, b d h w -> b j d")
        whole = whole[:, None].expand(-1, heat.shape[1], -1)
        read = torch.cat([there, whole, _sharpness(share, self.pair)], dim=-1)
        presence = self.answer(F.gelu(self.describe(read) + self.name))
        named = self.name.detach().expand(len(heat), -1, -1)
        judged = self.judge(torch.cat([read.detach(), named], dim=-1))
        return presence, self.confidence(judged)[..., 0]


def resized(frames: Tensor) -> Tensor:
    """Frames ``f 3 h w`` at the detector's size."""
    if frames.shape[-2:] == (SIZE, SIZE):
        return frames
    return F.interpolate(frames, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


def read_joints(maps: JointMaps) -> Joints:
    """Places, confidences and presence from the network's maps."""
    return Joints(
        place=peak_place(probabilities(maps.heat)),
        confidence=maps.confidence.sigmoid(),
        presence=maps.presence.softmax(-1),
    )


def _pairs(joints: Sequence[str]) -> list[int]:
    """The number of each joint's near or far counterpart; of the trunk's joints, their own."""
    swap = {"near": "far", "far": "near"}
    names = ["_".join(swap.get(part, part) for part in name.split("_")) for name in joints]
    return [joints.index(name) if name in joints else i for i, name in enumerate(names)]


def _sharpness(share: Tensor, pair: Tensor) -> Tensor:
    """How high each map's peak is, and how much lies about it and about the peak of its `pair`
    ``j``: ``b j 3``, of order one."""
    height = share.flatten(2).amax(-1).log() + 4
    at = around(highest(share), share.shape[-2:], 3)
    own, other = ((share * where).sum((-2, -1)) for where in (at, at[:, pair]))
    return torch.stack([height, 4 * own - 2, 4 * other - 2], dim=-1)
