"""Pairs of rendered animals with other bodies and coats: their meshes' vertices tell the flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from joints.exercises import random_change, rebuilt
from joints.pool import balanced
from joints.rendered import CLIPS, HELD_OUT, metas, tracks
from joints.reshaped import (
    Mesh,
    bend,
    coat,
    in_pairs,
    known_mesh,
    painting_order,
    read_dense,
    vertices_of,
    within_picture,
)

from anamodiff.lofnet.bones import fill_in

from .pairs import CANVAS, GRID, Pairs, cell_pixels, number_colour, numbers_in, some_pairs, to_unit

TOLERANCE = 0.035  # body lengths within which two surface points are one
OWN_BODY = 0.2  # share of clips that keep the animal's proportions


@dataclass(frozen=True)
class MeshClip:
    """One character in several poses: vertices ``f v 2`` and joints ``f 22 2`` in pixels of 256
    (centres at whole numbers, NaN where absent)."""

    mesh: Mesh
    vertices: np.ndarray
    joints: np.ndarray


class MeshClips:
    """The meshes of all motion triples: source and truth are one clip, driving is another."""

    def __init__(self, motion: Path, held_out: bool = False) -> None:
        self.motion, self.joints, self.metas = motion, tracks(motion)[0], metas(motion)
        self.rows: list[tuple[int, str]] = []
        for i, meta in enumerate(self.metas):
            for who in ("source", "driving"):
                if (meta[f"{who}_species"] in HELD_OUT) == held_out:
                    self.rows.append((i, who))
        names = np.array([self.metas[i][f"{who}_species"] for i, who in self.rows])
        none = np.zeros(len(names), bool)
        self.weights = balanced(names, none, none)

    def pick(self, lot: np.random.Generator) -> MeshClip:
        """A clip, species balanced by the root of their number."""
        return self.clip(*self.rows[lot.choice(len(self.rows), p=self.weights)])

    def clip(self, row: int, who: str) -> MeshClip:
        """All frames of one character of a triple."""
        meta = self.metas[row]
        names = ("source", "truth") if who == "source" else ("driving",)
        with read_dense(self.motion / "train_pairs" / "triples" / meta["id"]) as dense:
            vertices = [vertices_of(dense, name) for name in names]
        joints = [self.joints[row, CLIPS.index(name)] - 0.5 for name in names]
        mesh = known_mesh(self.motion, meta[f"{who}_model"], meta["near_side"])
        return MeshClip(mesh, np.concatenate(vertices), np.concatenate(joints))


def reshaped(clip: MeshClip, lot: np.random.Generator) -> MeshClip:
    """The clip with another body: every bone turned and stretched alike in all frames."""
    track = torch.from_numpy(clip.joints[None].astype(np.float32))
    torch.manual_seed(int(lot.integers(2**31)))
    wanted = rebuilt(track, random_change(1))[0].numpy()
    filled, after = _filled(clip.joints), _filled(wanted)
    girth = in_pairs(np.exp(np.clip(lot.normal(0, 0.2, len(clip.mesh.bones)), -0.4, 0.4)))
    moved = np.stack(
        [
            bend(v, clip.mesh, j, w, girth)
            for v, j, w in zip(clip.vertices, filled, after, strict=True)
        ]
    )
    return MeshClip(clip.mesh, *within_picture(moved, wanted))


def _filled(joints: np.ndarray) -> np.ndarray:
    track = torch.from_numpy(joints[None].astype(np.float32))
    return fill_in(track, (~track.isnan().any(-1)).float())[0][0].numpy()


def face_map(mesh: Mesh, vertices: np.ndarray) -> np.ndarray:
    """Which face (+ 1) is seen at each pixel, int32 ``256 256``; 0 is background."""
    corners = vertices[mesh.faces]
    canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    pixels = np.round(corners * 16).astype(np.int32)
    for i in painting_order(mesh, corners).tolist():
        cv2.fillConvexPoly(canvas, pixels[i], number_colour(i + 1), cv2.LINE_8, 4)
    return numbers_in(canvas)


def picture_of(
    faces: np.ndarray, colours: np.ndarray, line: tuple[int, int, int] | None
) -> np.ndarray:
    """A picture uint8 ``64 64 4`` with coverage, on white; `line` is the outline's colour."""
    table = np.concatenate([[[255, 255, 255]], colours]).astype(np.uint8)
    picture, mask = table[faces], (faces > 0).astype(np.uint8) * 255
    if line is not None:
        rim = cv2.dilate(mask, np.ones((3, 3), np.uint8)) & ~mask
        picture[rim > 0] = line
        mask = mask | rim
    whole = np.concatenate([picture, mask[..., None]], -1)
    return cv2.resize(whole, (GRID, GRID), interpolation=cv2.INTER_AREA)


