"""Attention over packed quantised keys against unpacking them first."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import mla, sparse

HEADS, LATENT, ROPE, TILE, SCALE = 4, 256, 64, 128, 0.1


def packed(keys: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns packed keys [keys, 1, bytes] and their values [keys, LATENT + ROPE]."""
    latent, rope = torch.randn(keys, LATENT // TILE, TILE), torch.randn(keys, ROPE).bfloat16()
    codes, scales = mla.quantise_rows(latent, dtype)
    parts = codes.flatten(1), rope, scales.flatten(1).contiguous()
    rows = torch.cat([p.contiguous().view(torch.uint8) for p in parts], -1)
    values = mla.expand(codes.flatten(1), scales.flatten(1), TILE).bfloat16()
    return rows.view(dtype).unsqueeze(1), torch.cat((values, rope), -1)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
@pytest.mark.parametrize("layout", ["BSND", "TND", "PA_BSND"])
def test_keys_are_unpacked_and_attended_to(layout: str, dtype: torch.dtype) -> None:
    query = torch.randn(3, HEADS, LATENT + ROPE).bfloat16()
    key, values = packed(20, dtype)
    indices = torch.full((3, 1, 12), -1).int()
    for row in indices:
        row[0, :8] = torch.randperm(20)[:8]
    want = torch.stack(
        [
            sparse.attend_selected(
                query[i],
                values,
                values[:, :LATENT],
                sparse.selected(indices[i, 0], 1, sparse.causal_limit(3, 20, 3, i)),
                SCALE,
            )
            for i in range(3)
        ]
    )
    kwargs = {"attention_mode": 2, "layout_query": layout, "layout_kv": layout}
    args = [query, key, key, indices]
    if layout == "BSND":
        args = [a[None] for a in args]
    else:
        kwargs |= {
            "actual_seq_lengths_query": torch.tensor([3]).int(),
            "actual_seq_lengths_kv": torch.tensor([20]).int(),
            "layout_query": "TND",
        }
    if layout == "PA_BSND":
        pages = sparse.paged(key.view(torch.uint8), 16, [2, 0], 3).view(dtype)
        args[1] = args[2] = pages
        kwargs["block_table"] = torch.tensor([[2, 0]]).int()
    out = torch_npu_sim.npu_kv_quant_sparse_flash_attention(
        *on_npu(args), SCALE, 2, 2, **on_npu(kwargs)
    )
    torch.testing.assert_close(out.cpu().float().view(want.shape), want, rtol=1e-2, atol=1e-2)
    assert_meta_agrees(
        torch.ops.npu.npu_kv_quant_sparse_flash_attention, *args, SCALE, 2, 2, **kwargs
    )


def test_keys_of_another_packing_are_named() -> None:
    query = torch.ones(1, 1, HEADS, LATENT + ROPE).bfloat16()
    key = torch.zeros(1, 4, 1, 300, dtype=torch.int8)
    with pytest.raises(ValueError, match="expected key of 392 bytes a token"):
        torch_npu_sim.npu_kv_quant_sparse_flash_attention(
            *on_npu((query, key, key, torch.zeros(1, 1, 1, 1).int())),
            SCALE,
            2,
            2,
            attention_mode=2,
        )
