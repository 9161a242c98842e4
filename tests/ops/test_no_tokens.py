"""Calls without tokens: caches stay as they were, results are empty."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu

NONE = torch.zeros(0).long()


def half(*shape: int) -> torch.Tensor:
    return torch.ones(shape).half()


def int8(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.int8)


CALLS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "npu_kv_rmsnorm_rope_cache": (
        [
            half(2, 1, 0, 24),
            half(16),
            half(2, 1, 0, 8),
            half(2, 1, 0, 8),
            NONE,
            half(2, 16, 1, 8),
            half(2, 16, 1, 16),
        ],
        {"cache_mode": "PA"},
    ),
    "npu_scatter_pa_kv_cache": (
        [half(0, 2, 16), half(0, 2, 16), half(2, 16, 2, 16), half(2, 16, 2, 16), NONE],
        {"cache_mode": "Norm"},
    ),
    "npu_gather_pa_kv_cache": (
        [
            half(2, 16, 2, 16),
            half(2, 16, 2, 16),
            torch.zeros(0, 2).int(),
            NONE,
            half(0, 2, 16),
            half(0, 2, 16),
        ],
        {},
    ),
    "npu_mrope": ([NONE, half(0, 8), half(0, 8), half(4, 8), 8], {}),
    "npu_rope_quant_kvcache": (
        [
            half(0, 1, 24),
            half(0, 1, 1, 8),
            half(0, 1, 1, 8),
            int8(0, 4, 1, 8),
            int8(0, 4, 1, 8),
            NONE,
            torch.ones(8),
            torch.ones(8),
            [8, 8, 8],
        ],
        {},
    ),
    "npu_qkv_rms_norm_rope_cache": (
        [
            half(0, 48),
            half(16),
            half(16),
            half(0, 16),
            half(0, 16),
            NONE,
            half(0, 16),
            half(2, 1, 16, 16),
            half(2, 1, 16, 16),
            [0, 1, 3, 16],
            [1, 1, 1],
        ],
        {},
    ),
    "npu_advance_step_flashattn": (
        [NONE, NONE, NONE, NONE, NONE, torch.zeros(0, 4).long(), 0, 0, 8],
        {},
    ),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_no_tokens_change_nothing(name: str) -> None:
    args, kwargs = CALLS[name]
    cards = on_npu(args)
    getattr(torch_npu_sim, name)(*cards, **kwargs)
    for card, given in zip(cards, args, strict=True):
        if isinstance(given, torch.Tensor):
            assert torch.equal(card.cpu(), given)
