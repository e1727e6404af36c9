"""A CUDA device that is not there: its tensors have shapes and types, but no numbers.

Operations that a GPU would refuse fail as there: tensors of two devices in one operation. So does
what would make the CPU wait for a GPU: reading a number, copying to main memory, and copying to the
GPU from memory that is not pinned.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)


class Waits(AssertionError):
    """The CPU would wait for the GPU."""


class FakeCuda(TorchDispatchMode):
    """Computes CPU tensors, and only the shapes of CUDA tensors.

    Inside `without_waiting`, copies in either direction must be asynchronous. Inside `recording`,
    nothing may come from the CPU's tensors at all: a CUDA graph would keep what they contain now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strict = self.recorded = False
        self.pinned: set[int] = set()
        self.operations = 0

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        self.strict = True
        try:
            yield
        finally:
            self.strict = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        self.recorded = True
        try:
            with self.without_waiting():
                yield
        finally:
            self.recorded = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        on_cuda = any(isinstance(leaf, FakeTensor) for leaf in leaves)
        target = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
        if not on_cuda and (target is None or target.type != "cuda"):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        self.operations += 1
        if self.recorded and (
            (target is not None and target.type == "cpu")
            or any(isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor) for leaf in leaves)
        ):
            raise Waits(f"{func} takes or makes a tensor of the CPU")
        if func is torch.ops.aten._local_scalar_dense.default:
            if self.strict:
                raise Waits("a number of the GPU is read")
            return 1.0 if args[0].is_floating_point() else 1
        if target is not None and target.type == "cpu":
            if self.strict and not kwargs.get("non_blocking"):
                raise Waits("a tensor is copied from the GPU")
            with unset_fake_temporarily():
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if self.strict and func is torch.ops.aten._to_copy.default and not on_cuda:
            self._check_upload(args[0], kwargs)
        fakes = [isinstance(tensor, FakeTensor) for tensor in args[:2]]
        if self.strict and func is torch.ops.aten.copy_.default and not all(fakes):
            raise Waits("a tensor is copied between CPU and GPU")
        return func(*args, **kwargs)

    def _check_upload(self, tensor: Tensor, kwargs: dict[str, Any]) -> None:
        if not kwargs.get("non_blocking") or id(tensor) not in self.pinned:
            raise Waits(
                f"{tuple(tensor.shape)} are copied to the GPU from memory that is not pinned"
            )


class Event:
    """Stands for `torch.cuda.Event`."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


def _apply(module: nn.Module, change: Callable[[Tensor], Tensor], *_: Any) -> nn.Module:
    """`nn.Module._apply`, which cannot change fake parameters in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                new = change(parameter.detach())
                part._parameters[name] = nn.Parameter(new, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = change(buffer)
    return module


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """Let the device `cuda` be a fake one."""
    mode = FakeCuda()

    def pin(tensor: Tensor) -> Tensor:
        mode.pinned.add(id(tensor))
        mode.kept.append(tensor)  # its id stays its own
        return tensor

    mode.kept: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(nn.Module, "_apply", _apply)
    # cuDNN's sampling of grids has no fake version.
    with (
        torch.backends.cudnn.flags(enabled=False),
        FakeTensorMode(allow_non_fake_inputs=True),
        mode,
    ):
        yield mode
