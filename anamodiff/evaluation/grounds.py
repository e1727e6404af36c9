"""Clips on textured grounds, on white for the measures that look for the character by colour."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from anamodiff.evaluation.measure import Case
from anamodiff.run.grounds import cut_textured, matte_network_on
from anamodiff.video.clip import Clip

logger = logging.getLogger(__name__)


class PlainGrounds:
    """Cuts characters out by the network that a transfer has, which is loaded when it is needed."""

    def __init__(self, device: torch.device) -> None:
        self.network = matte_network_on(device)

    def of(self, clip: Clip, role: str) -> Tensor | None:
        """A clip's frames on white; None where its ground is plain, or nothing is found on it."""
        frames = cut_textured(clip, self.network)
        if frames is not None:
            logger.info(
                "the %s's ground is textured: its character is cut out by a network, and measured "
                "on white", role,
            )  # fmt: skip
        return frames

    def case(self, case: Case, clips: dict[str, Clip]) -> Case | None:
        """A case with what is textured of its clips on white; None where all grounds are plain.

        Args:
            clips: those of the case's frames that were read from files, by the case's fields.
        """
        names = {"frames": "result", "driving": "driving clip"}
        cut = {name: self.of(clip, names.get(name, name)) for name, clip in clips.items()}
        found = {name: frames for name, frames in cut.items() if frames is not None}
        return Case(**{**vars(case), **found}) if found else None
