"""Rows of the contact sheet that `anamodiff inspect` draws, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from anamodiff.backbone.model import Backbone
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.training.losses import latent_error
from anamodiff.run.grounds import Subjects
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
from anamodiff.visual.sheets import SHEET_CELL, contact_sheet, enlarge, save_picture
from anamodiff.visual.skeleton import draw_skeletons
from anamodiff.warp import identity_grid

#: Frames of a longer clip are thinned to so many on the sheet.
SHEET_COLUMNS = 12


def draw_sheet(
    path: Path, backbone: Backbone, made: WarpedIntermediate, subjects: Subjects, *, alone: bool
) -> None:
    """Draw and write the sheet; `alone`: the clip drives itself."""
    mattes = {"source": subjects.source.mattes, "driving clip": subjects.driving.mattes}
    if alone:
        del mattes["driving clip"]
    rows = sheet_rows(made, backbone.decode(made.warped).cpu(), mattes)
    save_picture(path, contact_sheet(rows, columns=SHEET_COLUMNS + 1))


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


def relative_error(made: WarpedIntermediate) -> float:
    """Latent error of a clip that drove itself, over that of leaving the start frame as it is."""
    latents = made.latents
    still = latent_error(latents[made.start : made.start + 1], latents).mean()
    return float(latent_error(made.warped, latents).mean() / still.clamp_min(1e-9))
