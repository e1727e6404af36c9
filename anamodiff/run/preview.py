"""What a transfer will look like, before anything is tuned: joints, mattes, the warped clip."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from torch import Tensor

from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.start import check_start
from anamodiff.options import FRAMES, AdaptationOptions, RunOptions, StartFrame
from anamodiff.resources import expanded
from anamodiff.run.findings import unknown_words, warnings_of
from anamodiff.run.grounds import Subject, Subjects
from anamodiff.run.inputs import GivenClip, fitted_clip
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.result import drawn_motion
from anamodiff.video.canvas import limited
from anamodiff.video.clip import Clip
from anamodiff.video.embed import clip_html
from anamodiff.video.letterbox import crop_back, to_pixels
from anamodiff.visual.flow import grey_picture
from anamodiff.visual.sheets import draw_points, side_by_side
from anamodiff.visual.skeleton import draw_skeletons

LONGEST = 1024  # pixels of a preview's longer side
T = TypeVar("T")


@dataclass(frozen=True)
class Preview:
    """Frames in [-1, 1], each clip in its own size, its character cut out.

    Attributes:
        source: the source with its joints, ``s 3 h w``; of key points, the start frame alone.
        driving: the driving clip with its joints, ``f 3 h w``.
        warped: `W_I`, the source warped along the motion, ``f 3 h w``.
        target: the same with the joints that it follows.
        source_matte, driving_matte: what was cut out, white on black, ``s 3 h w`` and ``f 3 h w``.
        fps: rate of the driving and warped frames.
        made: what they were drawn from.
    """

    source: Tensor
    driving: Tensor
    warped: Tensor
    target: Tensor
    source_matte: Tensor
    driving_matte: Tensor
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
    previewer = Previewer(mover)
    return previewer(source, driving, frames=frames, start_frame=start_frame, adaptation=adaptation)


class Previewer:
    """Previews that follow changes of clips and settings: what stays is not computed again.

    Args:
        mover: what computes.
        longest: pixels of the longer side of what is drawn; 0 is each clip's own size.
    """

    def __init__(self, mover: MotionTransfer, longest: int = LONGEST) -> None:
        self.mover, self.longest = mover, longest
        self._kept: dict[str, tuple[Any, Any]] = {}

    def __call__(
        self,
        source: GivenClip,
        driving: GivenClip,
        *,
        frames: int = FRAMES,
        start_frame: StartFrame = "first",
        adaptation: AdaptationOptions | Mapping[str, Any] | None = None,
    ) -> Preview:
        """`preview`, of which the last one's clips, mattes and joints are kept.

        Raises:
            AnaMoDiffError: an input cannot be used.
        """
        RunOptions.check(frames=frames, start_frame=start_frame)
        mover, size = self.mover, self.mover.backbone.image_size
        options = mover.resolve(adaptation=adaptation).adaptation
        given = (_state(source), _state(driving), frames)
        own, other = (
            self._keep(role, (_state(clip), frames), lambda c=clip, m=minimum, r=role: fitted_clip(
                c, frames, size, m, r
            ))
            for clip, minimum, role in ((source, 1, "source"), (driving, 2, "driving clip"))
        )  # fmt: skip
        check_start(start_frame, len(own.frames))
        # Masks of one's own are files, which may change.
        cut = (given, options.matte) if options.matte in ("auto", "none") else object()
        subjects = self._keep("subjects", cut, lambda: mover.cut(own, other, options))
        return self._keep(
            "preview", (cut, options, start_frame),
            lambda: self._drawn(subjects, cut, options, start_frame, other.fps),
        )  # fmt: skip

    def warnings(self, shown: Preview, prompt: str) -> list[str]:
        """What may spoil the transfer, a line each; see `warnings_of`."""
        unknown = unknown_words(self.mover.backbone.tokenizer, prompt)
        return warnings_of(shown.made, unknown)

    def _drawn(
        self,
        subjects: Subjects,
        cut: object,
        options: AdaptationOptions,
        start: StartFrame,
        fps: float,
    ) -> Preview:
        """A preview of `subjects`, which `cut` tells from others."""
        backbone = self.mover.backbone
        latents, found = self._keep("seen", cut, lambda: self._seen(subjects))
        made = self.mover.warp(subjects, options, start, latents=latents, found=found)
        warped = backbone.decode(made.warped).cpu()
        drawn, target = _by_skeletons(made, warped) if made.poses else _by_points(made, warped)
        own, other = subjects.source, subjects.driving
        size = self._in_its_size
        return Preview(
            source=size(drawn, own), driving=size(drawn_motion(made), other),
            warped=size(warped, own), target=size(target, own),
            source_matte=size(grey_picture(own.mattes), own),
            driving_matte=size(grey_picture(other.mattes), other),
            fps=fps, made=made,
        )  # fmt: skip

    def _seen(self, subjects: Subjects) -> tuple[Tensor, Callable[[], Any] | None]:
        """The source's latents, and what gives both clips' joints when they are needed."""
        method = self.mover.method
        own, other = subjects.source.clip.frames, subjects.driving.clip.frames
        networks = method.skeletal
        found = networks and cache(lambda: (networks.detect(own), networks.detect(other)))
        return method.backbone.encode(own), found

    def _in_its_size(self, frames: Tensor, subject: Subject) -> Tensor:
        """Frames of what `subject` shows of a clip, in the clip's own size."""
        whole = frames if subject.zoom is None else subject.zoom.leave(frames)
        assert subject.clip.box is not None  # `fitted_clip` fits every clip on the canvas
        return crop_back(whole, limited(subject.clip.box, self.longest))

    def _keep(self, name: str, key: Any, compute: Callable[[], T]) -> T:
        """What was computed last under a name, if its key was the same."""
        if name not in self._kept or self._kept[name][0] != key:
            self._kept.pop(name, None)  # not both at once in memory
            self._kept[name] = (key, compute())
        return self._kept[name][1]


class _Identity:
    """Equal for the same object, which is kept: an `id` would be another's once it is gone."""

    def __init__(self, of: object) -> None:
        self.of = of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.of is other.of


def _state(clip: GivenClip) -> Any:
    """What tells a clip from others, and a file from what it was before."""
    if isinstance(clip, Clip):
        return _Identity(clip.frames)
    try:
        found = os.stat(expanded(clip))
    except OSError:
        return str(clip)
    return str(clip), found.st_mtime_ns, found.st_size


def _by_skeletons(made: WarpedIntermediate, warped: Tensor) -> tuple[Tensor, Tensor]:
    poses = made.poses
    assert poses is not None
    return draw_skeletons(made.source, poses.source), draw_skeletons(warped, poses.target)


def _by_points(made: WarpedIntermediate, warped: Tensor) -> tuple[Tensor, Tensor]:
    own, adapted = made.source_points, made.adapted_points
    assert own is not None and adapted is not None  # it is not from a run folder
    start = made.source[made.start : made.start + 1]
    return draw_points(start, own.value), draw_points(warped, adapted.value)
