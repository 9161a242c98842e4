"""Fused pieces of attention, and index tricks that are faster on old cards."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = [
    "fuse_add_softmax_dropout",
    "matmul_transpose",
    "npu_fast_condition_index_put",
    "npu_fused_attention",
    "npu_fused_attention_with_layernorm",
    "roll",
]


def matmul_transpose(tensor1: torch.Tensor, tensor2: torch.Tensor) -> torch.Tensor:
    """Returns `tensor1 @ tensor2.transpose(-2, -1)`."""
    return torch.matmul(tensor1, tensor2.transpose(-2, -1))


def roll(x: torch.Tensor, shifts: Sequence[int], dims: Sequence[int]) -> torch.Tensor:
    """Returns torch.roll of `x` [n, h, w, c] over h and w.

    Raises:
        ValueError: `x` has not four axes, or `shifts` or `dims` not two numbers.
    """
    if x.dim() != 4 or len(shifts) != 2 or len(dims) != 2:
        raise ValueError(
            "roll: expected x of 4 axes, 2 shifts and 2 dims, "
            f"got {x.dim()} axes, {len(shifts)} shifts and {len(dims)} dims"
        )
    return torch.roll(x, tuple(shifts), tuple(dims))


def npu_fast_condition_index_put(
    x: torch.Tensor, condition: torch.Tensor, value: float
) -> torch.Tensor:
    """Returns `x` with `value` where `condition` is true; `x` itself is not changed.

    Raises:
        TypeError: `condition` is no bool tensor.
    """
    if condition.dtype != torch.bool:
        raise TypeError(
            f"npu_fast_condition_index_put: expected condition of bool, got {condition.dtype}"
        )
    return torch.where(condition, torch.full_like(x, value), x)


def fuse_add_softmax_dropout(
    training: bool,
    dropout: Callable[[torch.Tensor], torch.Tensor],
    attn_mask: torch.Tensor,
    attn_scores: torch.Tensor,
    attn_head_size: float,
    p: float = 0.5,
    dim: int = -1,
) -> torch.Tensor:
    """Returns `dropout(softmax(attn_mask + attn_scores / sqrt(attn_head_size)))`.

    Older cards have one kernel for it at some sizes; an Ascend 950 runs the pieces.
    """
    del training, p, dim  # of that kernel
    scores = torch.add(attn_mask, attn_scores, alpha=1 / math.sqrt(attn_head_size))
    return dropout(torch.softmax(scores, -1))


def npu_fused_attention(*args: Any, **kwargs: Any) -> Any:
    """Calls the operator that older cards have: on an Ascend 950 it raises, as there."""
    return torch.ops.npu.npu_fused_attention_score_fwd(*args, **kwargs)


def npu_fused_attention_with_layernorm(*args: Any, **kwargs: Any) -> Any:
    """Calls the operator that older cards have: on an Ascend 950 it raises, as there."""
    return torch.ops.npu.npu_fused_attention_layernorm_qkv_fwd(*args, **kwargs)
