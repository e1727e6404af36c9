"""The side of the square frames that a backbone works at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import settings_of
from anamodiff.options import RunOptions

#: What the UNet was made for first (its `sample_size`), whatever its folder recommends.
UNET = "unet"
#: Pixels, or `UNET`.
Size = int | Literal["unet"]


def cells_along(
    size: Size | None, recommended: Mapping[str, Any], *, unet_cells: int, unit: int, name: str
) -> int:
    """Latents along the side of a backbone's frames.

    Args:
        size: None is the recommended one, else the UNet's own.
        recommended: the backbone's `anamodiff.json`.
        unet_cells: the UNet's `sample_size`.
        unit: pixels along one latent's side.
        name: the backbone's.

    Raises:
        AnaMoDiffError: no whole number of latents goes into the size.
    """
    where = "--size"
    if size is None and recommended.get("size") is not None:
        size, where = recommended["size"], "size in anamodiff.json"
        settings_of(RunOptions)["size"].check(size, where)
    if size is None or isinstance(size, str):
        return unet_cells
    if size < unit or size % unit:
        nearest = max(unit, round(size / unit) * unit)
        raise AnaMoDiffError(
            f"{where}: expected a multiple of {unit} pixels for {name}, got {size}; "
            f"{nearest} is the nearest"
        )
    return size // unit
