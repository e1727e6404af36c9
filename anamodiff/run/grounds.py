"""Both clips' characters on one canonical ground, whatever they were filmed on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from anamodiff.matting.checks import has_useful_alpha, is_empty, remarks
from anamodiff.matting.cutout import WHITE, Cutout, cut_by_matte, matte_of
from anamodiff.matting.network import FOLDER, MatteNetwork, fast_format
from anamodiff.matting.plate import clean_plate
from anamodiff.matting.refine import refine_saliency
from anamodiff.matting.stabilise import find_camera
from anamodiff.matting.zoom import Zoom
from anamodiff.resources import find
from anamodiff.run.masks import Masks
from anamodiff.run.plain_grounds import (
    IN_DOUBT,
    NetworkLoader,
    announced,
    canonical_foreground,
    cut_from_plain,
    plain_colours,
    white_foreground,
)
from anamodiff.video.canvas import Letterbox
from anamodiff.video.clip import Clip
from anamodiff.video.closer import read_closer
from anamodiff.video.foreground import foreground_mask, ground_colour, lab_distance
from anamodiff.video.sampling import silent

logger = logging.getLogger(__name__)

#: Lab: a plain ground no further from white than this is the canonical one already.
WHITE_DISTANCE = 4.0
# Overlap (IoU) of mattes from near and from afar, below which they are of different things.
SAME_FROM_NEAR = 0.4
#: The mattes ``f n n`` in a square (top, left, side) of the canvas, from near; None: no more.
CloserMask = Callable[[int, int, int], Tensor | None]


@dataclass(frozen=True)
class Subject:
    """A clip's character on the canonical ground, and the ground that it was filmed on.

    Attributes:
        clip: with frames ``f 3 H W`` on white.
        mattes: ``f H W`` in [0, 1], how much of each pixel is the character's.
        ground: ``3 H W`` in [-1, 1]; None where the clip's frames are as they were read.
        foreground: ``f H W``, bool, where the character is; None where its colours say so.
        zoom: the square of the canvas that `clip`, `mattes` and `foreground` show; None: all of it.
        moved: whether a moving camera's motion was taken out.
    """

    clip: Clip
    mattes: Tensor
    ground: Tensor | None = None
    foreground: Tensor | None = None
    zoom: Zoom | None = None
    moved: bool = False


@dataclass(frozen=True)
class Subjects:
    """Source and driving clip."""

    source: Subject
    driving: Subject


def cut_pair(source: Clip, driving: Clip, matte: str, network: NetworkLoader) -> Subjects:
    """Cut the characters of both clips out.

    Args:
        source, driving: on the backbone's square canvas.
        matte: `adaptation.matte`.
        network: gives the matte network, where one is needed.

    Raises:
        AnaMoDiffError: masks are given that cannot be read, or do not fit either clip.
    """
    if matte == "none":
        return Subjects(*(Subject(clip, _by_colour(clip.frames)) for clip in (source, driving)))
    masks = Masks(None, None) if matte == "auto" else Masks.read(matte, source, driving)
    if driving is source:
        subject = cut_clip(source, masks.source, network, "clip", partial(masks.closer, "source"))
        return Subjects(subject, subject)
    return Subjects(
        cut_clip(source, masks.source, network, "source", partial(masks.closer, "source")),
        _with_room(
            cut_clip(
                driving, masks.driving, network, "driving clip", partial(masks.closer, "driving")
            )
        ),
    )


def cut_clip(
    clip: Clip, mask: Tensor | None, network: NetworkLoader, role: str,
    closer: CloserMask | None = None,
) -> Subject:  # fmt: skip
    """Cut one clip's character out of its ground.

    Where the ground is textured, a moving camera's motion is taken out, too.

    Args:
        mask: the user's own matte ``f H W``; None finds one.
        role: what messages call the clip.
        closer: reads a square of that matte from near; None enlarges it.
    """
    subject = _cut(clip, mask, network, role)
    zoom = Zoom.to(subject.mattes >= 0.5)
    if zoom is None:
        return subject
    ground = subject.ground
    if ground is None:
        ground = ground_colour(clip.frames).view(3, 1, 1).expand_as(clip.frames[0])
    enlarged = zoom.enter(subject.mattes[:, None], 0.0)[:, 0]
    own = None if mask is None else closer and closer(zoom.top, zoom.left, zoom.side)
    given = own if own is not None or mask is None else enlarged
    near = None if subject.moved else _from_near(clip, zoom, given, enlarged, network, role)
    if near is not None:
        logger.warning(
            "the character of the %s is small: it is read from the file again, from near, and "
            "pasted back", role,
        )  # fmt: skip
        return replace(near, ground=ground, zoom=zoom)
    logger.warning(
        "the character of the %s is small: it is enlarged for the work, and blurred; give a clip "
        "in which it is larger for a sharper result", role,
    )  # fmt: skip
    large = replace(subject.clip, frames=zoom.enter(subject.clip.frames), alpha=None)
    return Subject(large, enlarged, ground, canonical_foreground(large.frames, enlarged), zoom)


def _from_near(
    clip: Clip, zoom: Zoom, mask: Tensor | None, enlarged: Tensor, network: NetworkLoader, role: str
) -> Subject | None:
    """What a square of the canvas shows, with the file's own pixels; None where it has no more.

    Args:
        mask: the user's own matte in the square, if there is one.
        enlarged: the mattes of the canvas in the square.
    """
    closer = read_closer(clip, zoom.top, zoom.left, zoom.side)
    if closer is None:
        return None
    with silent(logger):
        found = _cut(closer, mask, network, role)
    mattes = found.mattes
    # From near something else may be taken for the character.
    both = (mattes * enlarged).sum() / torch.maximum(mattes, enlarged).sum().clamp_min(1e-6)
    if both < SAME_FROM_NEAR:
        return None
    foreground = canonical_foreground(found.clip.frames, mattes)
    return replace(found, clip=replace(found.clip, box=clip.box), foreground=foreground)


def _with_room(subject: Subject) -> Subject:
    """A driving clip's character with room around it, which its skeleton is found by."""
    zoom = Zoom.around(subject.mattes >= 0.5)
    if zoom is None:
        return subject
    mattes = zoom.enter(subject.mattes[:, None], 0.0)[:, 0]
    clip = replace(subject.clip, frames=zoom.enter(subject.clip.frames), alpha=None)
    foreground = canonical_foreground(clip.frames, mattes)
    return replace(subject, clip=clip, mattes=mattes, foreground=foreground, zoom=zoom)


