"""Strips: one picture that holds square frames side by side, as MGIF and FOMM's data sets do."""

import numpy as np

from anamodiff.video.picture import on_white

#: A strip has at least this many square frames: a picture of two to one is a picture.
SHORTEST_STRIP = 3

# Bytes: a pixel so far from the ground's colour belongs to a character.
_APART = 24
# Characters of one strip cover areas and have mean colours this much alike, at most.
_LARGER, _OTHER_COLOUR = 2.5, 40
# Share of the border that has the ground's colour, at least.
_PLAIN = 0.6
# Share of what stands out of the ground that is the same in all frames, at least.
_SAME = 0.6


def cut_strip(picture: np.ndarray) -> list[np.ndarray]:
    """Cut a strip, bytes `h w 3` or 4, into its square frames; any other picture stays whole.

    A strip is an exact multiple, at least `SHORTEST_STRIP`, as wide as high or as high as wide,
    whose squares plainly show one thing again and again. A wide picture of one thing, of a row
    of different ones, or whose content runs on across the cuts is one picture.
    """
    height, width = picture.shape[:2]
    along = 1 if width > height else 0
    shown = on_white(picture) if picture.shape[2] == 4 else picture
    if not _is_strip(shown if along else np.swapaxes(shown, 0, 1)):
        return [picture]
    return np.split(picture, max(height, width) // min(height, width), axis=along)


def _is_strip(picture: np.ndarray) -> bool:
    """Whether a picture at least as wide as high is a row of square frames."""
    height, width = picture.shape[:2]
    if width % height or width // height < SHORTEST_STRIP:
        return False
    frames = np.stack(np.split(picture, width // height, axis=1)).astype(np.float32)
    return not _runs_across_cuts(picture) and (_one_ground(frames) or _one_character(frames))


def _runs_across_cuts(picture: np.ndarray) -> bool:
    """Whether something besides the ground crosses a cut, and nothing breaks off at any.

    The ground at the cuts is what the picture's own left and right edges show.
    """
    height, width = picture.shape[:2]
    cuts = np.arange(height, width, height)
    after, before = picture[:, cuts].astype(np.float32), picture[:, cuts - 1].astype(np.float32)
    edges = picture[:, None, [0, -1]].astype(np.float32)
    beside_ground = np.abs(after[:, :, None] - edges).mean(axis=(0, 3)).min(axis=1)
    step = np.abs(after - before).mean(axis=(0, 2))
    contrast = after.std(axis=0).mean(axis=1)
    return bool((beside_ground > 6).any() and (step <= np.maximum(3, 0.3 * contrast)).all())


def _one_ground(frames: np.ndarray) -> bool:
    """Whether frames `f h w 3` show one thing, or one textured ground, at one place."""
    middle = np.median(frames, axis=0)
    stands_out = np.abs(middle - np.median(middle, axis=(0, 1))).max(axis=2) > _APART
    if stands_out.sum() < 4:
        return False
    same = np.abs(frames - middle).max(axis=3)[:, stands_out] < _APART
    return bool(same.mean() > _SAME)


def _one_character(frames: np.ndarray) -> bool:
    """Whether each frame `f h w 3` shows something of one size and colour on one plain ground."""
    ring = np.concatenate([frames[:, 0], frames[:, -1]], axis=1)
    ground = np.median(ring, axis=(0, 1))
    if (np.abs(ring - ground).max(axis=2) < _APART).mean() < _PLAIN:
        return False
    apart = np.abs(frames - ground).max(axis=3) > _APART
    areas = apart.sum(axis=(1, 2))
    if areas.min() < 4 or areas.max() > _LARGER * areas.min():
        return False
    shown = zip(frames, apart, strict=True)
    colours = np.stack([frame[mask].mean(axis=0) for frame, mask in shown])
    return bool(np.abs(colours - np.median(colours, axis=0)).max() < _OTHER_COLOUR)