def true_flow(
    clip: MeshClip, faces: list[np.ndarray], source: int, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flow ``64 64 2`` in [-1, 1] (NaN: no character) and what the source shows, bool."""
    x, y = cell_pixels()
    face = faces[target][y, x]
    rows, columns = np.nonzero(face)
    corners = clip.mesh.faces[face[rows, columns] - 1]
    place = np.stack([x[rows, columns], y[rows, columns]], -1).astype(float)
    weight = barycentric(place, clip.vertices[target][corners])
    there = (weight[..., None] * clip.vertices[source][corners]).sum(1)
    surface = (weight[..., None] * clip.mesh.reference[corners]).sum(1)
    flow = np.full((GRID, GRID, 2), np.nan, np.float32)
    flow[rows, columns] = to_unit(there)
    seen = np.zeros((GRID, GRID), bool)
    seen[rows, columns] = _shown(clip, faces[source], source, there, surface)
    return flow, seen


def _shown(
    clip: MeshClip, faces: np.ndarray, frame: int, place: np.ndarray, surface: np.ndarray
) -> np.ndarray:
    """Whether a frame shows surface points ``n 3`` at about the places ``n 2``."""
    shown = np.zeros(len(place), bool)
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        at = np.clip(np.round(place).astype(int) + (dx, dy), 0, CANVAS - 1)
        face = faces[at[:, 1], at[:, 0]]
        corners = clip.mesh.faces[np.maximum(face - 1, 0)]
        weight = barycentric(at.astype(float), clip.vertices[frame][corners])
        found = (weight[..., None] * clip.mesh.reference[corners]).sum(1)
        shown |= (face > 0) & (np.linalg.norm(found - surface, axis=1) < TOLERANCE)
    return shown


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Weights ``n 3`` of triangles' corners ``n 3 2`` at points ``n 2``, clipped to them."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 1] - c[:, 1]) * (a[:, 0] - c[:, 0]) + (c[:, 0] - b[:, 0]) * (a[:, 1] - c[:, 1])
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    p = points - c
    first = ((b[:, 1] - c[:, 1]) * p[:, 0] + (c[:, 0] - b[:, 0]) * p[:, 1]) / area
    second = ((c[:, 1] - a[:, 1]) * p[:, 0] + (a[:, 0] - c[:, 0]) * p[:, 1]) / area
    weight = np.clip(np.stack([first, second, 1 - first - second], 1), 0, 1)
    return weight / weight.sum(1, keepdims=True)


def mesh_pairs(
    clips: MeshClips, lot: np.random.Generator, frames: int = 6, count: int = 12
) -> Pairs | None:
    """`count` pairs among `frames` poses of one animal, mostly with another body."""
    clip = clips.pick(lot)
    if lot.random() > OWN_BODY:
        clip = reshaped(clip, lot)
    chosen = np.sort(lot.permutation(len(clip.vertices))[:frames])
    clip = MeshClip(clip.mesh, clip.vertices[chosen], clip.joints[chosen])
    faces = [face_map(clip.mesh, v) for v in clip.vertices]
    if min((f > 0).mean() for f in faces) < 0.01:
        return None
    colours = coat(clip.mesh, lot)
    line = (24, 20, 26) if lot.random() < 0.4 else None
    pictures = [picture_of(f, colours, line) for f in faces]
    return _some_pairs(clip, faces, pictures, lot, count)


def _some_pairs(
    clip: MeshClip, faces: list[np.ndarray], pictures: list[np.ndarray],
    lot: np.random.Generator, count: int,
) -> Pairs:  # fmt: skip
    return some_pairs(pictures, to_unit(clip.joints), partial(true_flow, clip, faces), lot, count)


def every_pair(clips: MeshClips, seed: int, count: int) -> Iterator[Pairs]:
    """Unchanged animals of a set, for measuring."""
    lot = np.random.default_rng(seed)
    for _ in range(count):
        clip = clips.pick(lot)
        chosen = lot.permutation(len(clip.vertices))[:4]
        clip = MeshClip(clip.mesh, clip.vertices[chosen], clip.joints[chosen])
        faces = [face_map(clip.mesh, v) for v in clip.vertices]
        colours = coat(clip.mesh, lot)
        pictures = [picture_of(f, colours, None) for f in faces]
        yield _some_pairs(clip, faces, pictures, lot, 4)
