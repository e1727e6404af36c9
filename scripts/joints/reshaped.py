"""Rendered animals with other bodies and coats: their meshes bent, stretched and painted anew.

A mesh comes with its vertices' places in every frame of a clip. Its bones are given other lengths
and angles, the vertices follow, and the faces are painted from the far side to the near one.
"""

from __future__ import annotations

import functools
import io
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from anamodiff.creatures import ABSENT
from anamodiff.lofnet.bones import fill_in

from .exercises import random_change, rebuilt
from .rendered import CLIPS, HELD_OUT, metas, read, tracks
from .samples import Sample, cut_out

SIZE, FINE = 256, 2
SOFT = 0.03  # body lengths over which one bone's hold on the skin passes to the next one's
TRUNK = ((1, 0), (2, 1), (3, 2), (4, 3), (4, 5))  # head, neck, front, hind, tail: from and to
THICK = (0.75, 0.8, 0.45, 0.45, 1.0)  # a distance within the trunk counts for less


@dataclass(frozen=True)
class Mesh:
    """Faces `n 3`, reference vertices `v 3` (x left, y up, z forward, length 1), and how much each
    bone holds a vertex, `v k`; `bones` `k 2` are its joints, near limbs those of `near`."""

    faces: np.ndarray
    reference: np.ndarray
    hold: np.ndarray
    bones: np.ndarray
    sign: float


