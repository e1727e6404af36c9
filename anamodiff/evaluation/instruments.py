"""What measures are made with: a point tracker, and CLIP and LPIPS where they are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.clip_model import DEFAULT_CLIP_MODEL, Embedder, find_clip_model
from anamodiff.evaluation.perceptual import Lpips
from anamodiff.evaluation.tracklets import PointTracker, TrackerKind


@dataclass(frozen=True)
class Instruments:
    """What measures are made with, loaded once for many results.

    Attributes:
        missing: why there is no embedder (``clip``) or no LPIPS (``lpips``).
    """

    tracker: PointTracker | None = None
    embedder: Embedder | None = None
    lpips: Lpips | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls, clip_model: str, device: torch.device, tracker: TrackerKind = "flow"
    ) -> Instruments:
        """All that are here.

        Args:
            clip_model: as for `choose_embedder`.
            tracker: what follows points where joints are not known.

        Raises:
            AnaMoDiffError: the CLIP model that was named cannot be used.
        """
        missing = {}
        embedder, reason = choose_embedder(clip_model, device)
        if reason is not None:
            missing["clip"] = reason
        try:
            lpips = Lpips.load(device)
        except AnaMoDiffError as error:
            lpips, missing["lpips"] = None, str(error)
        return cls(PointTracker.load(tracker, device), embedder, lpips, missing)

    @property
    def described(self) -> dict[str, Any]:
        """What they are, as plain values for a result's record."""
        return {
            "clip_model": self.embedder and self.embedder.name,
            "tracker": self.tracker and self.tracker.kind,
            "joint_detector": self.tracker and self.tracker.version,
            "lpips": self.lpips and self.lpips.name,
        }


def choose_embedder(name: str, device: torch.device) -> tuple[Embedder | None, str | None]:
    """The CLIP model of a name or, for `none` and where `auto` finds none, None and the reason."""
    if name == "none":
        return None, "--clip-model none"
    if name != "auto":
        return Embedder.load(name, device=device), None
    try:
        find_clip_model(DEFAULT_CLIP_MODEL)
    except AnaMoDiffError:
        return None, (
            f"{DEFAULT_CLIP_MODEL} is neither cached nor to be fetched here; name a folder with "
            "--clip-model"
        )
    return Embedder.load(DEFAULT_CLIP_MODEL, device=device), None
