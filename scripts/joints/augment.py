"""Random looks, proportions, places and grounds for samples."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .samples import Sample

SIZE, KNOTS = 256, 7


@dataclass(frozen=True)
class Mapping:
    """From a sample's picture to the augmented one: stretch each axis by a monotone curve, then
    apply a 2x3 matrix. `knots` 2 n are places on the axes, `images` 2 n where they go."""

    knots: np.ndarray
    images: np.ndarray
    matrix: np.ndarray

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Points `n 2` (pixels) of the sample in the augmented picture."""
        stretched = [np.interp(points[:, i], self.knots[i], self.images[i]) for i in (0, 1)]
        return np.stack(stretched, -1) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def lookup(self) -> tuple[np.ndarray, np.ndarray]:
        """For every augmented pixel the sample's x and y, float32 `256 256` each."""
        inverse = cv2.invertAffineTransform(self.matrix)
        at = np.arange(SIZE, dtype=np.float64)
        maps = []
        for i in (0, 1):
            place = inverse[i, 0] * at[None, :] + inverse[i, 1] * at[:, None] + inverse[i, 2]
            maps.append(self._unstretch(place, i))
        return maps[0], maps[1]

    def _unstretch(self, place: np.ndarray, axis: int) -> np.ndarray:
        """Through the inverse curve, by a fine table: an interpolation for each pixel is slow."""
        table = np.linspace(self.images[axis][0], self.images[axis][-1], 1024)
        values = np.interp(table, self.images[axis], self.knots[axis]).astype(np.float32)
        step = (len(table) - 1) / (table[-1] - table[0])
        index = np.clip((place - table[0]) * step, 0, len(table) - 1)
        low = np.minimum(index.astype(np.int32), len(table) - 2)
        part = (index - low).astype(np.float32)
        return values[low] * (1 - part) + values[low + 1] * part


def augment(sample: Sample, lot: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An augmented picture.

    Returns:
        uint8 `256 256 3`; joints `22 2` in [-1, 1], NaN where absent; visibility uint8 `22`, where
        what lies outside the picture or under something put in front counts as hidden.
    """
    mapping = random_mapping(sample, lot)
    picture, alpha = warp(sample, mapping)
    picture = recolour(picture, lot)
    picture = compose(picture, alpha, ground(lot), lot)
    joints, visibility = mapping.forward(sample.joints), sample.visibility.copy()
    if lot.random() < 0.15:
        cover(picture, joints, visibility, lot)
    picture = degrade(picture, lot)
    outside = (np.abs(joints - (SIZE - 1) / 2) > (SIZE - 1) / 2).any(-1)
    visibility[(visibility == 2) & outside] = 1
    return picture, (joints / (SIZE - 1) * 2 - 1).astype(np.float32), visibility


def untouched(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sample on white where it was, in the form that `augment` returns."""
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    (x, y), (height, width) = sample.corner, sample.cut.shape[:2]
    rgb, inside = sample.cut[..., :3], sample.cut[..., 3:] > 0
    picture[y : y + height, x : x + width] = np.where(inside, rgb, 255)
    joints = (sample.joints / (SIZE - 1) * 2 - 1).astype(np.float32)
    return picture, joints, sample.visibility


def random_mapping(sample: Sample, lot: np.random.Generator) -> Mapping:
    """Other proportions, then mirrored or not, turned, sheared, scaled, and put somewhere."""
    height, width = sample.cut.shape[:2]
    corner, extent = np.array(sample.corner, float), np.array([width, height], float)
    spread = 0.22 if lot.random() < 0.6 else 0.0
    knots = corner[:, None] + extent[:, None] * np.linspace(0, 1, KNOTS)
    slopes = np.exp(np.clip(lot.normal(0, spread, (2, KNOTS - 1)), -0.45, 0.45))
    slopes /= slopes.mean(1, keepdims=True)
    images = np.concatenate([np.zeros((2, 1)), np.cumsum(slopes, 1)], 1) / (KNOTS - 1)
    images = corner[:, None] + extent[:, None] * images
    # Beyond the box the curves go straight on, so that nothing is folded.
    ends = np.array([[-300.0, 600.0]])
    knots = np.concatenate([knots[:, :1] + ends[:, :1], knots, knots[:, -1:] + ends[:, 1:]], 1)
    images = np.concatenate([images[:, :1] + ends[:, :1], images, images[:, -1:] + ends[:, 1:]], 1)
    return Mapping(knots, images, _random_matrix(corner + extent / 2, extent, lot))


def _random_matrix(centre: np.ndarray, extent: np.ndarray, lot: np.random.Generator) -> np.ndarray:
    """The 2x3 matrix that puts the middle of a box somewhere, at some size."""
    turn = np.radians(np.clip(lot.normal(0, 8), -25, 25)) if lot.random() < 0.6 else 0.0
    shear, aspect = lot.normal(0, 0.07), np.exp(lot.normal(0, 0.09))
    flip = -1.0 if lot.random() < 0.5 else 1.0
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[aspect, shear], [0, 1 / aspect]])
    linear = linear @ np.diag([flip, 1.0])
    size = np.abs(linear) @ extent
    linear *= lot.uniform(0.38, 0.95) * SIZE / size.max()
    room = np.maximum(SIZE - np.abs(linear) @ extent, 0) / 2 + 0.04 * SIZE
    goal = (SIZE - 1) / 2 + lot.uniform(-1, 1, 2) * room
    return np.concatenate([linear, (goal - linear @ centre)[:, None]], 1)


def warp(sample: Sample, mapping: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """The cut in its new shape: RGB uint8 `256 256 3` and its coverage `256 256`."""
    x, y = mapping.lookup()
    cut = cv2.remap(
        sample.cut, x - np.float32(sample.corner[0]), y - np.float32(sample.corner[1]),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(255, 255, 255, 0),
    )  # fmt: skip
    return np.ascontiguousarray(cut[..., :3]), cut[..., 3]


def recolour(picture: np.ndarray, lot: np.random.Generator) -> np.ndarray:
    """Other hues, channels in another order, grey, brighter or darker."""
    kind = lot.random()
    if kind < 0.4:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(lot.integers(180))) % 180
        hsv[..., 1] = cv2.convertScaleAbs(hsv[..., 1], alpha=lot.uniform(0.3, 1.4))
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    elif kind < 0.5:
        picture = np.ascontiguousarray(picture[..., lot.permutation(3)])
    elif kind < 0.58:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if lot.random() < 0.7:
        gain, lift = np.exp(lot.normal(0, 0.25, 3) * 0.5 + lot.normal(0, 0.2)), lot.normal(0, 18)
        ramp = 255 * (np.arange(256)[:, None] / 255.0) ** np.exp(lot.normal(0, 0.25)) * gain + lift
        picture = cv2.LUT(picture, np.clip(ramp, 0, 255).astype(np.uint8)[None])
    if lot.random() < 0.15:  # a coat: blotches of another tone
        blotch = noise(lot, int(lot.integers(4, 24)))[..., None]
        tone = lot.integers(0, 256, 3)
        share = np.float32(lot.uniform(0.3, 0.9)) * (blotch > lot.uniform(0.45, 0.65))
        picture = (picture * (1 - share) + tone * share).astype(np.uint8)
    return picture


