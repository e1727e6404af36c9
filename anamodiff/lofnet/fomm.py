"""Loads first-order-model's (FOMM's) key-point detector from its own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.fields import settings_of
from anamodiff.lofnet.keypoints import KeypointDetector
from anamodiff.lofnet.options import DetectorOptions
from anamodiff.tensors import read_published

#: Side of the frames that FOMM's detectors were trained on.
FOMM_FRAME_SIZE = 256

# The detector's part of FOMM's `config/mgif-256.yaml`.
MGIF = {
    "model_params": {
        "common_params": {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True},
        "kp_detector_params": {
            "temperature": 0.1,
            "block_expansion": 32,
            "max_features": 1024,
            "scale_factor": 0.25,
            "num_blocks": 5,
            "single_jacobian_map": True,
        },
    }
}
SECTIONS = ("common_params", "kp_detector_params")

# Defaults of FOMM's constructor; its other arguments have none.
_DEFAULTS = {
    "estimate_jacobian": False,
    "scale_factor": 1,
    "single_jacobian_map": False,
    "pad": 0,
}
_NEEDED = ("num_kp", "num_channels", "block_expansion", "max_features", "num_blocks", "temperature")


def load_fomm(
    checkpoint: Path | str, config: Path | str | Mapping[str, Any] | None = None
) -> KeypointDetector:
    """Load the key-point detector of a first-order-model checkpoint (paper, section 4.1).

    Args:
        checkpoint: FOMM's file, such as ``mgif-cpk.pth.tar``; it is unpickled with
            ``weights_only``, so that no code in it is run.
        config: FOMM's own file, such as ``config/mgif-256.yaml``, or its parsed content; None is
            MGIF's.

    Returns:
        The detector in evaluation mode; it takes frames ``b c 256 256`` in [0, 1].

    Raises:
        AnaMoDiffError: a file is missing or broken or lacks the detector, or names and shapes
            differ from the configuration's; the message lists them.
    """
    keywords = detector_keywords(config)
    state = _detector_state(Path(checkpoint))
    detector = KeypointDetector(**keywords)
    if difference := differing_keys(detector.state_dict(), state):
        raise AnaMoDiffError(
            f"expected a checkpoint of the given configuration, {checkpoint} is of another "
            f"({difference}): name the file that belongs to it with lofnet.config"
        )
    detector.load_state_dict(state)
    return detector.eval()


def detector_keywords(config: Path | str | Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`KeypointDetector`'s keywords from a FOMM configuration, as `load_fomm` takes it."""
    name = "MGIF's configuration" if config is None else "the configuration"
    if isinstance(config, (str, Path)):
        name = str(config)
    parts = published_config(config).get("model_params")
    parts = parts if isinstance(parts, Mapping) else {}
    if absent := [s for s in SECTIONS if not isinstance(parts.get(s), Mapping)]:
        raise AnaMoDiffError(
            f"expected model_params with {' and '.join(SECTIONS)} in {name}, got none of "
            f"{_listed(absent)}: name FOMM's own file, such as config/mgif-256.yaml"
        )
    given = {key: value for section in SECTIONS for key, value in parts[section].items()}
    keywords = _DEFAULTS | given
    odd = [key for key in _NEEDED if key not in keywords]
    odd += [key for key in given if key not in (*_NEEDED, *_DEFAULTS)]
    if odd:
        raise AnaMoDiffError(
            f"expected {', '.join(_NEEDED)} for the detector in {name}, and at most "
            f"{', '.join(_DEFAULTS)} beside them; wrong about {_listed(odd)}: name FOMM's own file"
        )
    for key, value in keywords.items():
        settings_of(DetectorOptions)[key].check(value, f"{key} in {name}")
    return keywords


def published_config(config: Path | str | Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """A FOMM configuration, parsed, as `load_fomm` takes it; None is MGIF's."""
    if isinstance(config, (str, Path)):
        return _read_yaml(Path(config))
    return MGIF if config is None else config


def start_detector(
    detector: str,
    checkpoint: Path | str | None = None,
    config: Path | str | Mapping[str, Any] | None = None,
) -> KeypointDetector | None:
    """The detector to initialise training with: FOMM's for ``fomm``, None for ``own``.

    Raises:
        AnaMoDiffError: another word, ``fomm`` without a checkpoint, ``own`` with FOMM's files, or
            files that `load_fomm` refuses.
    """
    if detector not in ("own", "fomm"):
        raise AnaMoDiffError(f"expected a detector of own or fomm, got {detector!r}: name one")
    if detector == "fomm":
        if checkpoint is None:
            raise AnaMoDiffError(
                "expected FOMM's checkpoint for its detector, got none: name it with "
                "lofnet.checkpoint=PATH/mgif-cpk.pth.tar; anamodiff fetch fomm says where it is"
            )
        return load_fomm(checkpoint, config)
    if checkpoint is not None or config is not None:
        raise AnaMoDiffError(
            f"expected no FOMM files for an own detector, got {checkpoint or config}: ask for "
            "lofnet.detector=fomm, or leave them out"
        )
    return None


def start_network(network: Mapping[str, Any], detector: KeypointDetector) -> dict[str, Any]:
    """A LOFNet configuration with FOMM's detector, frame size and number of points."""
    motion = dict(network["dense_motion"]) | {"num_kp": detector.config["num_kp"]}
    changed = {"frame_size": FOMM_FRAME_SIZE, "detector": detector.config, "dense_motion": motion}
    return dict(network) | changed


def differing_keys(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    """Missing and unexpected names and other shapes, in a few words; empty if none."""
    other = [
        f"{key} {_shape(got[key])} for {_shape(wanted[key])}"
        for key in wanted
        if key in got and got[key].shape != wanted[key].shape
    ]
    kinds = {
        "missing": [key for key in wanted if key not in got],
        "unexpected": [key for key in got if key not in wanted],
        "other shapes": other,
    }
    return "; ".join(f"{kind} {_listed(keys)}" for kind, keys in kinds.items() if keys)


def _detector_state(file: Path) -> Mapping[str, Tensor]:
    """The tensors of ``kp_detector`` in a checkpoint, by name."""
    wanted = "FOMM's checkpoint, such as mgif-cpk.pth.tar"
    checkpoint = read_published(file, wanted, "correct lofnet.checkpoint")
    state = checkpoint.get("kp_detector") if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        named = isinstance(checkpoint, Mapping)
        found = _listed(checkpoint) if named else f"a {type(checkpoint).__name__}"
        raise AnaMoDiffError(
            f"expected tensors under kp_detector in {file}, got {found}: name {wanted}"
        )
    return state


def _read_yaml(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        raise AnaMoDiffError(
            f"expected FOMM's configuration, such as config/mgif-256.yaml, found no file {file}: "
            "correct lofnet.config, or leave it out for that of MGIF"
        )
    try:
        parsed = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise AnaMoDiffError(
            f"expected FOMM's configuration, but {file} is no yaml file ({reason}): fetch it again"
        ) from error
    return parsed if isinstance(parsed, Mapping) else {}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "number"


def _listed(names: Iterable[object], *, most: int = 2) -> str:
    """The first few names and the number of the others."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most] or ["nothing"]) + more