def _cut(clip: Clip, mask: Tensor | None, network: NetworkLoader, role: str) -> Subject:
    own = _inside(clip)
    frames = clip.frames[(..., *own)]
    if mask is None and _has_matte(clip, own):
        logger.info("the %s is transparent around its character: its alpha is the matte", role)
        return _by_alpha(clip, own, role)
    colour = plain_colours(frames)
    in_doubt = announced(network, partial(logger.info, IN_DOUBT, role))
    if mask is None and colour is not None and _is_white(colour):
        foreground = white_foreground(clip.frames, colour, in_doubt)
        mattes = _by_colour(clip.frames) if foreground is None else foreground.float()
        _warn(mattes[(..., *own)] > 0, role)
        return Subject(clip, mattes, foreground=foreground)
    if mask is not None:
        cutout = cut_by_matte(frames, mask[(..., *own)])
    elif colour is not None:
        cutout = cut_from_plain(frames, colour, in_doubt)
    else:
        logger.info("the %s's ground is textured: its character is cut out by a network", role)
        cutout = cut_by_matte(frames, _network_matte(frames, network()))
    _warn(cutout.mask, role)
    if is_empty(cutout.mask):
        return Subject(clip, torch.zeros_like(clip.frames[:, 0]))
    if colour is not None and colour.ndim == 1:
        return _on_canvas(clip, cutout, colour.view(3, 1, 1).expand_as(frames[0]))
    # Sand is nearly smooth, and shows a camera's motion all the same.
    still, ground = _with_plate(frames, cutout, role)
    moved = still is not cutout
    if colour is not None and not moved:
        ground = colour
    return replace(_on_canvas(clip, still, ground), moved=moved)


def _has_matte(clip: Clip, own: tuple[slice, slice]) -> bool:
    return clip.alpha is not None and has_useful_alpha(clip.alpha[(..., *own)])


