"""The UNet's predictions for all steps of a stage, launched kernel by kernel or as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anamodiff.cuda_graph import GraphedCall

#: The prediction for latents at a timestep.
Predict = Callable[[Tensor, int], Tensor]
# Recording takes as long as a few steps.
GRAPH_STEPS = 10


def for_all_steps(
    predict: Callable[[Tensor, int | Tensor], Tensor],
    device: torch.device,
    steps: int,
    *,
    cuda_graph: bool | None,
    stage: str,
) -> Predict:
    """A prediction for so many calls with latents of one shape; each writes over the last's.

    Args:
        predict: of latents and a timestep, a number or 0-d.
        cuda_graph: replay it as a CUDA graph; None does so on CUDA devices, from `GRAPH_STEPS`
            steps on.
        stage: for the line that says where that failed.
    """
    if cuda_graph is None:
        cuda_graph = device.type == "cuda" and steps >= GRAPH_STEPS
    if not cuda_graph:
        return predict
    call = GraphedCall(predict, device, stage)
    # Filled on the device: a copy would wait for it.
    return lambda latents, t: call(latents, torch.full((), t, device=device))
