"""What a transfer leaves for people to look at."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.alpha import (
    write_alpha,
    write_alpha_frames,
)
from anamodiff.video.canvas import Letterbox, limited
from anamodiff.video.clip import write_frames, write_video
from anamodiff.video.embed import clip_html
from anamodiff.video.letterbox import CroppedFrames, crop_back
from anamodiff.video.suffixes import ANIMATED_SUFFIXES
from anamodiff.visual.sheets import draw_points, side_by_side
from anamodiff.visual.skeleton import draw_skeletons

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A finished transfer.

    Attributes:
        canvas: the frames on the backbone's square canvas, f 3 H W in [-1, 1], as they were
            decoded; on white, whatever the ground.
        shown: the same on the ground that was asked for; f 4 H W, with alpha, where that is
            transparent. A small character, enlarged for the work, is shown on a larger canvas.
        box: where the picture lies in `shown`, and the size at which it is written.
        fps: frames a second.
        video: the file to watch.
        run: the run folder.
        timings: seconds of each stage.
    """

    canvas: Tensor
    shown: Tensor
    box: Letterbox
    fps: float
    video: Path
    run: Path
    timings: dict[str, float]

    @cached_property
    def frames(self) -> Tensor:
        """The frames f c h w in [-1, 1], in the size at which they are written."""
        return crop_back(self.shown, self.box)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._summary}>"

    def _repr_html_(self) -> str:
        """A video, for notebooks."""
        return clip_html(CroppedFrames(self.shown, self.box), self.fps, self._summary)

    @property
    def _summary(self) -> str:
        height, width = self.box.original
        size = f"{len(self.canvas)} frames of {width}x{height}, {self.fps:.3g} a second"
        return f"{size}, in {self.video}; report and all else in {self.run}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the clip as mp4, gif or webm, by the suffix; also as webp or apng."""
        return _write(path, self.shown, self.box, self.fps)


def write_result(
    run: Path, pair: ClipPair, canvas: Tensor, shown: Tensor, warped: Tensor,
    output: str | Path | None, box: Letterbox,
) -> Path:  # fmt: skip
    """Write videos and frames into `run`, and the video to the file `output` if one is named.

    Frames are resized and written one at a time.

    Args:
        canvas: the result, f c H W in [-1, 1] on the square canvas.
        warped: `W_I`, the decoded warped intermediate, likewise.
        shown: the same on its ground, f 3 H W, or f 4 H W with alpha.
        box: the letterbox in `shown`, with the size to write.

    Returns:
        The video's path.
    """
    fps, transparent = pair.fps, shown.shape[1] == 4
    (run / ("result.mp4" if transparent else "result.webm")).unlink(missing_ok=True)  # an older one
    video = _write(run / ("result.webm" if transparent else "result.mp4"), shown, box, fps)
    _write(run / "result.gif", shown, box, fps)
    if transparent:
        write_alpha_frames(run / "frames", crop_back(shown, box))
    else:
        write_frames(run / "frames", CroppedFrames(shown, box))
    whole = replace(pair.box, original=box.original)
    write_video(run / "warped.mp4", CroppedFrames(pair.whole(warped), whole), fps)
    columns = [
        ("source", pair.warped.source),
        ("driving", drawn_motion(pair.warped)),
        ("warped", warped),
        ("result", canvas),
    ]
    write_video(run / "comparison.mp4", side_by_side(columns), fps)
    if output is not None:
        video = _write(output, shown, box, fps)
    return video


def output_box(box: Letterbox, longest: int) -> Letterbox:
    """The letterbox with the size to write; one log line where it is not the source's."""
    smaller = limited(box, longest)
    if smaller != box:
        (height, width), (own_height, own_width) = smaller.original, box.original
        logger.info(
            "the result is written at %dx%d, the source is %dx%d: --max-size sets the longer side, "
            "0 is the source's own",
            width, height, own_width, own_height,
        )  # fmt: skip
    return smaller


def _write(path: str | os.PathLike[str], shown: Tensor, box: Letterbox, fps: float) -> Path:
    """A video, or what holds alpha where there is some or the suffix asks for it."""
    if shown.shape[1] == 4 or Path(path).suffix.lower() in ANIMATED_SUFFIXES:
        return write_alpha(path, crop_back(shown, box), fps)
    return write_video(path, CroppedFrames(shown, box), fps)


def drawn_motion(warped: WarpedIntermediate) -> Tensor:
    """The driving clip with the skeletons or key points found on it."""
    if warped.poses is not None:
        return draw_skeletons(warped.driving, warped.poses.driving)
    assert warped.driving_points is not None
    return draw_points(warped.driving, warped.driving_points.value)
