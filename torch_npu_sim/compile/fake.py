"""Fake tensors: predictions of npu operators, where torch's for unknown devices are wrong.

Kernels on npu are the CPU's, so their results have the CPU's strides. torch predicts the layout of
a convolution per device, and knows no npu.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses import fake_impls
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.utils._pytree import tree_map_only

__all__ = ["install"]

_CONVOLUTIONS = (
    torch.ops.aten.convolution.default,
    torch.ops.aten._convolution.default,
    torch.ops.aten._convolution.deprecated,
    torch.ops.aten.convolution_backward.default,
)


def install() -> None:
    """Replaces torch's predictions. Called once, when fake tensors have been imported."""
    for operator in _CONVOLUTIONS:
        table = fake_impls.op_implementations_dict
        table[operator] = _as_on_the_cpu(table[operator])


def _as_on_the_cpu(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Predicts with the tensors taken as the CPU's, and gives the results their device again."""

    def predict_for_npu(mode: FakeTensorMode, operator: Any, *args: Any, **kwargs: Any) -> Any:
        devices: set[torch.device] = set()

        def to_cpu(tensor: FakeTensor) -> FakeTensor:
            devices.add(tensor.fake_device)
            return _on(mode, tensor, torch.device("cpu"))

        moved = tree_map_only(FakeTensor, to_cpu, (args, kwargs))
        if not devices or any(device.type != "npu" for device in devices):
            return predict(mode, operator, *args, **kwargs)
        (device,) = devices
        results = predict(mode, operator, *moved[0], **moved[1])
        return tree_map_only(FakeTensor, lambda tensor: _on(mode, tensor, device), results)

    return predict_for_npu


def _on(mode: FakeTensorMode, tensor: FakeTensor, device: torch.device) -> FakeTensor:
    """Returns a fake tensor of the same geometry on another device."""
    with in_kernel_invocation_manager(mode):
        meta = torch.empty_strided(
            tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta"
        )
    return FakeTensor(mode, meta, device)
