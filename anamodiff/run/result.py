"""What a transfer leaves for people to look at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.run.intermediate import ClipPair
from anamodiff.video.clip import write_frames, write_video
from anamodiff.video.letterbox import crop_back
from anamodiff.visual.sheets import draw_points, side_by_side
from anamodiff.visual.skeleton import draw_skeletons


@dataclass(frozen=True)
class Result:
    """A finished transfer.

    Attributes:
        frames: f c h w in [-1, 1], in the source's own size.
        canvas: the same on the backbone's square canvas, f c H W, as they were decoded.
        fps: frames a second.
        video: the file to watch.
        run: the run folder.
        timings: seconds of each stage.
    """

    frames: Tensor
    canvas: Tensor
    fps: float
    video: Path
    run: Path
    timings: dict[str, float]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the clip as mp4, gif or webm, by the suffix."""
        return write_video(path, self.frames, self.fps)


def write_result(
    run: Path, pair: ClipPair, canvas: Tensor, warped: Tensor, output: str | Path | None
) -> tuple[Tensor, Path]:
    """Write videos and frames into `run`, and the video to the file `output` if one is named.

    Args:
        canvas: the result, f c H W in [-1, 1] on the square canvas.
        warped: `W_I`, the decoded warped intermediate, likewise.

    Returns:
        The frames in the source's own size, and the video's path.
    """
    clip, fps = crop_back(canvas, pair.box), pair.fps
    video = write_video(run / "result.mp4", clip, fps)
    write_video(run / "result.gif", clip, fps)
    write_frames(run / "frames", clip)
    write_video(run / "warped.mp4", crop_back(warped, pair.box), fps)
    columns = [
        ("source", pair.warped.source),
        ("driving", drawn_motion(pair.warped)),
        ("warped", warped),
        ("result", canvas),
    ]
    write_video(run / "comparison.mp4", side_by_side(columns), fps)
    if output is not None:
        video = write_video(output, clip, fps)
    return clip, video


def drawn_motion(warped: WarpedIntermediate) -> Tensor:
    """The driving clip with the skeletons or key points found on it."""
    if warped.poses is not None:
        return draw_skeletons(warped.driving, warped.poses.driving)
    assert warped.driving_points is not None
    return draw_points(warped.driving, warped.driving_points.value)
