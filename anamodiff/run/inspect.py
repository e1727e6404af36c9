"""What LOFNet makes of a clip, as one contact sheet (`anamodiff inspect`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anamodiff.backbone.libraries import import_libraries
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import FRAMES, AdaptationOptions, RunOptions, StartFrame
from anamodiff.resources import expanded
from anamodiff.run.folder import OUTPUTS, check_writable, unused
from anamodiff.run.folds import fold_verdict
from anamodiff.run.inputs import fitted_clip, glance_at
from anamodiff.run.outputs import check_no_input, masks_in

if TYPE_CHECKING:
    from anamodiff.lofnet.animate import WarpedIntermediate

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


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
        warnings: what may spoil a transfer, a line each.
    """

    sheet: Path
    foldover: tuple[float, ...]
    strength: float
    error: float | None
    warped: WarpedIntermediate
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The figures in words."""
        mean = sum(self.foldover) / len(self.foldover)
        lines = [
            f"folded over: {mean:.2%} of the flow's cells, {max(self.foldover):.2%} in the worst "
            f"frame; {fold_verdict(mean)}",
            f"moves things up to {self.strength:.1f} pixels (99th percentile)",
        ]
        if self.error is not None:
            lines.append(f"latent error: {self.error:.3f} of the identity flow's")
        return [*lines, *(f"warning: {line}" for line in self.warnings)]

    def __repr__(self) -> str:
        return "\n".join([f"<{type(self).__name__}: {self.sheet}>", *self.lines])

    def _repr_jpeg_(self) -> bytes:
        """The sheet, for notebooks."""
        import imageio.v3 as iio

        from anamodiff.visual.sheets import jpeg

        return jpeg(iio.imread(self.sheet)[..., :3], quality=90)


def inspect(
    clip: str | Path,
    driving: str | Path | None = None,
    *,
    prompt: str | None = None,
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
        prompt: of the transfer that is planned: words that the model does not know are told.
        output: picture file (.png, .jpg, .webp); a new one under `outputs/` by default.

    The other arguments are `transfer`'s.

    Raises:
        AnaMoDiffError: an input cannot be used; the message says what to do.
    """
    sheet = _sheet_path(output, clip, driving, masks_in(adaptation))
    RunOptions.check(frames=frames, start_frame=start_frame, size=size, prompt=prompt)
    AdaptationOptions.checked(None if isinstance(adaptation, AdaptationOptions) else adaptation)
    alone = driving is None
    glance_at(clip, 2 if alone else 1, "clip")
    if driving is not None:
        glance_at(driving, 2, "driving clip")
    import_libraries()
    from anamodiff.run.findings import unknown_words, warnings_of
    from anamodiff.run.inspection_sheet import draw_sheet, relative_error
    from anamodiff.run.motion_transfer import MotionTransfer
    from anamodiff.visual.flow import flow_strength
    from anamodiff.warp import foldover

    mover = MotionTransfer.load(backbone, lofnet, device=device, precision=precision, size=size)
    size = mover.backbone.image_size
    source = fitted_clip(clip, frames, size, 2 if alone else 1, "clip")
    driver = source if driving is None else fitted_clip(driving, frames, size, 2, "driving clip")
    unknown = [] if prompt is None else unknown_words(mover.backbone.tokenizer, prompt)
    options = mover.resolve(adaptation=adaptation).adaptation
    subjects = mover.cut(source, driver, options)
    made = mover.warp(subjects, None if alone else options, start_frame)
    draw_sheet(sheet, mover.backbone, made, subjects, alone=alone)
    return Inspection(
        sheet=sheet,
        foldover=tuple(foldover(made.flow).tolist()),
        strength=flow_strength(made.flow, size),
        error=relative_error(made) if alone else None,
        warped=made,
        warnings=tuple(warnings_of(made, unknown)),
    )


def _sheet_path(
    output: str | Path | None, clip: str | Path, driving: str | Path | None, masks: list[str]
) -> Path:
    """Where the sheet goes; refuses what is no picture file before anything is computed."""
    if output is None:
        names = [Path(name).stem for name in (clip, driving) if name is not None]
        return unused(OUTPUTS / f"{'-'.join(names)}-flow", ".png")
    check_no_input(output, (clip, driving, *masks))
    path = expanded(output)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise AnaMoDiffError(
            f"expected a picture file ({', '.join(SUFFIXES)}) for --output, got {path}: "
            "name one such as sheet.png"
        )
    check_writable(path)
    return path
