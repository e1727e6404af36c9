"""What a transfer leaves for people to look at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from anamodiff.pictures import draw_points, side_by_side
from anamodiff.scene import Scene
from anamodiff.video import crop_back, write_frames, write_video


@dataclass(frozen=True)
class Result:
    """A finished transfer: `frames` f c h w in [-1, 1] in the source's own size."""

    frames: Tensor
    fps: float
    video: Path
    run: Path
    timings: dict[str, float]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the clip as mp4, gif or webm, by the suffix."""
        return write_video(path, self.frames, self.fps)


def write_result(
    run: Path, scene: Scene, frames: Tensor, warped: Tensor, output: str | Path | None
) -> tuple[Tensor, float, Path]:
    """Write videos and frames into `run`, and the video to the file `output` if one is named.

    `frames` and `warped` (the decoded `W_I`) are f c H W on the square canvas. Returns the frames
    in the source's own size, their rate, and the video's path.
    """
    clip, fps = crop_back(frames, scene.box), scene.fps
    video = write_video(run / "result.mp4", clip, fps)
    write_video(run / "result.gif", clip, fps)
    write_frames(run / "frames", clip)
    write_video(run / "warped.mp4", crop_back(warped, scene.box), fps)
    columns = [
        ("source", scene.source),
        ("driving", draw_points(scene.driving, scene.points)),
        ("warped", warped),
        ("result", frames),
    ]
    write_video(run / "comparison.mp4", side_by_side(columns), fps)
    if output is not None:
        video = write_video(output, clip, fps)
    return clip, fps, video