def _by_alpha(clip: Clip, own: tuple[slice, slice], role: str) -> Subject:
    """By the file's own alpha: its frames, which are on white, are the cutout."""
    assert clip.alpha is not None
    cutout = Cutout(clip.frames[(..., *own)], clip.alpha[(..., *own)])
    _warn(cutout.mask, role)
    return replace(_on_canvas(clip, cutout, torch.full_like(cutout.frames[0], WHITE)), ground=None)


def matte_network_on(device: torch.device) -> NetworkLoader:
    """What gives the shipped matte network, loaded once, when the first textured ground is met."""

    @cache
    def load() -> MatteNetwork:
        form = fast_format() if device.type == "cpu" else None
        return MatteNetwork.load(find(FOLDER)).to(device, form)

    return load


def cut_textured(clip: Clip, network: NetworkLoader) -> Tensor | None:
    """Frames ``f 3 n n`` on white; None where their ground is one colour, or nothing is found."""
    own = _inside(clip)
    frames = clip.frames[(..., *own)]
    colour = plain_colours(frames)
    if colour is not None and colour.ndim == 1:
        return None
    if colour is not None:
        cutout = cut_from_plain(frames, colour, network)
    else:
        cutout = cut_by_matte(frames, _network_matte(frames, network()))
    return None if is_empty(cutout.mask) else _on_canvas(clip, cutout, frames[0]).clip.frames


def _network_matte(frames: Tensor, network: MatteNetwork) -> Tensor:
    """Alpha ``f h w`` by what stands out, and by its colours."""
    return matte_of(refine_saliency(network.saliency(frames), frames))


def _with_plate(frames: Tensor, cutout: Cutout, role: str) -> tuple[Cutout, Tensor]:
    """The cutout as a still camera sees it, and its textured ground."""
    camera = find_camera(frames, cutout.mask) if len(frames) > 1 else None
    if camera is None or not camera.moves(*frames.shape[-2:]):
        return cutout, clean_plate(frames, cutout.alpha)
    known = camera.undo(torch.ones_like(frames[:, :1]), 0.0)[:, 0] > 0.99
    alpha = camera.undo(cutout.alpha[:, None], 0.0)[:, 0]
    ground = clean_plate(camera.undo(frames, 0.0), alpha, known)
    if _cut_off(cutout.alpha, alpha):
        logger.info("the %s's camera follows the character: its motion is kept", role)
        return cutout, ground
    logger.info("the %s's camera moves: its motion is taken out", role)
    return Cutout(camera.undo(cutout.frames, WHITE), alpha), ground


def _cut_off(before: Tensor, after: Tensor) -> bool:
    """Whether any frame loses a part of its character that it had."""
    own, left = before.sum(dim=(1, 2)), after.sum(dim=(1, 2))
    return bool((left < 0.8 * own).any())


def _on_canvas(clip: Clip, cutout: Cutout, ground: Tensor) -> Subject:
    """A cutout of the clip's own picture on the whole canvas, which is white beside it."""
    own = _inside(clip)
    frames = torch.full_like(clip.frames, WHITE)
    frames[(..., *own)] = cutout.frames
    mattes = torch.zeros_like(frames[:, 0])
    mattes[(..., *own)] = cutout.alpha
    whole = torch.full_like(frames[0], WHITE)
    whole[(..., *own)] = ground
    white = replace(clip, frames=frames, background=(WHITE, WHITE, WHITE), alpha=None)
    return Subject(white, mattes, whole, canonical_foreground(frames, mattes))


def _inside(clip: Clip) -> tuple[slice, slice]:
    """Rows and columns of the canvas that the clip's own picture fills."""
    box = clip.box or Letterbox(0, 0, *clip.frames.shape[-2:], original=(0, 0))
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def _by_colour(frames: Tensor) -> Tensor:
    return foreground_mask(frames).float()


def _is_white(colour: Tensor) -> bool:
    return colour.ndim == 1 and lab_distance(colour, torch.full((3,), WHITE)) < WHITE_DISTANCE


def _warn(masks: Tensor, role: str) -> None:
    for line in remarks(masks, role):
        logger.warning("%s", line)
