"""LOFNet: detector and dense motion together, saved and loaded as one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anamodiff.backbone.latents import LatentSpace
from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import Options, settings_of, unknown
from anamodiff.lofnet.flow import DenseMotion, Motion
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.lofnet.options import DenseMotionOptions, DetectorOptions, NetworkOptions
from anamodiff.lofnet.point_retarget import PointRetargeter
from anamodiff.lofnet.resnet import ResNetDetector
from anamodiff.lofnet.tps import SplineMotion
from anamodiff.resources import find
from anamodiff.tensors import not_finite

WEIGHTS_FILE = "lofnet.safetensors"
CONFIG_FILE = "lofnet.json"
RETARGETER = "point_retargeter"  # of key points, beside them where there is one
LATENTS = "latents"  # in the configuration file: which latents the weights are for

Detector = KeypointDetector | ResNetDetector
DETECTORS: dict[str, type[Detector]] = {"hourglass": KeypointDetector, "resnet18": ResNetDetector}
MOTIONS = {kind.motion: kind for kind in (DenseMotion, SplineMotion)}


class LOFNet(nn.Module):
    """Latent optical flow network (paper, section 3.2).

    Args:
        detector: detects key points on RGB frames.
        dense_motion: predicts a flow on the latent grid from the points of two frames.
        frame_size: side in pixels of the square frames that the detector was trained on.
        latents: those that it was trained for; None where nothing says which.
        retargeter: learnt retargeting of the detector's key points; None where there is none.
    """

    def __init__(
        self,
        detector: Detector,
        dense_motion: DenseMotion,
        frame_size: int = 256,
        latents: LatentSpace | None = None,
        retargeter: PointRetargeter | None = None,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.dense_motion = dense_motion
        self.frame_size = frame_size
        self.latents = latents
        self.retargeter = retargeter

    @property
    def config(self) -> dict[str, Any]:
        """The network's configuration, as `build_lofnet` takes it."""
        return {
            "motion": self.dense_motion.motion,
            "frame_size": self.frame_size,
            "detector": self.detector.config,
            "dense_motion": self.dense_motion.config,
        }

    def points(self, frames: Tensor) -> KeyPoints:
        """Detect key points on frames ``f c h w`` in [-1, 1] of any size, on any device."""
        size = (self.frame_size, self.frame_size)
        if frames.shape[-2:] != size:  # where the frames are: MPS cannot
            frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        frames = frames.to(next(self.parameters()).device)
        return self.detector((frames + 1) / 2)

    def flow(
        self,
        latent: Tensor,
        driving: KeyPoints,
        source: KeyPoints,
        *,
        generator: torch.Generator | None = None,
    ) -> Motion:
        """Predict the flows that warp the source to the driving points.

        Args:
            latent: of the source, ``b c h w``; a batch of one is expanded.
            driving: points of `b` frames.
            source: points of the source frame(s), `b` or one.
            generator: of the dropout in training.

        Returns:
            `b` flows on the latent's grid and their masks.
        """
        batch = len(driving)
        if latent.shape[0] != batch:
            latent = latent.expand(batch, -1, -1, -1)
        if len(source) != batch:
            source = source.expand(batch)
        return self.dense_motion(latent, driving, source, generator=generator)

    def save(self, folder: Path | str) -> Path:
        """Write weights and configuration into `folder`, creating it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: tensor.contiguous()
            for name, tensor in self.state_dict().items()
            if not name.startswith("retargeter.")
        }
        save_file(state, folder / WEIGHTS_FILE)
        if self.retargeter is not None:
            self.retargeter.save(folder / RETARGETER)
        latents = {} if self.latents is None else {LATENTS: self.latents.to_dict()}
        text = json.dumps(self.config | latents, indent=2) + "\n"
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> LOFNet:
        """Read a folder that `save` wrote, in 32 bits and evaluation mode.

        Raises:
            AnaMoDiffError: a file is missing or broken, or the two do not fit each other.
        """
        folder = Path(folder)
        missing = [n for n in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / n).is_file()]
        if missing:
            raise AnaMoDiffError(
                f"expected a LOFNet folder with {CONFIG_FILE} and {WEIGHTS_FILE}, {folder} lacks "
                f"{' and '.join(missing)}: name a folder that train-lofnet wrote"
            )
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            latents = config.pop(LATENTS, None)
            model = build_lofnet(config)
            model.latents = None if latents is None else LatentSpace.from_dict(latents)
            model.load_state_dict(load_file(folder / WEIGHTS_FILE))
            if name := not_finite(model.named_parameters()):
                raise ValueError(f"NaN or infinity in {name}")
        except Exception as error:  # broken JSON, cut file, other shapes: all one cure
            reason = " ".join(str(error).split())[:200]
            raise AnaMoDiffError(
                f"expected whole LOFNet files in {folder}, got: {reason}: train or fetch them again"
            ) from error
        if (folder / RETARGETER).with_suffix(".safetensors").is_file():
            model.retargeter = _fitting(PointRetargeter.load(folder / RETARGETER), model)
        return model.float().eval()


def _fitting(retargeter: PointRetargeter, lofnet: LOFNet) -> PointRetargeter:
    """The retargeter, if it is for as many key points as are detected."""
    count, own = retargeter.num_kp, lofnet.detector.config["num_kp"]
    if count != own:
        raise AnaMoDiffError(
            f"expected {RETARGETER}.safetensors for {own} key points, got one for {count} key "
            "points: use the files that were saved together"
        )
    return retargeter


def build_lofnet(config: Mapping[str, Any], *, detector: Detector | None = None) -> LOFNet:
    """Build an untrained LOFNet from ``{"motion", "frame_size", "detector", "dense_motion"}``.

    Keys and ranges are those of `NetworkOptions`, `DetectorOptions` and `DenseMotionOptions`; what
    is left out or None takes their defaults.

    Args:
        detector: already built (by `load_fomm`, say), in the place of the configuration's.

    Raises:
        AnaMoDiffError: a key is missing or unknown (the nearest one is named), a value is out of
            range, or the numbers of points of detector and dense motion differ.
    """
    try:
        network = _checked(NetworkOptions, config, "detector", "dense_motion")
        if detector is None:
            detector = build_detector(network["detector"])
        keywords = _checked(DenseMotionOptions, network["dense_motion"], "align_corners")
        dense_motion = MOTIONS[network.get("motion", NetworkOptions.motion)](**keywords)
    except (KeyError, TypeError) as error:
        raise AnaMoDiffError(
            f"expected a LOFNet configuration with detector and dense_motion, got: {error}: "
            "compare it with a saved lofnet.json"
        ) from error
    counts = [part.config["num_kp"] for part in (detector, dense_motion)]
    if counts[0] != counts[1]:
        raise AnaMoDiffError(
            f"expected the same num_kp of detector and dense_motion, got {counts[0]} and "
            f"{counts[1]}: make them equal"
        )
    return LOFNet(detector, dense_motion, network.get("frame_size", NetworkOptions.frame_size))


def build_detector(config: Mapping[str, Any]) -> Detector:
    """Build an untrained detector; ``encoder`` says which.

    Raises:
        AnaMoDiffError: a key is unknown (the nearest one is named), or a value is out of range.
        TypeError: a key is missing, or of the other encoder.
    """
    keywords = _checked(DetectorOptions, config)
    return DETECTORS[keywords.pop("encoder", DetectorOptions.encoder)](**keywords)


def _checked(options: type[Options], config: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The given settings, those of `options` checked, `more` keys allowed, None left out."""
    known = settings_of(options)
    given = {key: value for key, value in {**config}.items() if value is not None}
    for key, value in given.items():
        if key in known:
            known[key].check(value)
        elif key not in more:
            names = [f"{options.section}.{name}" for name in (*known, *more)]
            raise unknown(f"{options.section}.{key}", names)
    return given


def mini_config(
    frame_size: int | None = None, latent_channels: int | None = None
) -> dict[str, Any]:
    """``configs/network/mini.yaml``, the mini backbone's, for other sizes where given."""
    config = yaml.safe_load(find("configs/network/mini.yaml").read_text(encoding="utf-8"))
    config["dense_motion"]["num_kp"] = config["detector"]["num_kp"]  # interpolated by Hydra there
    if frame_size is not None:
        config["frame_size"] = frame_size
    if latent_channels is not None:
        config["dense_motion"]["num_channels"] = latent_channels
    return config
