"""The warped intermediate on disk: what tuning hands to generation in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.skeletal import Poses
from anamodiff.matting.zoom import Zoom
from anamodiff.resources import replacing
from anamodiff.run.folder import CLIPS, RunFolder
from anamodiff.run.grounds import Subjects
from anamodiff.video.canvas import Letterbox

POSE = "_joints"
# Tensors that every run folder has, then those that only newer ones have.
_ALWAYS = ("source", "driving", "latents", "warped", "flow")


@dataclass(frozen=True)
class ClipPair:
    """A warped intermediate with the rate and the letterbox that its videos are written with.

    Attributes:
        source_ground, driving_ground: what the characters were cut out of, ``3 H W`` in [-1, 1];
            None where they were not.
        zoom: the part of the canvas that the source fills; None: all of it.
        driving_box: the driving clip's letterbox; None in run folders of before 0.2.
    """

    warped: WarpedIntermediate
    fps: float
    box: Letterbox
    source_ground: Tensor | None = None
    driving_ground: Tensor | None = None
    driving_box: Letterbox | None = None
    zoom: Zoom | None = None

    @classmethod
    def of(cls, warped: WarpedIntermediate, subjects: Subjects) -> ClipPair:
        """What came of two clips on the backbone's canvas."""
        source, driving = subjects.source, subjects.driving
        assert source.clip.box is not None  # `read_pair` fits every clip on the canvas
        return cls(
            warped, driving.clip.fps, source.clip.box, source.ground, driving.ground,
            driving.clip.box, source.zoom,
        )  # fmt: skip

    def whole(self, frames: Tensor) -> Tensor:
        """Frames ``f 3 H W`` of the part of the canvas that was zoomed to, on white."""
        return frames if self.zoom is None else self.zoom.leave(frames)

    def save(self, folder: Path) -> None:
        """Write `scene.safetensors` into a run folder."""
        warped, box = self.warped, self.box
        tensors = {name: getattr(warped, name) for name in _ALWAYS}
        tensors["numbers"] = torch.tensor(
            [warped.start, self.fps, *_numbers(box)], dtype=torch.float64
        )
        driving, poses = warped.driving_points, warped.poses
        optional = {
            "mask": warped.mask,
            "frames": warped.frames,
            "visible": warped.visible,
            "foreground": warped.foreground,
            "source_ground": self.source_ground,
            "driving_ground": self.driving_ground,
            "zoom": self.zoom and torch.tensor(astuple(self.zoom)),
            "driving_box": self.driving_box and torch.tensor(_numbers(self.driving_box)),
            "points": driving and driving.value,
            "driving_jacobian": driving and driving.jacobian,
            **_points("source", warped.source_points),
            **_points("adapted", warped.adapted_points),
            **({f"{name}{POSE}": joints for name, joints in vars(poses).items()} if poses else {}),
        }
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        whole = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
        with replacing(folder / CLIPS) as file:
            save_file(whole, file)

    @classmethod
    def load(cls, folder: Path) -> ClipPair:
        """Read what `save` wrote, also in run folders of before 0.2, which hold less.

        Raises:
            AnaMoDiffError: the folder is not tuned yet, or the file is broken.
        """
        RunFolder(folder).check_tuned()
        tensors = _read(folder / CLIPS)
        start, fps, *box = tensors["numbers"].tolist()
        points, poses = tensors.get("points"), None
        if f"target{POSE}" in tensors:
            names = ("source", "driving", "target")
            poses = Poses(**{name: tensors[f"{name}{POSE}"] for name in names})
        jacobian = tensors.get("driving_jacobian")
        warped = WarpedIntermediate(
            **{name: tensors[name] for name in _ALWAYS},
            driving_points=None if points is None else KeyPoints(points, jacobian),
            start=int(start),
            source_points=_key_points(tensors, "source"),
            adapted_points=_key_points(tensors, "adapted"),
            poses=poses,
            mask=tensors.get("mask"),
            frames=tensors.get("frames"),
            visible=tensors.get("visible"),
            foreground=tensors.get("foreground"),
        )
        driving_box, zoom = tensors.get("driving_box"), tensors.get("zoom")
        return cls(
            warped, fps, _letterbox(box), tensors.get("source_ground"),
            tensors.get("driving_ground"),
            None if driving_box is None else _letterbox(driving_box.tolist()),
            None if zoom is None else Zoom(*zoom.tolist()),
        )  # fmt: skip


def _numbers(box: Letterbox) -> list[int]:
    return [box.top, box.left, box.height, box.width, *box.original]


def _letterbox(numbers: Sequence[float]) -> Letterbox:
    top, left, height, width, *original = map(int, numbers)
    return Letterbox(top, left, height, width, (original[0], original[1]))


def _read(file: Path) -> dict[str, Tensor]:
    """The file's tensors, if all that every run folder has are among them."""
    try:
        tensors = load_file(file)
        if missing := [name for name in (*_ALWAYS, "numbers") if name not in tensors]:
            raise ValueError(f"no {missing[0]}")
        if len(tensors["numbers"]) != 8:
            raise ValueError("other numbers")
    except (SafetensorError, ValueError, TypeError) as error:
        raise AnaMoDiffError(
            f"expected a tuned run's clips in {file}, got a broken file ({error}): run anamodiff "
            "tune again in another folder"
        ) from error
    return tensors


def _points(name: str, points: KeyPoints | None) -> dict[str, Tensor | None]:
    if points is None:
        return {}
    return {f"{name}_points": points.value, f"{name}_jacobian": points.jacobian}


def _key_points(tensors: dict[str, Tensor], name: str) -> KeyPoints | None:
    value = tensors.get(f"{name}_points")
    return None if value is None else KeyPoints(value, tensors.get(f"{name}_jacobian"))
