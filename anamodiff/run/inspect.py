"""What LOFNet makes of a clip, as one contact sheet (`anamodiff inspect`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.training.losses import latent_error
from anamodiff.options import FRAMES, AdaptationOptions, RunOptions, StartFrame
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, check_writable, unused
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.outputs import check_no_input
from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.sampling import silent
from anamodiff.visual.flow import (
    MASKS_TITLE,
    colour_wheel,
    draw_key_points,
    flow_picture,
    flow_strength,
    grey_picture,
    grid_picture,
    mask_picture,
)
from anamodiff.visual.sheets import SHEET_CELL, contact_sheet, enlarge, jpeg, save_picture
from anamodiff.visual.skeleton import draw_skeletons
from anamodiff.warp import foldover, identity_grid

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Side of the canvas on which clips are looked at before models are loaded.
_GLANCE = 64
#: Frames of a longer clip are thinned to so many on the sheet.
SHEET_COLUMNS = 12


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        sheet: the picture file.
        foldover: share of folded cells in each frame's flow.
        strength: how far the flow moves things (99th percentile), in pixels of the backbone's
            frame.
        error: mean squared latent error relative to the identity flow's; None where a clip of
            another character drives, for which the truth is not known.
        warped: points, flows, masks and warped latents.
    """

    sheet: Path
    foldover: tuple[float, ...]
    strength: float
    error: float | None
    warped: WarpedIntermediate

    @property
    def lines(self) -> list[str]:
        """The figures in words."""
        mean = sum(self.foldover) / len(self.foldover)
        lines = [
            f"folded over: {mean:.2%} of the flow's cells, {max(self.foldover):.2%} in the worst "
            "frame",
            f"moves things up to {self.strength:.1f} pixels (99th percentile)",
        ]
        if self.error is not None:
            lines.append(f"latent error: {self.error:.3f} of the identity flow's")
        return lines

    def __repr__(self) -> str:
        return "\n".join([f"<{type(self).__name__}: {self.sheet}>", *self.lines])

    def _repr_jpeg_(self) -> bytes:
        """The sheet, for notebooks."""
        return jpeg(iio.imread(self.sheet)[..., :3], quality=90)


