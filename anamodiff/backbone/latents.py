"""Which latents a backbone has: a flow network works on those that it was trained for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

# Side in pixels of the picture that tells latents apart, and cells of its latents that are kept.
PICTURE, CELLS = 64, 2
# Largest distance of two encodings of it, relative to their norm, that are still the same latents:
# measured below 0.01 between fp32, fp16 and bf16, and above 0.8 between unlike autoencoders.
TOLERANCE = 0.1
SD_SCALING = 0.18215  # what diffusers takes where a configuration names none


@dataclass(frozen=True)
class LatentSpace:
    """The latents of an autoencoder, told by what it does.

    Its files differ with their format and precision, and an autoencoder whose decoder alone was
    trained further has the same latents.

    Attributes:
        backbone: what to call the backbone that it belongs to.
        reduction: pixels along one latent's side.
        scaling_factor: of the latents.
        picture: means of the latents of a fixed picture, over `CELLS` x `CELLS` cells of each
            channel.
    """

    backbone: str
    reduction: int
    scaling_factor: float
    picture: tuple[float, ...]

    @classmethod
    def of(
        cls, backbone: str, encode: Callable[[Tensor], Tensor], config: Mapping[str, Any]
    ) -> LatentSpace:
        """That of an autoencoder with a configuration and a function from frames to latents."""
        latents = encode(fixed_picture()).cpu().float()
        means = F.adaptive_avg_pool2d(latents, CELLS).flatten().tolist()
        picture = tuple(round(mean, 4) for mean in means)
        return cls(backbone, reduction_of(config), scaling_of(config), picture)

    @classmethod
    def from_dict(cls, given: Any) -> LatentSpace:
        """What `to_dict` gave.

        Raises:
            AnaMoDiffError: it is something else.
        """
        try:
            return cls(**{**given, "picture": tuple(map(float, given["picture"]))})
        except (TypeError, KeyError, ValueError) as error:
            raise AnaMoDiffError(
                "expected latents with backbone, reduction, scaling_factor and picture, got "
                f"{error!r}: take lofnet.json as train-lofnet wrote it"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**asdict(self), "picture": list(self.picture)}

    def may_be_of(self, config: Mapping[str, Any]) -> bool:
        """Whether an autoencoder of this configuration could have these latents."""
        return (
            reduction_of(config) == self.reduction
            and math.isclose(scaling_of(config), self.scaling_factor, rel_tol=1e-3)
            and config.get("latent_channels", 4) * CELLS**2 == len(self.picture)
        )

    def fits(self, other: LatentSpace) -> bool:
        """Whether both are the same latents, but for rounding."""
        alike = self.reduction == other.reduction and len(self.picture) == len(other.picture)
        if not alike:
            return False
        one, two = torch.tensor(self.picture), torch.tensor(other.picture)
        return float((one - two).norm()) <= TOLERANCE * float(max(one.norm(), two.norm()))


def reduction_of(config: Mapping[str, Any]) -> int:
    """Pixels along one latent's side, by an autoencoder's configuration."""
    return 2 ** (len(config.get("block_out_channels", (64,))) - 1)


def scaling_of(config: Mapping[str, Any]) -> float:
    """Scaling factor of the latents, by an autoencoder's configuration."""
    return float(config.get("scaling_factor", SD_SCALING))


def fixed_picture() -> Tensor:
    """Soft stripes ``1 3 64 64`` in [-1, 1], of another direction and width in each channel."""
    y, x = torch.meshgrid(*[torch.arange(PICTURE) / PICTURE] * 2, indexing="ij")
    waves = [torch.sin(9 * x + 4 * y), torch.cos(14 * y - 5 * x), torch.sin(21 * x * y + 1)]
    return torch.stack(waves)[None]
