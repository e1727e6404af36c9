"""People's own masks of the characters (`--matte FOLDER` or `FILE`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import expanded
from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.closer import read_closer

ROLES = ("source", "driving")


@dataclass(frozen=True)
class Masks:
    """Mattes ``f H W`` in [0, 1] on each clip's canvas; None for a clip without any.

    Attributes:
        clips: what they were read from, by role.
    """

    source: Tensor | None
    driving: Tensor | None
    clips: dict[str, Clip] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path, source: Clip, driving: Clip) -> Masks:
        """Read what `--matte` names.

        A folder with entries named ``source`` and ``driving`` (a picture, a clip or a folder each)
        holds masks of either. Other masks are those of the clip whose frames they match in number
        and size; of the source where they match both.

        Raises:
            AnaMoDiffError: there are none, or they match neither clip.
        """
        path, clips = expanded(path), (source, driving)
        named = {role: _named(path, role) for role in ROLES} if path.is_dir() else {}
        if any(named.values()):
            pairs = zip(named.values(), clips, ROLES, strict=True)
            found = {role: _matched(file, clip, role) for file, clip, role in pairs if file}
            return cls._of(found, dict(zip(ROLES, clips, strict=True)))
        masks = _read(path, source)
        fits = [_fits(masks, clip) for clip in clips]
        if not any(fits):
            raise AnaMoDiffError(
                f"expected masks of {_shape(source)} as the source has, or of {_shape(driving)} as "
                f"the driving clip has, got {_shape(masks)} in {path}: export one mask for each "
                "frame, or put them in FOLDER/source and FOLDER/driving"
            )
        role = ROLES[0] if fits[0] else ROLES[1]
        clip = source if fits[0] else driving
        return cls._of({role: _matched(path, clip, role)}, {role: clip})

    @classmethod
    def _of(cls, found: dict[str, Clip], clips: dict[str, Clip]) -> Masks:
        mattes = {role: _inside(_brightness(masks), clips[role]) for role, masks in found.items()}
        return cls(mattes.get("source"), mattes.get("driving"), found)

    def closer(self, role: str, top: int, left: int, side: int) -> Tensor | None:
        """A square of a clip's mattes, as `read_closer` reads it; None where it gives no more."""
        masks = self.clips.get(role)
        found = None if masks is None else read_closer(masks, top, left, side)
        return None if found is None else _brightness(found)


def _named(folder: Path, role: str) -> Path | None:
    """The entry of a folder that holds a clip's masks."""
    return next((path for path in sorted(folder.iterdir()) if path.stem == role), None)


def _read(path: Path, clip: Clip) -> Clip:
    return read_clip(path, frames=None, size=clip.frames.shape[-1], role="matte")


def _fits(masks: Clip, clip: Clip) -> bool:
    return masks.total == clip.total and _size(masks) == _size(clip)


def _size(clip: Clip) -> tuple[int, ...]:
    return clip.box.original if clip.box else tuple(clip.frames.shape[-2:])


def _shape(clip: Clip) -> str:
    height, width = _size(clip)
    frames = "one frame" if clip.total == 1 else f"{clip.total} frames"
    return f"{frames} of {width}x{height}"


def _matched(path: Path, clip: Clip, role: str) -> Clip:
    """Masks of the frames that were read of a clip.

    Raises:
        AnaMoDiffError: they do not match it in number or size, or have one shade.
    """
    masks = _read(path, clip)
    if not _fits(masks, clip):
        raise AnaMoDiffError(
            f"expected masks of {_shape(clip)}, as the {role} clip has, got {_shape(masks)} in "
            f"{path}: export one mask for each frame, in its size"
        )
    # Of a clip too long to be read whole, the nearest mask that was.
    read = np.asarray(masks.indices)
    nearest = [int(np.abs(read - index).argmin()) for index in clip.indices]
    indices = tuple(masks.indices[number] for number in nearest)
    masks = replace(masks, frames=masks.frames[nearest], indices=indices, alpha=None)
    mattes = _brightness(masks)
    if float(mattes.max()) - float(mattes.min()) < 0.5:
        raise AnaMoDiffError(
            f"expected white characters on black in the masks of {path}, got one shade: export "
            "them as black and white"
        )
    return masks


def _brightness(masks: Clip) -> Tensor:
    """Mattes ``f h w`` in [0, 1]."""
    return masks.frames.mean(dim=1) / 2 + 0.5


def _inside(mattes: Tensor, clip: Clip) -> Tensor:
    """Mattes without what lies beside the clip's picture, where there is no character."""
    box = clip.box
    if box is None:
        return mattes
    inside = torch.zeros_like(mattes)
    part = (..., slice(box.top, box.top + box.height), slice(box.left, box.left + box.width))
    inside[part] = mattes[part]
    return inside
