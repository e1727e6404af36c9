"""What may spoil a transfer, told from what was computed for it: lines for a run's report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from anamodiff.lofnet.adapt import normalise_points
from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.run.folds import FOLDED
from anamodiff.warp import foldover

# 18 drawn pairs that begin alike stayed below the first (0.32 at most), idle animals, which only
# breathe, above the second (0.034).
APART = 0.33  # of the character's size, root mean square over joints or points
STILL = 0.02  # likewise, over time
_OWN = 1e-3  # of [-1, 1]: within it the result opens in the source's own pose
#: A model with a larger vocabulary was trained on prompts of all kinds, whose words cannot be told.
SMALL_VOCABULARY = 10_000


def warnings_of(warped: WarpedIntermediate, unknown: list[str]) -> list[str]:
    """Lines on what may spoil the result: what it is, its figure, and what to do.

    Args:
        unknown: words of the prompt that the model does not know.
    """
    lines = []
    folded = foldover(warped.flow)
    if (mean := float(folded.mean())) > FOLDED:
        lines.append(
            f"The flow is folded over in {mean:.0%} of its cells ({float(folded.max()):.0%} in the "
            "worst frame): parts may be torn or mirrored. anamodiff inspect draws the flow; clips "
            "in more similar poses help."
        )
    if (far := start_distance(warped)) is not None and far > APART:
        lines.append(
            f"The start poses are far apart ({far:.2f} of the character's size): choose a source "
            "frame in a similar pose (--start-frame auto or a number), or another driving clip."
        )
    if (moved := motion(warped)) is not None and moved < STILL:
        lines.append(
            f"The driving clip is nearly still ({moved:.3f} of the character's size): the result "
            "will hardly move. Cut the clip to the part with the motion."
        )
    if unknown:
        lines.append(unknown_line(unknown))
    return lines


def unknown_line(unknown: list[str]) -> str:
    """What is said of words of the prompt that the model does not know."""
    return (
        f"The backbone's model was not trained on these words of the prompt: {', '.join(unknown)}. "
        'Name the character and its colour in plain words, such as "a green turtle".'
    )


def start_distance(warped: WarpedIntermediate) -> float | None:
    """How far the poses are apart in which source and driving motion start; None if not known.

    Where retargeting is learnt, each frame is warped from its own source frame: it is the distance
    of the first one's pose to the pose that the result starts in.
    """
    if warped.poses is not None:
        first = int(warped.source_frames[0])
        return _distance(warped.poses.source[first], warped.poses.target[0])
    source, driving, target = warped.source_points, warped.driving_points, warped.adapted_points
    if source is None or driving is None:
        return None
    if target is not None and (target.value[0] - source.value[0]).abs().max() > _OWN:
        return _distance(source.value[0], target.value[0])
    return _distance(source.value[0], driving.value[0])


def motion(warped: WarpedIntermediate) -> float | None:
    """How far the driving clip's joints or points are from their mean over time, by its size."""
    if warped.poses is not None:
        places = warped.poses.driving
    elif warped.driving_points is not None:
        places = warped.driving_points.value
    else:
        return None
    places = places.detach().float().cpu()  # f k 2
    seen = places.isfinite().all(dim=-1).all(dim=0)
    places = places[:, seen]
    if places.numel() == 0:
        return None
    size = (places - places.mean(dim=1, keepdim=True)).square().sum(-1).mean().sqrt()
    moved = (places - places.mean(dim=0)).square().sum(-1).mean().sqrt()
    return float(moved / size.clamp_min(1e-6))


def _distance(one: Tensor, other: Tensor) -> float | None:
    """Root mean square distance of normalised places ``k 2`` that both have; None without any."""
    one, other = (places.detach().float().cpu() for places in (one, other))
    both = one.isfinite().all(dim=-1) & other.isfinite().all(dim=-1)
    if int(both.sum()) < 3:
        return None
    apart = normalise_points(one[both]) - normalise_points(other[both])
    return float(torch.sqrt(apart.square().sum(-1).mean()))


def unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    """Words of a prompt that a model with a vocabulary of its own has not been trained on.

    A small vocabulary holds the words of the training's captions whole. A large one, CLIP's, holds
    parts of words, and what the model knows cannot be told from it: then none is given.
    """
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) > SMALL_VOCABULARY:
        return []
    words = dict.fromkeys(re.findall(r"[^\W\d_]+", prompt.lower()))
    return list(_split(tokenizer, words))


def _split(tokenizer: Any, words: dict[str, None]) -> Iterator[str]:
    """The words for which the tokenizer needs several tokens."""
    for word in words:
        if len(tokenizer(word, add_special_tokens=False)["input_ids"]) > 1:
            yield word