def inspect(
    clip: str | Path,
    driving: str | Path | None = None,
    *,
    output: str | Path | None = None,
    backbone: str | Path = "auto",
    lofnet: str | Path | None = None,
    size: int | None = None,
    frames: int = FRAMES,
    start_frame: StartFrame = "first",
    device: str = "auto",
    precision: str = "auto",
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
) -> Inspection:
    """Draw what LOFNet makes of a clip: points, flow, warped grid, masks, warped picture.

    Args:
        clip: the character; without `driving`, at least two frames, for it then drives itself.
        driving: clip of the motion, adapted to the character as in a transfer.
        output: picture file (.png, .jpg, .webp); a new one under `outputs/` by default.

    The other arguments are `transfer`'s.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    sheet = _sheet_path(output, clip, driving)
    RunOptions.check(frames=frames, start_frame=start_frame, size=size)
    alone = driving is None

    def read(size: int) -> tuple[Clip, Clip]:
        source = read_clip(clip, frames=frames, size=size, minimum=2 if alone else 1)
        if driving is None:
            return source, source
        driver = read_clip(driving, frames=frames, size=size, minimum=2, role="driving clip")
        return source, driver

    with silent():
        read(_GLANCE)  # before a model is loaded, let alone fetched
    mover = MotionTransfer.load(backbone, lofnet, device=device, precision=precision, size=size)
    options = mover.resolve(adaptation=adaptation).adaptation
    pixels = mover.backbone.image_size
    subjects = mover.cut(*read(pixels), options)
    made = mover.warp(subjects, None if alone else options, start_frame)
    mattes = {"source": subjects.source.mattes, "driving clip": subjects.driving.mattes}
    if alone:
        del mattes["driving clip"]
    rows = sheet_rows(made, mover.backbone.decode(made.warped).cpu(), mattes)
    save_picture(sheet, contact_sheet(rows, columns=SHEET_COLUMNS + 1))
    return Inspection(
        sheet=sheet,
        foldover=tuple(foldover(made.flow).tolist()),
        strength=flow_strength(made.flow, pixels),
        error=_relative_error(made) if alone else None,
        warped=made,
    )


def sheet_rows(
    made: WarpedIntermediate, warped: Tensor, mattes: Mapping[str, Tensor] | None = None
) -> list[tuple[str, Tensor]]:
    """Rows of the contact sheet; first in each what it begins with or how to read it.

    Args:
        warped: the decoded `W_I`, ``f 3 H W`` in [-1, 1].
        mattes: ``f H W`` in [0, 1], by what the sheet calls the clip.
    """
    assert made.mask is not None  # it is not from a run folder
    cell = SHEET_CELL[1]
    count = len(made.driving)
    chosen = [i * count // min(SHEET_COLUMNS, count) for i in range(min(SHEET_COLUMNS, count))]
    start = enlarge(made.source[made.start : made.start + 1], cell)
    flow, moved = made.flow[chosen], enlarge(warped[chosen], cell)
    still = identity_grid(*flow.shape[1:3])[None]
    pixels = flow_strength(flow, made.driving.shape[-1])
    own = _by_skeletons if made.poses is not None else _by_points
    first, last = own(made, chosen, start, moved)
    parts = {
        **_matte_rows(made, mattes or {}, cell),
        **first,
        f"flow: hue is direction, full colour is {pixels:.0f} pixels or more": (
            colour_wheel(cell),
            flow_picture(flow),
        ),
        "grid, warped": (grid_picture(still, cell), grid_picture(flow, cell)),
        **last,
    }
    return [
        (name, torch.cat([first, enlarge(rest, cell)])) for name, (first, rest) in parts.items()
    ]


Rows = dict[str, tuple[Tensor, Tensor]]


def _matte_rows(made: WarpedIntermediate, mattes: Mapping[str, Tensor], cell: int) -> Rows:
    """What was cut out of either clip: one frame on white, and mattes of even steps."""
    clips = {"source": made.source, "driving clip": made.driving}
    rows: Rows = {}
    for role, matte in mattes.items():
        columns = min(SHEET_COLUMNS, len(matte))
        chosen = [i * len(matte) // columns for i in range(columns)]
        shown = grey_picture(matte[chosen])
        rows[f"matte of the {role}: white is its character, black its ground"] = (
            enlarge(clips[role][:1], cell),
            shown,
        )
    return rows


def _by_points(
    made: WarpedIntermediate, chosen: list[int], start: Tensor, moved: Tensor
) -> tuple[Rows, Rows]:
    """Rows before and after the flow, where key points carry the motion."""
    own, adapted, drivers = made.source_points, made.adapted_points, made.driving_points
    assert own is not None and adapted is not None and drivers is not None
    assert made.mask is not None
    places, cell = torch.tensor(chosen), start.shape[-1]
    drivers, adapted = drivers[places], adapted[places]
    shown = enlarge(made.driving[chosen], cell)
    first = {
        f"source frame {made.start} and driving clip, with key points and Jacobians": (
            draw_key_points(start, own.value, own.jacobian),
            draw_key_points(shown, drivers.value, drivers.jacobian),
        ),
    }
    key = draw_key_points(torch.ones_like(start), own.value)
    return first, {
        MASKS_TITLE: (key, mask_picture(made.mask[chosen])),
        "warped": (start, moved),
        "warped, with the points that the flow follows": (
            draw_key_points(start, own.value, own.jacobian),
            draw_key_points(moved, adapted.value, adapted.jacobian),
        ),
    }


def _by_skeletons(
    made: WarpedIntermediate, chosen: list[int], start: Tensor, moved: Tensor
) -> tuple[Rows, Rows]:
    """Rows before and after the flow, where skeletons carry the motion."""
    poses, visible = made.poses, made.visible
    assert poses is not None and visible is not None
    cell, frames = start.shape[-1], made.source_frames[chosen]
    own = draw_skeletons(start, poses.source[made.start : made.start + 1])
    shown, warped_from = (enlarge(x, cell) for x in (made.driving[chosen], made.source[frames]))
    first = {
        f"source frame {made.start} and driving clip, with skeletons": (
            own,
            draw_skeletons(shown, poses.driving[chosen]),
        ),
    }
    hidden = grey_picture(visible[chosen])
    return first, {
        "source frames that are warped, with their skeletons": (
            own,
            draw_skeletons(warped_from, poses.source[frames]),
        ),
        "visibility: black is what the source frame does not show": (
            torch.ones_like(start),
            enlarge(hidden, cell),
        ),
        "warped": (start, moved),
        "warped, with the retargeted skeleton": (
            own,
            draw_skeletons(moved, poses.target[chosen]),
        ),
    }


def _relative_error(made: WarpedIntermediate) -> float:
    """Latent error of a clip that drove itself, over that of leaving the start frame as it is."""
    latents = made.latents
    still = latent_error(latents[made.start : made.start + 1], latents).mean()
    return float(latent_error(made.warped, latents).mean() / still.clamp_min(1e-9))


def _sheet_path(output: str | Path | None, clip: str | Path, driving: str | Path | None) -> Path:
    """Where the sheet goes; refuses what is no picture file before anything is computed."""
    if output is None:
        names = [Path(name).stem for name in (clip, driving) if name is not None]
        return unused(OUTPUTS / f"{'-'.join(names)}-flow", ".png")
    check_no_input(output, (clip, driving))
    path = expanded(output)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise AnaMoDiffError(
            f"expected a picture file ({', '.join(SUFFIXES)}) for --output, got {path}: "
            "name one such as sheet.png"
        )
    check_writable(path)
    return path
