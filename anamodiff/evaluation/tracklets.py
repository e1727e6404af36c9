"""Points of a clip followed over its frames: known joints, detected ones, or optical flow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anamodiff.backbone.model import file_hash
from anamodiff.lofnet.joints import JointDetector, Joints
from anamodiff.lofnet.skeletal import DETECTOR, FOLDER
from anamodiff.resources import find
from anamodiff.video.foreground import foreground_mask, lab_distance, plain_ground
from anamodiff.video.letterbox import to_pixels

#: What follows points where joints are not known.
TrackerKind = Literal["flow", "joints"]
EXACT, BY_JOINTS, BY_FLOW = "exact joints", "joint detector", "DIS optical flow"

FLOW_SIZE = 256  # pixels along the side of the pictures that optical flow is computed on
POINTS = 200  # followed by optical flow, spread evenly over the foreground of the first frame
# Pixels of `FLOW_SIZE` by which flow back may miss the point that flow forth came from, and by
# which a point may leave the foreground, before it counts as lost.
RETURN_ERROR, FOREGROUND_MARGIN = 4.0, 2
PALE = 6.0  # Lab: a ground no further from white is as good as white
KEPT_CLIPS = 8  # driving clip and truth of a pair, and some results

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]
Places = NDArray[np.float32]


@dataclass(frozen=True)
class Tracklets:
    """Points followed over a clip.

    Attributes:
        places: ``n f 2``, (x, y) in [-1, 1]; NaN in frames where a point is lost.
        tracker: what followed them, in words.
    """

    places: Places
    tracker: str

    @classmethod
    def of_joints(cls, joints: Places, tracker: str = EXACT) -> Tracklets:
        """Joints ``f j 2`` as tracklets; those that are NaN throughout are left out."""
        places = np.asarray(joints, np.float32).transpose(1, 0, 2)
        return cls(places[np.isfinite(places).any(axis=(1, 2))], tracker)


@dataclass(frozen=True, eq=False)
class KnownJoints:
    """Where joints of a drawn pair's clips are, (x, y) in [-1, 1] of their frames.

    Attributes:
        driving, truth: ``f j 2``, each character's own joints, to be followed.
        named: ``f 22 2``, the truth's in the order of `JOINTS`; NaN for those that it lacks.
        visibility: ``f 22``, `ABSENT`, `HIDDEN` or `SEEN`.
    """

    driving: Places
    truth: Places
    named: Places
    visibility: NDArray[np.uint8]

    def at(self, driving: Sequence[int], truth: Sequence[int]) -> KnownJoints:
        """Those of chosen frames of either clip."""
        own = list(truth)
        return KnownJoints(
            self.driving[list(driving)], self.truth[own], self.named[own], self.visibility[own]
        )


class PointTracker:
    """Finds joints and follows points; what it found of the last few clips it remembers.

    Args:
        detector: finds joints.
        kind: what `follow` uses, ``flow`` or ``joints``.
        version: tells the detector's weights from others.
    """

    def __init__(
        self, detector: JointDetector, kind: TrackerKind = "flow", *, version: str = "own"
    ) -> None:
        self.detector = detector
        self.kind: TrackerKind = kind
        self.version = version
        self._found: OrderedDict[tuple[str, bytes], Any] = OrderedDict()

    @classmethod
    def load(cls, kind: TrackerKind = "flow", device: torch.device | None = None) -> PointTracker:
        """With the embedded detector."""
        path = find(FOLDER) / DETECTOR
        detector = JointDetector.load(path).to(device or torch.device("cpu"))
        return cls(detector, kind, version=file_hash(path.with_suffix(".safetensors"))[:12])

    def joints(self, frames: Tensor) -> Joints:
        """Joints of frames ``f 3 h w`` in [-1, 1], on the CPU."""
        return self._remembered("joints", frames, self._detect)

    def follow(self, frames: Tensor, kind: TrackerKind | None = None) -> Tracklets:
        """Points of frames ``f 3 h w`` in [-1, 1], by `kind` in the place of `self.kind`."""
        if (kind or self.kind) == "flow":
            return self._remembered("flow", frames, follow_flow)
        found = self.joints(frames)
        there = (found.trust() > 0).any(0)
        return Tracklets.of_joints(found.place[:, there].numpy(), BY_JOINTS)

    @torch.no_grad()
    def _detect(self, frames: Tensor) -> Joints:
        device = next(self.detector.parameters()).device
        found = self.detector.detect(_on_white(frames.float()).to(device))
        return Joints(found.place.cpu(), found.confidence.cpu(), found.presence.cpu())

    def _remembered(self, what: str, frames: Tensor, how: Callable[[Tensor], Any]) -> Any:
        """What `how` gives, computed once for equal frames."""
        pixels = frames.detach().cpu().contiguous()
        key = what, sha1(pixels.numpy().tobytes()).digest()
        if key not in self._found:
            self._found[key] = how(pixels)
            while len(self._found) > 2 * KEPT_CLIPS:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]


def follow_flow(frames: Tensor) -> Tracklets:
    """Chain DIS optical flow from points on the foreground of the first frame that has one.

    A point is lost, and stays so, where flow forth and back disagree or it leaves the foreground
    (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search").

    Args:
        frames: ``f 3 h w`` in [-1, 1].
    """
    masks = _resized(foreground_mask(frames, thin=True).cpu().numpy().astype(np.uint8))
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in to_pixels(frames)]
    pictures = _resized(np.stack(grey), cv2.INTER_CUBIC)
    around = np.ones((2 * FOREGROUND_MARGIN + 1,) * 2, np.uint8)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    middle = _middles(masks)
    began = int(masks.any(axis=(1, 2)).argmax())  # who enters later is not there before
    now = _seeds(masks[began])
    alive, places = np.ones(len(now), bool), [np.full_like(now, np.nan)] * began + [now]
    for number, (one, other) in enumerate(pairwise(pictures[began:]), start=began + 1):
        if not alive.any():
            break
        # Flow searches for a few pixels: the way of the body as a whole, in a jump for instance, is
        # taken out beforehand.
        way = middle[number] - middle[number - 1]
        other = _shifted(other, -way)
        forth = _sampled(flow.calc(one, other, None), now)  # pyright: ignore
        back = _sampled(flow.calc(other, one, None), now + forth)  # pyright: ignore
        now = np.clip(now + forth + way, 0, FLOW_SIZE - 1).astype(np.float32)
        column, row = now.round().astype(int).T
        alive = alive & (np.linalg.norm(forth + back, axis=-1) < RETURN_ERROR)
        alive &= cv2.dilate(masks[number], around)[row, column] > 0
        places.append(np.where(alive[:, None], now, np.nan))
    places += [np.full_like(now, np.nan)] * (len(frames) - len(places))
    return Tracklets(
        (np.stack(places, axis=1) * (2 / (FLOW_SIZE - 1)) - 1).astype(np.float32), BY_FLOW
    )


def _on_white(frames: Tensor) -> Tensor:
    """Frames on the ground that the detector was trained on, where theirs is plain."""
    colour = plain_ground(frames)
    if colour is None or lab_distance(colour, torch.ones(3)) < PALE:
        return frames
    return torch.where(foreground_mask(frames, thin=True)[:, None], frames, 1.0)


def _resized(pictures: Picture, how: int = cv2.INTER_NEAREST) -> Picture:
    """Pictures ``f h w`` on a square of `FLOW_SIZE`."""
    return np.stack(
        [cv2.resize(one, (FLOW_SIZE, FLOW_SIZE), interpolation=how) for one in pictures]
    )


def _seeds(mask: Picture) -> Places:
    """About `POINTS` pixels (x, y) ``n 2`` on a grid over a mask ``h w``."""
    step = max(2, int(np.sqrt(mask.sum() / POINTS)))
    row, column = np.nonzero(mask)
    on_grid = (row % step == step // 2) & (column % step == step // 2)
    return np.stack([column[on_grid], row[on_grid]], axis=-1).astype(np.float32)


def _middles(masks: Picture) -> NDArray[np.int64]:
    """The pixel (x, y) in the middle of each mask ``f h w``: ``f 2``; of an empty one, the middle
    of the one before."""
    middles = [np.full(2, FLOW_SIZE // 2)]
    for mask in masks:
        place = np.argwhere(mask)
        middles.append(place.mean(axis=0).round().astype(int)[::-1] if len(place) else middles[-1])
    return np.stack(middles[1:])


def _shifted(picture: Picture, by: NDArray[np.int64]) -> Picture:
    """A picture ``h w`` moved by whole pixels (x, y); its edge is repeated."""
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float64)
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(  # pyright: ignore
        picture, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def _sampled(flow: NDArray[np.float32], places: Places) -> Places:
    """Flow ``h w 2`` at pixels (x, y) ``n 2``, bilinearly."""
    if not len(places):
        return places
    x, y = (np.ascontiguousarray(places[:, None, axis]) for axis in (0, 1))
    return cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
