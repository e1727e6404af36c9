"""What a warped intermediate was made from, as clips to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anamodiff.visual.flow import (
    MASKS_TITLE,
    SEEN_TITLE,
    draw_key_points,
    flow_picture,
    flow_strength,
    grey_picture,
    mask_picture,
)
from anamodiff.visual.sheets import draw_points, enlarge
from anamodiff.visual.skeleton import draw_skeletons

if TYPE_CHECKING:
    from anamodiff.lofnet.animate import WarpedIntermediate


def inside_panels(
    made: WarpedIntermediate, warped: Tensor | None = None, side: int = 256
) -> dict[str, Tensor]:
    """Joints or points, flow, and visibility or masks, as far as a run folder has them.

    Args:
        warped: the decoded warped intermediate, ``f 3 H W`` in [-1, 1], where there is one.
        side: height in pixels that drawings are made at, at least.

    Returns:
        Clips in [-1, 1] by what they show.
    """
    panels: dict[str, Tensor] = {}
    origin = enlarge(made.source[made.source_frames], side)
    driving = enlarge(made.driving, side)
    ground = origin if warped is None else enlarge(warped, side)
    if made.poses is not None:
        own = made.poses.source[made.source_frames]
        panels["source frames that are warped, with joints"] = draw_skeletons(origin, own)
        panels["driving clip, with joints"] = draw_skeletons(driving, made.poses.driving)
        name = "retargeted joints" + ("" if warped is None else ", on the warped clip")
        panels[name] = draw_skeletons(
            torch.ones_like(origin) if warped is None else ground, made.poses.target
        )
    elif made.driving_points is not None:
        if made.source_points is not None:
            points = made.source_points
            panels["start frame, with key points"] = draw_key_points(
                origin, points.value.expand(len(origin), -1, -1)
            )
        panels["driving clip, with key points"] = draw_points(driving, made.driving_points.value)
        if made.adapted_points is not None and warped is not None:
            panels["adapted points, on the warped clip"] = draw_points(
                ground, made.adapted_points.value
            )
    pixels = flow_strength(made.flow, made.driving.shape[-1])
    panels[f"flow: hue is direction, full colour {pixels:.0f} pixels or more"] = flow_picture(
        made.flow
    )
    if made.visible is not None:
        panels[SEEN_TITLE] = grey_picture(made.visible)
    elif made.mask is not None:
        panels[MASKS_TITLE] = mask_picture(made.mask)
    return panels
