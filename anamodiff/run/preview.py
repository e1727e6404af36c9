"""What a transfer will look like, before anything is tuned: joints, and the warped clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from anamodiff.lofnet.animate import WarpedIntermediate, check_start
from anamodiff.options import FRAMES, AdaptationOptions, RunOptions, StartFrame
from anamodiff.run.grounds import Subject
from anamodiff.run.inputs import GivenClip, read_pair
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.result import drawn_motion
from anamodiff.video.embed import clip_html
from anamodiff.video.letterbox import crop_back, to_pixels
from anamodiff.visual.sheets import draw_points, side_by_side
from anamodiff.visual.skeleton import draw_skeletons


@dataclass(frozen=True)
class Preview:
    """Frames in [-1, 1], each clip in its own size, its character cut out.

    Attributes:
        source: the source with its joints, ``s 3 h w``; of key points, the start frame alone.
        driving: the driving clip with its joints, ``f 3 h w``.
        warped: `W_I`, the source warped along the motion, ``f 3 h w``.
        target: the same with the joints that it follows.
        fps: rate of the driving and warped frames.
        made: what they were drawn from.
    """

    source: Tensor
    driving: Tensor
    warped: Tensor
    target: Tensor
    fps: float
    made: WarpedIntermediate

    def _repr_html_(self) -> str:
        """The clips side by side as a video, for notebooks."""
        columns = [
            ("source", self.source),
            ("driving clip", self.driving),
            ("warped", self.warped),
            ("warped, with joints", self.target),
        ]
        return clip_html(to_pixels(side_by_side(columns)), self.fps)


def preview(
    mover: MotionTransfer,
    source: GivenClip,
    driving: GivenClip,
    *,
    frames: int = FRAMES,
    start_frame: StartFrame = "first",
    adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
) -> Preview:
    """The first stage of `MotionTransfer.transfer`, with its arguments, drawn.

    Raises:
        AnaMoDiffError: an input cannot be used.
    """
    RunOptions.check(frames=frames, start_frame=start_frame)
    options = mover.resolve(adaptation=adaptation).adaptation
    own, other = read_pair(source, driving, frames, mover.backbone.image_size)
    check_start(start_frame, len(own.frames))
    subjects = mover.cut(own, other, options)
    made = mover.warp(subjects, options, start_frame)
    warped = mover.backbone.decode(made.warped).cpu()
    drawn, target = _by_skeletons(made, warped) if made.poses else _by_points(made, warped)
    return Preview(
        _in_its_size(drawn, subjects.source), _in_its_size(drawn_motion(made), subjects.driving),
        _in_its_size(warped, subjects.source), _in_its_size(target, subjects.source),
        other.fps, made,
    )  # fmt: skip


def _in_its_size(frames: Tensor, subject: Subject) -> Tensor:
    """Frames of what `subject` shows of a clip, in the clip's own size."""
    whole = frames if subject.zoom is None else subject.zoom.leave(frames)
    assert subject.clip.box is not None  # `read_pair` fits every clip on the canvas
    return crop_back(whole, subject.clip.box)


def _by_skeletons(made: WarpedIntermediate, warped: Tensor) -> tuple[Tensor, Tensor]:
    poses = made.poses
    assert poses is not None
    return draw_skeletons(made.source, poses.source), draw_skeletons(warped, poses.target)


def _by_points(made: WarpedIntermediate, warped: Tensor) -> tuple[Tensor, Tensor]:
    own, adapted = made.source_points, made.adapted_points
    assert own is not None and adapted is not None  # it is not from a run folder
    start = made.source[made.start : made.start + 1]
    return draw_points(start, own.value), draw_points(warped, adapted.value)
