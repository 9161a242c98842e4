"""Operators that the extension registers: those of ``torch_npu``, and on demand further ones."""

import functools

import torch

from torch_npu_sim import _C

__all__ = ["enable_custom_ops", "names"]


@functools.cache
def names() -> frozenset[str]:
    """Returns the names in ``torch.ops.npu``, without overloads."""
    operators = torch._C._dispatch_get_all_op_names()
    ours = (name.removeprefix("npu::") for name in operators if name.startswith("npu::"))
    return frozenset(name.split(".")[0] for name in ours)


def enable_custom_ops() -> None:
    """Makes ``torch.ops.custom`` and ``torch.ops.cann_ops_transformer``.

    They are the operators that clients of DeepSeek-V4 get from packages besides ``torch_npu``
    (``custom_ops`` of cann-recipes-infer, ``cann_ops_transformer``); neither exists before. A
    further call does nothing.

    Example::

        torch_npu_sim.enable_custom_ops()
        y, post, comb = torch.ops.custom.npu_hc_pre(x, fn, scale, base)
    """
    _C.enable_custom_ops()
