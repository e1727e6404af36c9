"""Soft edges of a character on a plain ground: how much of each pixel is the ground's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

EDGE = 2  # pixels from the ground within which both mix
REACH = 3  # pixels from an edge within which its own colour is found
# A colour lies between the ground's and another one's if it is off their line by less than this, in
# [-1, 1], and as a share of its distance from the ground's, which is larger for outermost pixels.
OFF_LINE, OFF_LINE_SHARE, OFF_LINE_OUTSIDE = 0.05, 0.1, 0.5
FAINT = 0.25  # of [-1, 1], from the ground's colour
# Colours' distance from the ground, over the largest within so many pixels: an outline's is lower.
# Measured two pixels deep, on 19 drawn characters at 256 pixels on dark grounds: at most .57 with
# outlines, at least .87 without. Behind an outline colours are even from the fourth pixel on (at
# least .90, but for one of 33): on edges blurred by two pixels they are not (at most .89).
AROUND, OUTLINED, EVEN = 9, 0.7, 0.89
# A blurred edge: how many pixels wide at most; how much further from the ground's colour each one
# is than the one before, as a factor and in [-1, 1]: shading in a character rises more slowly.
BLURRED, STEEP, STEP = 6, 1.15, 0.06
# Of a share where compression has blurred an edge: what lies below or above is certain.
CERTAIN = (0.2, 0.8)


def has_visible_outlines(masks: Mask, apart: Array, blurred: bool = False) -> bool:
    """Whether a line nearer to the ground's colour than what is within it runs around a character.

    Colours rise in two steps from the ground, and not evenly, as at soft edges.

    Args:
        masks: ``f h w``.
        apart: ``f h w 3``, colours minus the ground's.
        blurred: whether edges may as well be blurred.
    """
    shares: dict[int, list[Array]] = {1: [], 2: [], 3: [], 4: []}
    for mask, colours in zip(masks, apart, strict=True):
        depth = _depth(mask)
        length = np.linalg.norm(colours, axis=-1) * mask
        share = length / np.maximum(cv2.dilate(length, np.ones((AROUND, AROUND))), 1e-3)
        for number, found in shares.items():
            found.append(share[np.rint(depth) == number])
    if not all(sum(map(len, found)) for found in shares.values()):
        return False
    first, second, third, fourth = (float(np.median(np.concatenate(x))) for x in shares.values())
    outlined = second < OUTLINED and third - second > second - first
    return outlined and (fourth > EVEN or not blurred)


def soft_edges(mask: Mask, apart: Array, outlined: bool = False, blurred: bool = False) -> Array:
    """Alpha ``h w`` of one mask: below 1 where a colour lies between ground and neighbours.

    Args:
        apart: ``h w 3``, colours minus the ground's.
        outlined: whether only the outermost pixels mix, with an outline's colour.
        blurred: whether what rises from the ground's colour over more pixels is mixed, too.
    """
    depth = _depth(mask)
    alpha = mask.astype(np.float32)
    edge, reach = (1, 1) if outlined else (EDGE, REACH)
    y, x = np.nonzero(mask & (depth <= edge))
    own, least = apart[y, x], alpha[y, x]
    # The outermost pixels are always mixed, with whatever neighbour explains them best.
    outermost = depth[y, x] <= 1
    share_outside = np.where(outermost, OFF_LINE_OUTSIDE, OFF_LINE_SHARE)
    length = np.linalg.norm(own, axis=-1)
    tolerance = OFF_LINE + share_outside * length
    furthest = np.full_like(length, 1e-3)
    height, width = mask.shape
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            at = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
            other, deeper = apart[at], depth[at] > depth[y, x]
            square = (other * other).sum(-1) + 1e-6
            share = (own * other).sum(-1) / square
            off = np.linalg.norm(own - share[:, None] * other, axis=-1)
            between = deeper & (share > 0) & (off < tolerance)
            least = np.where(between, np.where(outermost, share, np.minimum(least, share)), least)
            tolerance = np.where(between & outermost, off, tolerance)
            furthest = np.maximum(furthest, np.sqrt(square) * deeper)
    # What nothing explains, but is nearly the ground's colour, is nearly the ground.
    faint = outermost & (least >= 1) & (length < np.minimum(FAINT, furthest))
    alpha[y, x] = np.where(faint, length / furthest, least).clip(0, 1)
    return _blurred_edges(alpha, mask, apart) if blurred and not outlined else alpha


def _blurred_edges(alpha: Array, mask: Mask, apart: Array) -> Array:
    """Alpha ``h w`` where colours rise from the ground's over several pixels, as out of focus.

    Each pixel there is a share of one further up, which may be mixed itself.
    """
    length = np.linalg.norm(apart, axis=-1)
    rising = _rising(mask, length)
    y, x = np.nonzero(rising)
    own, lengths = apart[y, x], length[y, x]
    best, share = lengths * STEEP, np.ones_like(lengths)
    above = y, x
    height, width = mask.shape
    for dy in range(-EDGE, EDGE + 1):
        for dx in range(-EDGE, EDGE + 1):
            at = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
            other = apart[at]
            part = (own * other).sum(-1) / ((other * other).sum(-1) + 1e-6)
            off = np.linalg.norm(own - part[:, None] * other, axis=-1)
            taken = mask[at] & (length[at] > best) & (off < OFF_LINE + OFF_LINE_SHARE * lengths)
            best, share = np.where(taken, length[at], best), np.where(taken, part, share)
            above = tuple(np.where(taken, *pair) for pair in zip(at, above, strict=True))
    explained = share < 1
    y, x, share = y[explained], x[explained], share[explained].clip(0, 1)
    above = tuple(one[explained] for one in above)
    found = alpha.copy()
    for _ in range(BLURRED):
        found[y, x] = share * found[above]
    return found


def _rising(mask: Mask, length: Array) -> Mask:
    """Where lengths ``h w`` rise steeply from the ground on."""
    found = ~mask
    for _ in range(BLURRED):
        # A pixel is reached from any neighbour that is so much lower.
        lowest = cv2.erode(np.where(found, length, 10).astype(np.float32), np.ones((3, 3)))
        found |= length > np.maximum(STEEP * lowest, lowest + STEP)
    return found & mask


def stained_edges(mask: Mask, apart: Array) -> tuple[Array, Array]:
    """Alpha ``h w``, and the character's own colours ``h w 3`` minus the ground's, where both run
    into each other for some pixels, as in films with fewer pixels of colour than of brightness.

    The deepest colour nearby is taken for a pixel's own one: those between are mixed as well.

    Args:
        apart: ``h w 3``, colours minus the ground's.
    """
    depth = _depth(mask)
    y, x = np.nonzero(mask & (depth <= REACH))
    mixed, deepest = apart[y, x], depth[y, x].copy()
    own = mixed.copy()
    height, width = mask.shape
    steps = range(-REACH - 1, REACH + 2)
    for dy, dx in sorted(
        ((i, j) for i in steps for j in steps), key=lambda at: at[0] ** 2 + at[1] ** 2
    ):
        at = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
        deeper = (depth[at] > deepest) & (depth[at] <= REACH + 1)
        own[deeper], deepest[deeper] = apart[at][deeper], depth[at][deeper]
    share = (mixed * own).sum(-1) / ((own * own).sum(-1) + 1e-6)
    off = np.linalg.norm(mixed - share[:, None] * own, axis=-1)
    between = off < OFF_LINE + OFF_LINE_OUTSIDE * np.linalg.norm(mixed, axis=-1)
    low, high = CERTAIN
    alpha, colours = mask.astype(np.float32), apart.copy()
    alpha[y, x] = np.where(between, ((share - low) / (high - low)).clip(0, 1), 1)
    colours[y, x] = np.where((between & (share < high))[:, None], own, mixed)
    return alpha, colours


def _depth(mask: Mask) -> Array:
    """How many pixels from the ground each one is, ``h w``; the picture's edges are none."""
    padded = np.pad(mask.astype(np.uint8), 1, "edge")
    return cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
