"""Warnings of a run's report: each appears for what it is about, and not without."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from anamodiff.lofnet.animate import WarpedIntermediate
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.skeletal import Poses
from anamodiff.resources import find
from anamodiff.run.findings import motion, start_distance, unknown_words, warnings_of
from anamodiff.run.folds import fold_verdict
from anamodiff.warp import identity_grid

FRAMES = 5
SQUARE = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def moved(by: float) -> Tensor:
    """Points ``f 4 2`` of a square that shifts to the right by so much in all."""
    shift = torch.linspace(0, by, FRAMES)[:, None, None] * torch.tensor([1.0, 0.0])
    return SQUARE + shift


@pytest.fixture
def plain() -> WarpedIntermediate:
    """A pair in which all is well."""
    frames = torch.zeros(FRAMES, 3, 16, 16)
    latents = torch.zeros(FRAMES, 4, 8, 8)
    flow = identity_grid(8, 8).expand(FRAMES, -1, -1, -1).clone()
    return WarpedIntermediate(
        frames, frames, latents, latents, flow, 0,
        driving_points=KeyPoints(moved(0.5), None), source_points=KeyPoints(SQUARE[None], None),
    )  # fmt: skip


def skeletons(source: Tensor, driving: Tensor, target: Tensor) -> Poses:
    return Poses(source.expand(FRAMES, -1, -1), driving, target.expand(FRAMES, -1, -1))


def only(lines: list[str], words: str) -> None:
    assert len(lines) == 1 and words in lines[0]


def test_nothing_to_warn_of(plain: WarpedIntermediate) -> None:
    assert warnings_of(plain, []) == []


def test_folds(plain: WarpedIntermediate) -> None:
    plain.flow[:, :, :4] = plain.flow[:, :, :4].flip(2)  # half of the picture is mirrored
    only(warnings_of(plain, []), "folded over in 4")


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "little"), (0.04, "some: look"), (0.05, "some"), (0.051, "much")]
)
def test_verdicts_on_folds_agree_with_the_warning(share: float, words: str) -> None:
    assert fold_verdict(share).startswith(words)


def test_start_poses(plain: WarpedIntermediate) -> None:
    turned = SQUARE.flip(0).roll(1, 0)  # by points, whichever pose the frames are warped from
    only(
        warnings_of(replace(plain, source_points=KeyPoints(turned[None], None)), []),
        "start poses are far apart",
    )
    larger = KeyPoints(3 * SQUARE[None] + 0.2, None)
    distance = start_distance(replace(plain, source_points=larger))
    assert distance == pytest.approx(0, abs=1e-5), "size and place are no pose"
    aimed = replace(plain, source_points=KeyPoints(turned[None], None))
    learnt = replace(aimed, adapted_points=KeyPoints(turned.expand(FRAMES, -1, -1) * 0.9, None))
    assert warnings_of(learnt, []) == [], "the result's own first pose is what counts"
    by_skeletons = replace(plain, poses=skeletons(SQUARE, moved(0.5), turned))
    only(warnings_of(by_skeletons, []), "start poses are far apart")
    alike = skeletons(SQUARE, moved(0.5), SQUARE)
    assert warnings_of(replace(plain, poses=alike), []) == []


def test_still_driving_clips(plain: WarpedIntermediate) -> None:
    still = replace(plain, driving_points=KeyPoints(moved(0.005), None))
    only(warnings_of(still, []), "nearly still")
    joints = moved(0.5)
    joints[2, 1] = torch.nan  # found on some frames only
    assert motion(replace(plain, poses=skeletons(SQUARE, joints, SQUARE))) > 0.02
    joints[:] = torch.nan
    assert motion(replace(plain, poses=skeletons(SQUARE, joints, SQUARE))) is None
    assert motion(replace(plain, driving_points=None)) is None


def test_old_run_folders_have_no_points(plain: WarpedIntermediate) -> None:
    assert warnings_of(replace(plain, driving_points=None, source_points=None), []) == []


def test_words_that_the_model_does_not_know(plain: WarpedIntermediate) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(find("checkpoints/mini") / "tokenizer")
    assert unknown_words(tokenizer, "A green turtle, an orange fox") == []
    found = unknown_words(tokenizer, "a green capybara; a Capybara in space")
    assert found == ["capybara", "space"]
    only(warnings_of(plain, found), "capybara, space")
    large = {str(number): number for number in range(49_408)}
    tokenizer.get_vocab = lambda: large
    assert unknown_words(tokenizer, "a capybara") == [], "of CLIP's it cannot be told"