def noise(lot: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise in [0, 1], `256 256`."""
    grid = lot.random((cells, cells), dtype=np.float32)
    return cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def ground(lot: np.random.Generator) -> np.ndarray:
    """White, one colour, a gradient, clouds, stripes or a scene of shapes: uint8 `256 256 3`."""
    kind = lot.random()
    first, second = lot.integers(0, 256, (2, 3))
    if kind < 0.5:
        return np.full((SIZE, SIZE, 3), 255, np.uint8)
    if kind < 0.7:
        pale = lot.random() < 0.5
        return np.full((SIZE, SIZE, 3), lot.integers(200, 256, 3) if pale else first, np.uint8)
    if kind < 0.78:
        share = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None].repeat(SIZE, 1)
        share = share if lot.random() < 0.7 else share.T
    elif kind < 0.88:
        share = noise(lot, int(lot.integers(3, 40)))
        share = 0.5 * share + 0.5 * noise(lot, int(lot.integers(3, 12)))
    elif kind < 0.93:
        angle, pace = lot.uniform(0, np.pi), lot.uniform(0.05, 0.5)
        at = np.arange(SIZE, dtype=np.float32)
        share = np.cos(angle) * at[None] + np.sin(angle) * at[:, None]
        share = 0.5 + 0.5 * np.sin(pace * share)
    else:
        return _shapes(lot)
    share = share[..., None]
    return (first * (1 - share) + second * share).astype(np.uint8)


def _shapes(lot: np.random.Generator) -> np.ndarray:
    """A ground of polygons and discs over two colours, sky and earth."""
    picture = np.empty((SIZE, SIZE, 3), np.uint8)
    horizon = int(lot.integers(SIZE // 3, SIZE))
    picture[:horizon], picture[horizon:] = lot.integers(0, 256, (2, 3))
    for _ in range(int(lot.integers(3, 14))):
        colour = tuple(int(v) for v in lot.integers(0, 256, 3))
        corners = lot.integers(0, SIZE, 2) + lot.integers(-60, 61, (int(lot.integers(3, 6)), 2))
        if lot.random() < 0.5:
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            middle = tuple(int(v) for v in corners[0])
            cv2.circle(picture, middle, int(lot.integers(5, 50)), colour, -1, cv2.LINE_AA)
    return picture


def compose(
    picture: np.ndarray, alpha: np.ndarray, behind: np.ndarray, lot: np.random.Generator
) -> np.ndarray:
    """The animal over its ground; a hair's breadth of its rim, still mixed with white, is cut."""
    if (behind == 255).all() and lot.random() < 0.7:
        share = (alpha > 0)[..., None]
        return np.where(share, picture, behind)
    alpha = cv2.erode(alpha, np.ones((2, 2), np.uint8)) if lot.random() < 0.6 else alpha
    share = cv2.blur(alpha, (2, 2)).astype(np.uint16)[..., None]
    mixed = picture * share + behind * (255 - share)
    return (mixed // 255).astype(np.uint8)


def cover(
    picture: np.ndarray, joints: np.ndarray, visibility: np.ndarray, lot: np.random.Generator
) -> None:
    """Put a disc or a block in front; joints (pixels) under it become hidden."""
    centre = lot.uniform(0.2, 0.8, 2) * SIZE
    extent = lot.uniform(8, 40, 2)
    colour = tuple(int(v) for v in lot.integers(0, 256, 3))
    low, high = (tuple(int(v) for v in centre + s * extent) for s in (-1, 1))
    apart = np.abs(joints - centre) / extent
    if lot.random() < 0.5:
        cv2.rectangle(picture, low, high, colour, -1)
        under = (apart < 1).all(-1)
    else:
        axes = tuple(int(v) for v in extent)
        cv2.ellipse(picture, tuple(int(v) for v in centre), axes, 0, 0, 360, colour, -1)
        under = (apart**2).sum(-1) < 1
    visibility[(visibility == 2) & under] = 1


def degrade(picture: np.ndarray, lot: np.random.Generator) -> np.ndarray:
    """Smaller and up again, blurred, noisy, compressed; each now and then."""
    if lot.random() < 0.3:
        small = int(lot.integers(80, 200))
        little = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(little, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    if lot.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), lot.uniform(0.4, 1.6))
    if lot.random() < 0.25:
        grain = lot.standard_normal((SIZE, SIZE, 1), np.float32) * np.float32(lot.uniform(2, 14))
        picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    if lot.random() < 0.12:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(lot.integers(25, 80))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    return picture
