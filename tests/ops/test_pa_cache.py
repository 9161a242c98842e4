"""Scatter into and gather out of paged caches, against loops over tokens."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import cache as reference

HEADS, WIDTH, BLOCKS, TOKENS = 2, 32, 3, 16


def tokens(count: int, dtype: torch.dtype, width: int = WIDTH) -> torch.Tensor:
    return torch.randint(-9, 9, (count, HEADS, width)).to(dtype)


def slots(count: int) -> torch.Tensor:
    return torch.randperm(BLOCKS * TOKENS)[:count].int()


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8, torch.float32])
@pytest.mark.parametrize("mode", [None, "Norm"])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_rows_go_to_their_slots(count: int, mode: str | None, dtype: torch.dtype) -> None:
    key, value = tokens(count, dtype), tokens(count, dtype, 48)
    caches = (
        torch.ones(BLOCKS, TOKENS, HEADS, WIDTH, dtype=dtype),
        torch.ones(BLOCKS, TOKENS, HEADS, 48, dtype=dtype),
    )
    where = slots(count)
    where[:1] = -1
    cards = on_npu(caches)
    torch_npu_sim.npu_scatter_pa_kv_cache(
        *on_npu((key, value)), *cards, where.npu(), cache_mode=mode
    )
    for card, cache, rows in zip(cards, caches, (key, value), strict=True):
        assert_equal(card, reference.put(cache, rows, where.tolist()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_layout_nz_keeps_pieces_of_a_row_apart(dtype: torch.dtype) -> None:
    piece = 32 // dtype.itemsize
    key, value = tokens(7, dtype), tokens(7, dtype, 64)
    caches = (
        torch.zeros(BLOCKS, HEADS * WIDTH // piece, TOKENS, piece, dtype=dtype),
        torch.zeros(BLOCKS, HEADS * 64 // piece, TOKENS, piece, dtype=dtype),
    )
    where, args = slots(7), (key, value, *caches)
    got = torch_npu_sim.npu_scatter_pa_kv_cache_functional(*on_npu(args), where.npu())
    for card, cache, rows in zip(got, caches, (key, value), strict=True):
        assert_equal(card, reference.put_fractal(cache, rows, where.tolist(), TOKENS, piece))
    assert_meta_agrees(torch.ops.npu.npu_scatter_pa_kv_cache_functional, *args, where)


def test_scatter_into_one_layer_of_a_cache_leaves_the_others() -> None:
    whole = torch.zeros(BLOCKS, 2, TOKENS, HEADS, WIDTH, device="npu")
    layer = whole[:, 1]
    key, where = tokens(5, torch.float32), slots(5)
    out = torch_npu_sim.npu_scatter_pa_cache(key.npu(), where.npu(), key_cache=layer)
    assert out.data_ptr() == layer.data_ptr()
    want = reference.put(torch.zeros(BLOCKS, TOKENS, HEADS, WIDTH), key, where.tolist())
    assert_equal(whole[:, 1], want)
    assert not whole[:, 0].any()


def test_scatter_and_gather_are_inverse() -> None:
    lengths, table = [20, 0, 9], torch.tensor([[2, 0], [1, 1], [1, 0]]).int()
    key, value = (torch.randn(29, HEADS, WIDTH) for _ in range(2))
    caches = [torch.zeros(BLOCKS, TOKENS, HEADS, WIDTH) for _ in range(2)]
    where = [
        int(table[s, j // TOKENS]) * TOKENS + j % TOKENS
        for s, n in enumerate(lengths)
        for j in range(n)
    ]
    caches = [reference.put(c, x, where) for c, x in zip(caches, (key, value), strict=True)]
    seq_lens = torch.tensor(lengths).int()
    got = torch_npu_sim.npu_gather_pa_kv_cache_functional(
        *on_npu((*caches, table, seq_lens, torch.zeros_like(key), torch.zeros_like(value)))
    )
    for card, want in zip(got, (key, value), strict=True):
        assert_equal(card, want)


@pytest.mark.parametrize("fractal", [True, False])
def test_gather_counts_from_running_sums_and_whole_blocks_of_offset(fractal: bool) -> None:
    cache = torch.randn(BLOCKS, TOKENS, HEADS, WIDTH)
    stored = cache.view(BLOCKS, TOKENS, -1, 8).transpose(1, 2).contiguous() if fractal else cache
    table = torch.tensor([[0, 2, 1]]).int()
    out = [torch.full((22, HEADS, WIDTH), 7.0).npu() for _ in range(2)]
    torch_npu_sim.npu_gather_pa_kv_cache(
        *on_npu((stored, stored, table, torch.tensor([0, 20]).int())),
        *out,
        seq_offset=torch.tensor([TOKENS]).int().npu(),
        is_seq_lens_cumsum=True,
    )
    want = torch.cat((cache[2], cache[1][:4], torch.full((2, HEADS, WIDTH), 7.0)))
    assert_equal(out[0], want)
    assert_equal(out[1], want)


def test_tokens_of_a_block_that_does_not_exist_are_zero() -> None:
    cache = torch.ones(BLOCKS, TOKENS, HEADS, WIDTH)
    out = [torch.full((2 * TOKENS, HEADS, WIDTH), 7.0).npu() for _ in range(2)]
    torch_npu_sim.npu_gather_pa_kv_cache(
        *on_npu((cache, cache, torch.tensor([[-1]]).int(), torch.tensor([2 * TOKENS]).int())), *out
    )
    assert not out[0].any()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"slot_mapping": torch.tensor([0, 48]).int()}, IndexError, "slot_mapping below 48"),
        ({"slot_mapping": torch.tensor([0]).int()}, ValueError, r"slot_mapping of \[2\]"),
        ({"key": torch.ones(2, HEADS, 8)}, ValueError, "expected key of 256 bytes a token"),
        ({"key": torch.ones(2, HEADS, WIDTH).half()}, TypeError, "key of its cache's Float"),
        ({"cache_mode": "NZ"}, ValueError, "expected cache_mode None, 'Norm' or 'PA_NZ'"),
        ({"seq_lens": torch.ones(2).int()}, NotImplementedError, "compress_lens"),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments = {
        "key": torch.ones(2, HEADS, WIDTH),
        "value": torch.ones(2, HEADS, WIDTH),
        "key_cache": torch.ones(BLOCKS, TOKENS, HEADS, WIDTH),
        "value_cache": torch.ones(BLOCKS, TOKENS, HEADS, WIDTH),
        "slot_mapping": torch.tensor([0, 1]).int(),
        "cache_mode": "Norm",
    }
    with pytest.raises(error, match=f"npu_scatter_pa_kv_cache: .*{text}"):
        torch_npu_sim.npu_scatter_pa_kv_cache(**on_npu(arguments | change))