def mesh_of(model: np.lib.npyio.NpzFile, near: str) -> Mesh:
    """The mesh of a model whose `near` side ("left" or "right") is seen."""
    reference, joints = model["ref"].astype(np.float64), model["joints"].astype(np.float64)
    bones, sides, thick = list(TRUNK), [0.0] * len(TRUNK), list(THICK)
    for start in (6, 10, 14, 18):
        side = 1.0 if start in (6, 14) else -1.0  # the model's left limbs come first
        for step in range(3):
            bones.append((start + step, start + step + 1))
            sides.append(side)
            thick.append(0.8 if step == 0 else 1.0)
    distance = np.stack(
        [
            _to_bone(reference, joints[a], joints[b], side) * factor
            for (a, b), side, factor in zip(bones, sides, thick, strict=True)
        ],
        axis=1,
    )
    nearest = distance.min(1, keepdims=True)
    hold = np.exp(-((distance - nearest) ** 2) / (2 * SOFT**2))
    order = np.array(bones)
    if near == "right":  # joints of tracks are near and far, those of the model left and right
        order = np.where(
            order < 6, order, np.where((order - 6) // 4 % 2 == 0, order + 4, order - 4)
        )
    hold = hold / hold.sum(1, keepdims=True)
    sign = 1.0 if near == "left" else -1.0
    return Mesh(model["F"].astype(int), reference, hold, order, sign)


def _to_bone(points: np.ndarray, start: np.ndarray, end: np.ndarray, side: float) -> np.ndarray:
    """Distances `v` of points to a bone, far away where it is lacking or of the other side."""
    if np.isnan(start).any() and np.isnan(end).any():
        return np.full(len(points), 1e3)
    start, end = (end if np.isnan(start).any() else start), (start if np.isnan(end).any() else end)
    along = end - start
    t = np.clip((points - start) @ along / max(along @ along, 1e-12), 0, 1)
    distance = np.linalg.norm(points - start - t[:, None] * along, axis=1)
    return np.where(side * points[:, 0] < -0.004, 1e2, distance) if side else distance


def bend(
    vertices: np.ndarray, mesh: Mesh, joints: np.ndarray, wanted: np.ndarray, girth: np.ndarray
) -> np.ndarray:
    """Vertices `v 2` after the joints `22 2` went to `wanted`; `girth` `k` thickens bones."""
    total = np.zeros_like(vertices)
    for k, (a, b) in enumerate(mesh.bones):
        old, new = joints[b] - joints[a], wanted[b] - wanted[a]
        long, length = np.hypot(*old), np.hypot(*new)
        if long < 1.0:
            old = new = np.array([1.0, 0.0])
            long = length = 1.0
        old, new = old / long, new / max(length, 1e-6)
        local = vertices - joints[a]
        along = local @ old
        across = local @ np.array([-old[1], old[0]])
        swell = girth[k] if k else length / long  # a head keeps its shape
        inner = np.clip(along, 0, long)
        along = inner * (length / long) + (along - inner) * swell
        moved = along[:, None] * new + (across * swell)[:, None] * np.array([-new[1], new[0]])
        total += mesh.hold[:, k : k + 1] * (wanted[a] + moved)
    return total


def other_body(joints: np.ndarray, lot: np.random.Generator) -> np.ndarray:
    """Poses `f 22 2` (pixels, NaN where absent) with the bones of another body in each frame."""
    torch.manual_seed(int(lot.integers(2**31)))
    track = torch.from_numpy(joints[:, None].astype(np.float32))
    return rebuilt(track, random_change(len(track)))[:, 0].numpy()


def reshape(
    mesh: Mesh,
    vertices: np.ndarray,
    joints: np.ndarray,
    wanted: np.ndarray,
    lot: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices `v 2` and joints `22 2` (pixels) after the `joints` went to `wanted`, within the
    picture; neither may have gaps."""
    girth = np.exp(np.clip(lot.normal(0.03, 0.27, len(mesh.bones)), -0.5, 0.6))
    return within_picture(bend(vertices, mesh, joints, wanted, in_pairs(girth)), wanted)


def in_pairs(girth: np.ndarray) -> np.ndarray:
    """Girths `k` of bones, the trunk's halves alike, and near limbs as far ones."""
    girth = girth.copy()
    girth[2:4] = girth[2]
    girth[8:11], girth[14:17] = girth[5:8], girth[11:14]
    return girth


def within_picture(vertices: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints `... 2` put in the middle, and made smaller where they do not fit."""
    flat = vertices.reshape(-1, 2)
    low, high = flat.min(0), flat.max(0)
    scale = min(1.0, (SIZE - 12) / (high - low).max())
    shift = SIZE / 2 - scale * (low + high) / 2
    return vertices * scale + shift, joints * scale + shift


def filled(joints: np.ndarray) -> np.ndarray:
    """Poses `f 22 2` without gaps, each by itself."""
    track = torch.from_numpy(joints[:, None].astype(np.float32))
    return fill_in(track, (~track.isnan().any(-1)).float())[0][:, 0].numpy()


def paint(
    mesh: Mesh, vertices: np.ndarray, colours: np.ndarray, outline: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 `256 256 3` on white, and its foreground; `colours` `n 3` one a face."""
    corners = vertices[mesh.faces]
    canvas = np.full((SIZE * FINE, SIZE * FINE, 3), 255, np.uint8)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    pixels = np.round((corners + 0.5) * FINE * 16 - 8).astype(np.int32)
    shades = colours.astype(int).tolist()
    for i in painting_order(mesh, corners):
        cv2.fillConvexPoly(canvas, pixels[i], shades[i], cv2.LINE_8, 4)
        cv2.fillConvexPoly(mask, pixels[i], 255, cv2.LINE_8, 4)
    if outline:
        rim = cv2.dilate(mask, np.ones((3, 3), np.uint8)) & ~mask
        canvas[rim > 0] = 24
        mask |= rim
    small = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return small, cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 100


def painting_order(mesh: Mesh, corners: np.ndarray) -> np.ndarray:
    """Numbers of the faces that look at the camera, from the far side to the near one; `corners`
    `n 3 2` are theirs."""
    depth = mesh.sign * mesh.reference[mesh.faces][..., 0].mean(1)
    shown = np.nonzero(_outward(mesh, corners))[0]
    return shown[np.argsort(depth[shown], kind="stable")]


def _outward(mesh: Mesh, corners: np.ndarray) -> np.ndarray:
    """Faces that look at the camera, bool `n`: those wound as the near side's outermost faces."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    normal = mesh.sign * normals(mesh)[:, 0]
    return area * np.sign(np.sum(area * np.where(np.abs(normal) > 0.5, normal, 0))) > 0


def normals(mesh: Mesh) -> np.ndarray:
    """Unit normals `n 3` of the faces in the reference pose."""
    corners = mesh.reference[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def coat(mesh: Mesh, lot: np.random.Generator) -> np.ndarray:
    """Random colours `n 3` of the faces: tones, patches, stripes, a pale belly, and light."""
    middle = mesh.reference[mesh.faces].mean(1)
    first, second = lot.integers(20, 240, (2, 3)).astype(float)
    tones = np.tile(first, (len(middle), 1))
    kind = lot.random()
    if kind < 0.5:  # patches or stripes
        wave = lot.normal(0, 1, (3, 3)) * lot.uniform(6, 40)
        field = np.sin(middle @ wave + lot.uniform(0, 6.3, 3)).sum(1)
        tones[field > lot.uniform(-0.5, 1.2)] = second
    elif kind < 0.75:  # each limb, head and tail in a tone
        of = mesh.hold[mesh.faces[:, 0]].argmax(1)
        tones = np.clip(first + lot.normal(0, 40, (mesh.hold.shape[1], 3)), 0, 255)[of]
    outward = normals(mesh)
    if lot.random() < 0.4:
        tones[outward[:, 1] < -0.3] = 0.5 * tones[outward[:, 1] < -0.3] + 110
    light = np.array([mesh.sign * lot.uniform(0.2, 1), lot.uniform(0.2, 1.2), lot.normal(0, 0.5)])
    shade = outward @ (light / np.linalg.norm(light))
    if lot.random() < 0.5:
        shade = np.round(shade * 1.5) / 1.5
    shade = 1 + lot.uniform(0.1, 0.45) * (shade - 0.4)
    far = mesh.sign * middle[:, 0] < -0.02
    shade = shade * np.where(far, lot.uniform(0.65, 1.0), 1.0)
    grain = 1 + lot.uniform(0, 0.12) * lot.normal(0, 1, len(middle))
    return np.clip(tones * (shade * grain)[:, None], 0, 255)


def own_coat(mesh: Mesh, frame: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Colours `n 3` of the faces as a frame `256 256 3` shows them.

    `faces` `128 128` says which face (+ 1) is seen where; what is not seen gets its limb's colour.
    """
    seen, at = faces.ravel(), cv2.resize(frame, faces.shape[::-1], interpolation=cv2.INTER_AREA)
    count = np.bincount(seen, minlength=len(mesh.faces) + 1)[1:]
    colours = np.stack(
        [np.bincount(seen, c.ravel(), len(mesh.faces) + 1)[1:] for c in np.moveaxis(at, -1, 0)], 1
    )
    known, of = count > 0, mesh.hold[mesh.faces[:, 0]].argmax(1)
    colours[known] /= count[known, None]
    for limb in np.unique(of[~known]):
        like = known & (of == limb)
        colours[~known & (of == limb)] = colours[like if like.any() else known].mean(0)
    return colours


def reshaped_samples(
    motion: Path, lot: np.random.Generator, count: int, kept_out: Sequence[str] = HELD_OUT
) -> tuple[list[Sample], str]:
    """Some frames of a random clip of the triples, each as another animal; and the species.

    Species `kept_out` are never taken.
    """
    while True:
        number, i = int(lot.integers(len(metas(motion)))), int(lot.integers(len(CLIPS)))
        meta, clip = metas(motion)[number], CLIPS[i]
        who = "driving" if clip == "driving" else "source"
        if meta[f"{who}_species"] not in kept_out:
            break
    joints, visibility = (known[number, i] for known in tracks(motion))
    folder = motion / "train_pairs" / "triples" / meta["id"]
    with read_dense(folder) as dense:
        places = vertices_of(dense, clip)
        faces = dense.get(f"fid_{clip}")
    mesh = known_mesh(motion, meta[f"{who}_model"], meta["near_side"])
    chosen = lot.permutation(len(places))[:count]
    joints, visibility = joints[chosen] - 0.5, visibility[chosen]
    changed = other_body(joints, lot)
    frames = None if faces is None else read(folder / f"{clip}.mp4")
    samples = []
    for f, old, new, seen in zip(chosen, filled(joints), filled(changed), visibility, strict=True):
        colours = coat(mesh, lot)
        if faces is not None and lot.random() < 0.35:
            colours = own_coat(mesh, frames[f], faces[f])
        moved, wanted = reshape(mesh, places[f], old, new, lot)
        picture, mask = paint(mesh, moved, colours, bool(lot.random() < 0.4))
        # A joint that the body lacks has no place.
        wanted = np.where((seen == ABSENT)[:, None], np.nan, wanted)
        if mask.mean() > 0.01:
            samples.append(cut_out(picture, mask, wanted, seen))
    return samples, meta[f"{who}_species"]


def read_dense(folder: Path) -> np.lib.npyio.NpzFile:
    """What a triple's folder has for every vertex and pixel."""
    return np.load(io.BytesIO(lzma.decompress((folder / "dense.npz.xz").read_bytes())))


def vertices_of(dense: np.lib.npyio.NpzFile, clip: str) -> np.ndarray:
    """Vertices `f v 2` of one of a triple's clips, in pixels (centres at whole numbers)."""
    return np.cumsum(dense[f"dP_{clip}"].astype(np.int32), 0) / 64.0 - 0.5


@functools.lru_cache(maxsize=200)
def known_mesh(motion: Path, model: str, near: str) -> Mesh:
    """The mesh of a model of the triples, by its name."""
    return mesh_of(np.load(motion / "train_pairs" / "models" / f"{model}.npz"), near)
