"""The optimiser of both networks of the embedded backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anamodiff.lofnet.training.muon import MuonAdamW

ENDS = ("conv_in", "conv_out", "quant_conv", "embedding")


def new_optimiser(modules: list[nn.Module], lr: float) -> MuonAdamW:
    """An optimiser of the trainable parameters of `modules`."""
    named = [(n, p) for module in modules for n, p in module.named_parameters() if p.requires_grad]
    return MuonAdamW([{"params": named}], lr=lr, ends=ENDS, weight_decay=0.01)


def descend(optimiser: MuonAdamW, loss: Tensor, lr: float) -> None:
    """One update at rate `lr`, with the gradient clipped to norm 1."""
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.zero_grad()
    loss.backward()
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
