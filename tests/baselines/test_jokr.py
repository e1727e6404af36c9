"""JOKR: its losses, which stage trains what, and what the result looks like."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from anamodiff.baselines import jokr_training as training
from anamodiff.baselines.jokr import JOKR, Cut, DomainDiscriminator, JOKROptions, point_maps

TINY = JOKROptions(size=64, width=4, blocks=1, detector=4, points=3, shape_steps=2, look_steps=2)


def square(lefts: list[int], top: int = 20) -> Cut:
    """A red square on a canvas of 64 pixels, and room about it."""
    frames, mattes = torch.full((len(lefts), 3, 64, 64), 1.0), torch.zeros(len(lefts), 64, 64)
    for frame, matte, left in zip(frames, mattes, lefts, strict=True):
        frame[:, top : top + 24, left : left + 24] = torch.tensor([0.8, -0.6, -0.6])[:, None, None]
        matte[top : top + 24, left : left + 24] = 1
    return Cut.of(frames, mattes, 64)


class Pixels(nn.Module):
    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        return (made - wanted).abs().mean()


def test_clips_are_cut_out_with_room() -> None:
    cut = square([0])
    assert cut.frames.shape == (1, 3, 64, 64) and set(cut.masks.unique().tolist()) == {0.0, 1.0}
    assert float(cut.masks[..., :5].sum()) == 0 and float(cut.masks[0, 0, 28, 8]) == 1
    assert float((cut.frames * (1 - cut.masks)).abs().max()) == 0
    assert float(cut.masks.sum()) == pytest.approx((24 / 1.2) ** 2, rel=0.1)


def test_maps_peak_at_their_points() -> None:
    points = torch.tensor([[[-1.0, 1.0], [0.2, 0.0]]])
    maps = point_maps(points, 21)
    assert_close(maps[0, 0, 20, 0], torch.tensor(1.0))
    assert int(maps[0, 1].argmax()) == 10 * 21 + 12
    assert float(maps[0, 1, 10, 14]) == pytest.approx(float(torch.tensor(-0.2 / 0.04).exp()))


def test_points_apart_are_not_crowded() -> None:
    far = torch.tensor([[[-0.5, 0], [0.5, 0], [0, 0.6]]])
    own = 3 * 0.1 / 6  # each to itself, as published
    assert float(training.crowded(far)) == pytest.approx(own)
    assert float(training.crowded(0 * far)) == pytest.approx(3 * own)


def test_heat_belongs_inside_the_silhouette() -> None:
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., :16] = 1
    heat = torch.zeros(1, 2, 16, 16)
    heat[:, :, 4, 2] = 1
    assert float(training.outside(heat, masks)) == pytest.approx(0, abs=1e-6)
    assert float(training.outside(heat.flip(3), masks)) > 20


def test_a_frame_and_its_next_move_alike() -> None:
    clip = square([20, 20, 20])
    pair = training.neighbours(clip, 3, torch.Generator().manual_seed(0))
    now, later = pair.frames.chunk(2)
    assert_close(now, later)
    assert len({round(float(mask.sum())) for mask in pair.masks[:3]}) == 3, "maps of their own"
    assert float((pair.frames * (1 - pair.masks)).abs().max()) == 0


def test_each_stage_trains_its_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, judge = JOKR(TINY), DomainDiscriminator(3)
    seen = {n: p.clone() for n, p in [*model.named_parameters(), *judge.named_parameters("judge")]}

    def changed() -> set[str]:
        now = dict([*model.named_parameters(), *judge.named_parameters("judge")])
        names = {name for name in seen if not torch.equal(now[name], seen[name])}
        seen.update({name: now[name].clone() for name in names})
        return {name.partition(".")[0] for name in names}

    source, driving = square([8, 14, 20]), square([30, 24, 18])
    generator = torch.Generator().manual_seed(0)
    training.fit_shapes(model, judge, source, driving, generator)
    assert changed() == {"detector", "shapes", "affine", "judge"}
    training.fit_look(model, source, Pixels(), generator)
    assert changed() == {"look"}


def test_confusion_brings_the_driving_points_to_the_source_s() -> None:
    torch.manual_seed(0)
    model, judge = JOKR(TINY), DomainDiscriminator(3)
    pair = training.neighbours(square([8, 14]), 2, torch.Generator().manual_seed(0))
    terms, (_, carried) = training.shape_terms(model, judge, pair, pair, torch.Generator())
    assert terms.keys() == {
        "silhouette", "equivariance", "separation", "inside", "temporal", "confusion",
    }  # fmt: skip
    (slope,) = torch.autograd.grad(terms["confusion"], model.affine)
    assert float(slope.abs().max()) > 0
    with torch.no_grad():
        model.affine.copy_(torch.tensor([[1.0, 0, 0.5], [0, 1, 0]]))
    assert_close(model.carried(carried) - carried, torch.tensor([0.5, 0]).expand_as(carried))


def test_the_same_seed_gives_the_same_and_the_ground_is_outside_of_its_silhouette() -> None:
    clips = square([8, 14, 20]), square([30, 24])
    first, second = (training.fit(*clips, TINY, Pixels(), seed=3) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert_close(one, other)
    nn.init.zeros_(first.shapes.layers[-1].weight)
    nn.init.constant_(first.shapes.layers[-1].bias, -30.0)
    ground = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    result = first.transfer(clips[1], ground, 40)
    assert_close(result, ground.expand(2, 3, 40, 40))
