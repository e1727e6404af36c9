"""The warped intermediate on disk: what tuning hands to generation in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.skeletal import Poses
from anamodiff.run.folder import replacing
from anamodiff.video.letterbox import Letterbox

FILE, POSE = "scene.safetensors", "_joints"
# Tensors that every run folder has, then those that only newer ones have.
_ALWAYS = ("source", "driving", "latents", "warped", "flow")


@dataclass(frozen=True)
class ClipPair:
    """A warped intermediate with the rate and the letterbox that its videos are written with."""

    warped: WarpedIntermediate
    fps: float
    box: Letterbox

    def save(self, folder: Path) -> None:
        """Write `scene.safetensors` into a run folder."""
        warped, box = self.warped, self.box
        tensors = {name: getattr(warped, name) for name in _ALWAYS}
        tensors["numbers"] = torch.tensor(
            [warped.start, self.fps, box.top, box.left, box.height, box.width, *box.original],
            dtype=torch.float64,
        )
        driving, poses = warped.driving_points, warped.poses
        optional = {
            "mask": warped.mask,
            "frames": warped.frames,
            "visible": warped.visible,
            "points": driving and driving.value,
            "driving_jacobian": driving and driving.jacobian,
            **_points("source", warped.source_points),
            **_points("adapted", warped.adapted_points),
            **({f"{name}{POSE}": joints for name, joints in vars(poses).items()} if poses else {}),
        }
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        whole = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
        with replacing(folder / FILE) as file:
            save_file(whole, file)

    @staticmethod
    def find(folder: Path) -> Path:
        """The file in a run folder.

        Raises:
            AnaMoDiffError: the folder is not tuned yet.
        """
        path = folder / FILE
        if not path.is_file():
            raise AnaMoDiffError(f"expected a tuned run, got no {path}: run anamodiff tune first")
        return path

    @classmethod
    def load(cls, folder: Path) -> ClipPair:
        """Read what `save` wrote, also in run folders of before 0.2, which hold less.

        Raises:
            AnaMoDiffError: the folder is not tuned yet, or the file is broken.
        """
        tensors = _read(cls.find(folder))
        start, fps, *box = tensors["numbers"].tolist()
        top, left, height, width, *original = map(int, box)
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
        )
        return cls(warped, fps, Letterbox(top, left, height, width, (original[0], original[1])))


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
