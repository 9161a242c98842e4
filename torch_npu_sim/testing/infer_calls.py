"""Calls of inference attention that several test files make, and what they must answer."""

from typing import Any

import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import infer_attention as reference

__all__ = [
    "BOTH",
    "HEADS",
    "KV_HEADS",
    "RENAMED",
    "SCALE",
    "TRIANGLE",
    "WIDTH",
    "assert_close",
    "attended",
    "call",
    "operands",
]

HEADS, KV_HEADS, WIDTH, SCALE = 4, 2, 16, 0.25
BOTH = [
    torch_npu_sim.npu_fused_infer_attention_score,
    torch_npu_sim.npu_fused_infer_attention_score_v2,
]
# The second form's names of the first one's arguments.
RENAMED = {
    "num_heads": "num_query_heads",
    "scale": "softmax_scale",
    "actual_seq_lengths": "actual_seq_qlen",
    "actual_seq_lengths_kv": "actual_seq_kvlen",
    "key_antiquant_scale": "dequant_scale_key",
    "key_antiquant_offset": "dequant_offset_key",
    "key_antiquant_mode": "key_quant_mode",
    "value_antiquant_scale": "dequant_scale_value",
    "value_antiquant_offset": "dequant_offset_value",
    "value_antiquant_mode": "value_quant_mode",
    "quant_scale2": "quant_scale_out",
    "quant_offset2": "quant_offset_out",
    "softmax_lse_flag": "return_softmax_lse",
}
TRIANGLE = torch.ones(2048, 2048).bool().triu(1)


def call(op: Any, *tensors: torch.Tensor, **kwargs: Any) -> Any:
    """Calls `op` on the card by the first form's names; heads and scale are given."""
    kwargs = {"num_heads": HEADS, "num_key_value_heads": KV_HEADS, "scale": SCALE} | kwargs
    if op is not BOTH[0]:
        kwargs = {RENAMED.get(k, k): v for k, v in kwargs.items()}
    return op(*on_npu(tensors), **on_npu(kwargs))


def operands(
    batch: int, queries: int, keys: int, dtype: torch.dtype = torch.float16, value: int = WIDTH
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns query, key and value, [batch, heads, tokens, width]."""
    return (
        torch.randn(batch, HEADS, queries, WIDTH).to(dtype),
        torch.randn(batch, KV_HEADS, keys, WIDTH).to(dtype),
        torch.randn(batch, KV_HEADS, keys, value).to(dtype),
    )


def assert_close(got: torch.Tensor, want: torch.Tensor, tolerance: float = 0.01) -> None:
    """Same shape, and values within a tolerance of both kinds."""
    assert got.shape == want.shape
    torch.testing.assert_close(got.cpu().double(), want.double(), rtol=tolerance, atol=tolerance)


def attended(
    parts: tuple[torch.Tensor, ...], lengths: list[tuple[int, int]], **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attends sequence by sequence; rows behind a sequence's queries are 0, and infinity in lse."""
    query, key, value = parts
    out = torch.zeros(*query.shape[:3], value.shape[-1], dtype=torch.float64)
    lse = torch.full(query.shape[:3], torch.inf, dtype=torch.float64)
    for b, (q, k) in enumerate(lengths):
        seen = kwargs["seen"](q, k) if "seen" in kwargs else None
        out[b, :, :q], lse[b, :, :q] = reference.attend(
            query[b, :, :q], key[b, :, :k], value[b, :, :k], SCALE, seen=seen
        )
    return out, lse
