"""Training attention against torch's own fused attention on the CPU, one thread."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import torch_npu_sim

# Above 1 only for what other load on the machine adds to the fastest of the rounds.
LIMIT = 1.1
CASES = {
    "float32": (1, 4, 4, 1024, 64, torch.float32, False),
    "float32 wide causal": (1, 4, 4, 1024, 128, torch.float32, True),
    "bfloat16 causal": (1, 4, 4, 1024, 128, torch.bfloat16, True),
    "float16 grouped": (2, 8, 2, 512, 128, torch.float16, False),
}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_attention_is_no_slower_than_torchs(
    name: str, backward: bool, measure: Callable[..., Any]
) -> None:
    batch, heads, key_heads, length, width, dtype, causal = CASES[name]
    shapes = [(batch, h, length, width) for h in (heads, key_heads, key_heads)]
    on_cpu = [torch.randn(s).to(dtype).requires_grad_(backward) for s in shapes]
    on_npu = [x.detach().npu().requires_grad_(backward) for x in on_cpu]
    mask = torch.triu(torch.ones(2048, 2048, dtype=torch.bool), 1).npu() if causal else None

    def cpu() -> None:
        out = scaled_dot_product_attention(
            *on_cpu, is_causal=causal, scale=0.1, enable_gqa=heads != key_heads
        )
        if backward:
            out.backward(out.detach())

    def npu() -> None:
        out = torch_npu_sim.npu_fusion_attention(
            *on_npu, heads, "BNSD", scale=0.1, atten_mask=mask, sparse_mode=3 if causal else 0
        )[0]
        if backward:
            out.backward(out.detach())

    title = f"{name}{' with gradient' if backward else ''}"
    assert measure(title, cpu, npu, calls=2, rounds=5).ratio <= LIMIT
