"""Compares operators on npu with references on the CPU."""

from typing import Any

import torch
from torch.utils._pytree import tree_map

__all__ = ["assert_equal", "assert_meta_agrees", "on_npu"]

# Largest difference, relative and absolute, that one rounding to the dtype explains.
_ROUNDING = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-5, torch.float64: 1e-10}


def on_npu(tree: Any) -> Any:
    """Moves every tensor of a tree to npu:0 and keeps requires_grad."""

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return leaf.detach().to("npu:0").requires_grad_(leaf.requires_grad)

    return tree_map(move, tree)


def assert_equal(npu: torch.Tensor, reference: torch.Tensor) -> None:
    """Same shape and dtype, and values within one rounding of the dtype."""
    assert npu.device.type == "npu"
    assert (npu.shape, npu.dtype) == (reference.shape, reference.dtype)
    tolerance = _ROUNDING.get(reference.dtype, 0.0)
    torch.testing.assert_close(npu.detach().cpu(), reference, rtol=tolerance, atol=tolerance)


def assert_meta_agrees(op: Any, *args: Any, **kwargs: Any) -> None:
    """The Meta kernel answers the shapes and dtypes of the real call."""
    real = op(*on_npu(args), **on_npu(kwargs))
    meta = op(*tree_map(_to_meta, args), **tree_map(_to_meta, kwargs))
    reals = real if isinstance(real, (tuple, list)) else (real,)
    metas = meta if isinstance(meta, (tuple, list)) else (meta,)
    assert [(x.shape, x.dtype) for x in reals] == [(x.shape, x.dtype) for x in metas]


def _to_meta(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf
