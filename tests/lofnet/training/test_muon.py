"""Muon: its updates, its resuming, its learning."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from anamodiff.lofnet.training.muon import MuonAdamW, orthogonalise


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.ModuleDict({
        "conv_in": nn.Conv2d(3, 8, 3, padding=1), "norm": nn.GroupNorm(2, 8),
        "inner": nn.Conv2d(8, 8, 3, padding=1),
    })  # fmt: skip


def optimiser_of(net: nn.Module) -> MuonAdamW:
    return MuonAdamW([{"params": list(net.named_parameters())}], lr=1e-2, ends=("conv_in",))


def descend(net: nn.Module, optimiser: MuonAdamW, step: int) -> None:
    optimiser.zero_grad()
    loss(net, step).backward()
    optimiser.step()


def loss(net: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    return (net["inner"](net["norm"](net["conv_in"](x))) - x.mean()).square().mean()


@pytest.mark.parametrize("shape", [(8, 72), (64, 16), (32, 32)])
def test_singular_values_become_alike(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    matrix = matrix @ torch.diag(torch.logspace(0, -1, shape[1]))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_the_inside_is_muon_s_and_moves_as_far_as_adamw_would():
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = optimiser_of(net)
    muon, adamw = optimiser.parts
    assert [p.shape for p in muon.param_groups[0]["params"]] == [net["inner"].weight.shape]
    assert len(adamw.param_groups[0]["params"]) == 5
    descend(net, optimiser, 0)
    moved = {name: (p - before[name]).square().mean().sqrt() for name, p in net.named_parameters()}
    assert 0.1e-2 < moved["inner.weight"] < 0.3e-2
    assert all(distance > 0 for distance in moved.values())


def test_a_stop_changes_nothing():
    whole = network()
    optimiser = optimiser_of(whole)
    for step in range(2):
        descend(whole, optimiser, step)
    weights, state = deepcopy(whole.state_dict()), deepcopy(optimiser.state_dict())
    again = network(seed=1)
    resumed = optimiser_of(again)
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    descend(whole, optimiser, 2)
    descend(again, resumed, 2)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_it_learns():
    net = network()
    optimiser = optimiser_of(net)
    first = loss(net, 0).item()
    for step in range(60):
        descend(net, optimiser, step)
    assert loss(net, 0).item() < 0.3 * first
