"""Names of the operators of ``torch_npu`` that the extension registers."""

import functools

import torch

__all__ = ["names"]


@functools.cache
def names() -> frozenset[str]:
    """Returns the names in ``torch.ops.npu``, without overloads."""
    operators = torch._C._dispatch_get_all_op_names()
    ours = (name.removeprefix("npu::") for name in operators if name.startswith("npu::"))
    return frozenset(name.split(".")[0] for name in ours)
