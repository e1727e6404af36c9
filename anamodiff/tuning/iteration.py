"""An iteration of tuning: forward pass, backward pass and Adam, also as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from anamodiff.cuda_graph import GraphedCall
from anamodiff.options import TuningOptions
from anamodiff.tuning.loss import DisentangledLoss, Pass, pass_errors, sum_errors
from anamodiff.tuning.optimiser import MasterWeights
from anamodiff.unet3d.model import UNet3D

Iterate = Callable[[Sequence[Pass]], DisentangledLoss]
GRAPH_ITERATIONS = 20  # that recording needs to pay


def make_iteration(
    unet: UNet3D,
    weights: MasterWeights,
    embedding: Tensor,
    options: TuningOptions,
    *,
    clip_weights: Sequence[float],
    left: int,
) -> Iterate:
    """A function that updates the weights by an iteration's passes and returns its loss.

    What is random lies in the passes, which are drawn outside: a replayed iteration computes what
    one launched kernel by kernel does. The next iteration may write over the loss.

    Args:
        unet, weights: what is trained.
        embedding: the prompt's, 1 n d.
        options: `cuda_graph`, see `wants_graph`.
        clip_weights: of each clip's loss.
        left: number of iterations.
    """

    def iterate(*tensors: Tensor) -> DisentangledLoss:
        weights.clear_gradients()  # of a recording that failed
        parts = len(Pass._fields)
        passes = [Pass(*tensors[i : i + parts]) for i in range(0, len(tensors), parts)]
        errors = pass_errors(unet, passes, embedding, clip_weights, weights.backward)
        weights.step()
        return sum_errors(clip_weights, errors)

    call: Callable[..., DisentangledLoss] = iterate
    if wants_graph(unet, options, left):
        call = GraphedCall(iterate, unet.device, "tuning")
    return lambda passes: call(*(tensor for each in passes for tensor in each))


def wants_graph(unet: UNet3D, options: TuningOptions, left: int) -> bool:
    """Whether an iteration is to be recorded as a CUDA graph.

    Never in fp16, where the host follows the gradients' scale. By itself only without gradient
    checkpointing, which is for cards whose kernels take longer than their launches.
    """
    if unet.device.type != "cuda" or unet.dtype == torch.float16:
        return False
    if options.cuda_graph is not None:
        return options.cuda_graph
    return left >= GRAPH_ITERATIONS and options.checkpoint_levels == "none"
