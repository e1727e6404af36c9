"""LOFNet: detector and dense motion together, saved and loaded as one folder."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.flow import DenseMotion, Motion
from anamodiff.lofnet.keypoints import KeypointDetector, KeyPoints
from anamodiff.lofnet.resnet import ResNetDetector
from anamodiff.lofnet.tps import SplineMotion

WEIGHTS_FILE = "lofnet.safetensors"
CONFIG_FILE = "lofnet.json"

Detector = KeypointDetector | ResNetDetector
# By the words in a configuration; the first of each is meant where it is silent.
DETECTORS = {"hourglass": KeypointDetector, "resnet18": ResNetDetector}
MOTIONS = {kind.motion: kind for kind in (DenseMotion, SplineMotion)}


class LOFNet(nn.Module):
    """Latent optical flow network (paper, section 3.2).

    Args:
        detector: finds key points on RGB frames.
        dense_motion: turns two sets of them into a flow on the latent grid.
        frame_size: side of the square frames that the detector was trained on.
    """

    def __init__(
        self, detector: Detector, dense_motion: DenseMotion, frame_size: int = 256
    ) -> None:
        super().__init__()
        self.detector = detector
        self.dense_motion = dense_motion
        self.frame_size = frame_size

    @property
    def config(self) -> dict[str, Any]:
        """What `build_lofnet` needs to build this network again."""
        return {
            "motion": self.dense_motion.motion,
            "frame_size": self.frame_size,
            "detector": self.detector.config,
            "dense_motion": self.dense_motion.config,
        }

    def points(self, frames: Tensor) -> KeyPoints:
        """Find key points on frames ``f c h w`` in [-1, 1] of any size."""
        size = (self.frame_size, self.frame_size)
        if frames.shape[-2:] != size:
            frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        return self.detector((frames + 1) / 2)

    def flow(
        self,
        latent: Tensor,
        driving: KeyPoints,
        source: KeyPoints,
        *,
        generator: torch.Generator | None = None,
    ) -> Motion:
        """Find the flow that takes the source to the driving points.

        Args:
            latent: ``b c h w`` of the source; a batch of one serves all driving points.
            driving: points of `b` frames.
            source: points of the source frame(s), one or `b`.
            generator: of the motions that are left out while training, if any are.

        Returns:
            `b` motions on the latent's grid.
        """
        batch = len(driving)
        if latent.shape[0] != batch:
            latent = latent.expand(batch, -1, -1, -1)
        if len(source) != batch:
            source = source.expand(batch)
        return self.dense_motion(latent, driving, source, generator=generator)

    def save(self, folder: Path | str) -> Path:
        """Write weights and configuration into `folder`, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps(self.config, indent=2) + "\n")
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> "LOFNet":
        """Read what `save` wrote, in 32 bits and evaluation mode.

        Raises:
            AnaMoDiffError: a file is missing, unreadable or of another configuration.
        """
        folder = Path(folder)
        missing = [n for n in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / n).is_file()]
        if missing:
            raise AnaMoDiffError(
                f"expected a LOFNet folder with {CONFIG_FILE} and {WEIGHTS_FILE}, {folder} lacks "
                f"{' and '.join(missing)}: name a folder that train-lofnet wrote"
            )
        try:
            model = build_lofnet(json.loads((folder / CONFIG_FILE).read_text()))
            model.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except Exception as error:  # broken JSON, cut file, other shapes: all one cure
            reason = " ".join(str(error).split())[:200]
            raise AnaMoDiffError(
                f"expected whole LOFNet files in {folder}, got: {reason}: train or fetch them again"
            ) from error
        return model.float().eval()


def build_lofnet(config: dict[str, Any], *, detector: Detector | None = None) -> LOFNet:
    """Build an untrained LOFNet from ``{"motion", "frame_size", "detector", "dense_motion"}``.

    The two inner dictionaries hold the constructors' keywords. ``motion`` is ``affine`` where it
    is absent, and so is ``encoder`` in the detector's part ``hourglass``.

    Args:
        detector: an already built one (`load_fomm`'s, say), which then need not be built.

    Raises:
        AnaMoDiffError: a part or keyword is missing or unknown, or the two parts differ about the
            number of points.
    """
    try:
        kind = _choose(MOTIONS, config.get("motion"), "motion")
        detector = build_detector(config["detector"]) if detector is None else detector
        dense_motion = kind(**config["dense_motion"])
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
    return LOFNet(detector, dense_motion, config.get("frame_size", 256))


def build_detector(config: dict[str, Any]) -> Detector:
    """Build an untrained detector from its constructor's keywords; ``encoder`` chooses it."""
    keywords = dict(config)
    kind = _choose(DETECTORS, keywords.pop("encoder", None), "detector's encoder")
    return kind(**keywords)


def mini_config(
    frame_size: int = 128, latent_channels: int = 4, num_kp: int = 10
) -> dict[str, Any]:
    """Configuration for the mini backbone: small enough to train on a CPU."""
    return {
        "frame_size": frame_size,
        "detector": {
            "block_expansion": 16,
            "num_kp": num_kp,
            "num_channels": 3,
            "max_features": 256,
            "num_blocks": 4,
            "temperature": 0.1,
            "scale_factor": 0.5,
            "single_jacobian_map": True,
        },
        "dense_motion": {
            "block_expansion": 16,
            "num_blocks": 4,
            "max_features": 256,
            "num_kp": num_kp,
            "num_channels": latent_channels,
        },
    }


def _choose(kinds: dict[str, type], word: str | None, name: str) -> type:
    """The class that a word of the configuration means; the first for ``None``."""
    word = next(iter(kinds)) if word is None else word
    if word not in kinds:
        raise AnaMoDiffError(f"expected a {name} of {' or '.join(kinds)}, got {word!r}: name one")
    return kinds[word]
