"""npu_fused_infer_attention_score in both forms against whole score matrices in fp64."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.infer_calls import (
    BOTH,
    HEADS,
    KV_HEADS,
    SCALE,
    TRIANGLE,
    WIDTH,
    assert_close,
    attended,
    call,
    operands,
)
from torch_npu_sim.testing.reference import infer_attention as reference

LAYOUTS = [
    *("BSH", "BSND", "BNSD", "BNSD_BSND", "BSH_BNSD", "BSND_BNSD"),
    *("BSH_NBSD", "BSND_NBSD", "BNSD_NBSD"),
]
FLAT_LAYOUTS = ["TND", "NTD", "TND_NTD", "NTD_TND"]


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_with_lengths(op: Any, layout: str) -> None:
    parts = operands(3, 5, 9, value=8)
    lengths = [(5, 9), (2, 4), (0, 0)]
    first, _, last = layout.partition("_")
    out, lse = call(
        op,
        *[reference.laid_out(x, first) for x in parts],
        input_layout=layout,
        actual_seq_lengths=[q for q, _ in lengths],
        actual_seq_lengths_kv=[k for _, k in lengths],
        softmax_lse_flag=True,
    )
    want, want_lse = attended(parts, lengths)
    assert_close(out, reference.laid_out(want, last or first))
    assert_close(lse, want_lse[..., None])


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("layout", FLAT_LAYOUTS)
def test_layouts_of_all_tokens_in_a_row(op: Any, layout: str) -> None:
    lengths = [(3, 7), (0, 2), (4, 5)]
    sequences = [operands(1, q, k) for q, k in lengths]
    parts = [torch.cat([s[i] for s in sequences], 2) for i in range(3)]
    first, _, last = layout.partition("_")
    sums = torch.tensor(lengths).cumsum(0)
    out, lse = call(
        op,
        *[reference.laid_out(x, first) for x in parts],
        input_layout=layout,
        actual_seq_lengths=sums[:, 0].tolist(),
        actual_seq_lengths_kv=sums[:, 1].tolist(),
        softmax_lse_flag=True,
    )
    results = [attended(s, [n]) for s, n in zip(sequences, lengths, strict=True)]
    want, want_lse = (torch.cat([r[i] for r in results], 2) for i in range(2))
    assert_close(out, reference.laid_out(want, last or first))
    assert_close(lse, want_lse[0].T[..., None])


def test_a_layout_without_batch() -> None:
    parts = operands(1, 3, 6)
    out, _ = call(BOTH[0], *[reference.laid_out(x, "NSD") for x in parts], input_layout="NSD")
    assert_close(out, attended(parts, [(3, 6)])[0][0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 700), (40, 600), (600, 3)])
def test_long_sequences_and_dtypes(queries: int, keys: int, dtype: torch.dtype) -> None:
    parts = operands(1, queries, keys, dtype)
    out, lse = call(BOTH[1], *parts, input_layout="BNSD")
    assert out.dtype == dtype
    assert lse.shape == (0,)
    assert_close(out, attended(parts, [(queries, keys)])[0], 0.02)


@pytest.mark.parametrize("mode", [2, 3, 4])
@pytest.mark.parametrize("lengths", [(6, 6), (4, 9), (9, 4)])
def test_masks_by_place(mode: int, lengths: tuple[int, int]) -> None:
    queries, keys = lengths
    parts = operands(1, queries, keys)
    out, lse = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        atten_mask=TRIANGLE,
        sparse_mode=mode,
        pre_tokens=2,
        next_tokens=1,
        softmax_lse_flag=True,
    )
    want, want_lse = attended(
        parts, [lengths], seen=lambda q, k: reference.visible(mode, q, k, 2, 1)
    )
    assert_close(out, want)
    assert_close(lse, want_lse[..., None])


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.uint8])
@pytest.mark.parametrize("shape", [(5, 9), (1, 5, 9), (2, 5, 9), (2, 1, 5, 9), (1, 1, 16, 32)])
def test_full_masks(mode: int, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    parts = operands(2, 5, 9)
    hidden = torch.rand(shape) < 0.4
    hidden[..., 2, :] = True  # a query that sees nothing
    out, _ = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        atten_mask=hidden.to(dtype),
        sparse_mode=mode,
        pre_tokens=3,
        next_tokens=4,
    )
    rows = hidden.reshape(-1, *shape[-2:])[:, :5, :9].expand(2, 5, 9)
    band = reference.visible(mode, 5, 9, 3, 4)
    for b in range(2):
        want, _ = reference.attend(
            parts[0][b], parts[1][b], parts[2][b], SCALE, seen=band & ~rows[b]
        )
        assert_close(out[b], want)


@pytest.mark.parametrize("shape", [(2, 9), (2, 1, 9), (2, 1, 1, 9), (1, 16)])
def test_masks_of_one_query(shape: tuple[int, ...]) -> None:
    parts = operands(2, 1, 9)
    hidden = torch.rand(shape) < 0.4
    out, _ = call(
        BOTH[0], *parts, input_layout="BNSD", atten_mask=hidden, pre_tokens=0, next_tokens=0
    )
    rows = hidden.reshape(-1, shape[-1])[:, :9].expand(2, 9)
    for b in range(2):
        want, _ = reference.attend(
            parts[0][b], parts[1][b], parts[2][b], SCALE, seen=~rows[b][None]
        )
        assert_close(out[b], want)


def test_one_query_ignores_sparse_mode() -> None:
    parts = operands(2, 1, 9)
    out, _ = call(BOTH[0], *parts, input_layout="BNSD", atten_mask=TRIANGLE, sparse_mode=2)
    assert_close(out, attended(parts, [(1, 9)] * 2)[0])


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("form", ["BBH", "BNBD", "NZ"])
@pytest.mark.parametrize("layout", ["BNSD", "BSH", "TND"])
def test_pages(op: Any, layout: str, form: str) -> None:
    lengths = [(2, 40), (2, 16), (2, 3)]
    query, _, _ = operands(3, 2, 1)
    keys = [operands(1, 1, k)[1][0] for _, k in lengths]
    values = [operands(1, 1, k)[2][0] for _, k in lengths]
    table = torch.randperm(12).view(3, 4).int()
    table[1, 1:] = 99  # blocks beyond a sequence's length are not looked at
    caches = [reference.paged(x, table, 16, 12, form) for x in (keys, values)]
    flat = layout == "TND"
    laid = query.transpose(1, 2).flatten(0, 1) if flat else reference.laid_out(query, layout)
    out, _ = call(
        op,
        laid,
        *caches,
        input_layout=layout,
        block_table=table,
        block_size=16,
        actual_seq_lengths=[2, 4, 6] if flat else [2],
        actual_seq_lengths_kv=[k for _, k in lengths],
        atten_mask=TRIANGLE,
        sparse_mode=3,
    )
    rows = []
    for b, (q, k) in enumerate(lengths):
        seen = reference.visible(3, q, k, 0, 0)
        rows.append(reference.attend(query[b], keys[b], values[b], SCALE, seen=seen)[0])
    want = torch.stack(rows)
    if flat:
        assert_close(out, want.transpose(1, 2).flatten(0, 1))
    else:
        assert_close(out, reference.laid_out(want, layout))


def test_blocks_may_lie_apart() -> None:
    query, key, _ = operands(1, 1, 20)
    table = torch.tensor([[2, 0]]).int()
    pages = reference.paged([key[0]], table, 16, 3, "BNBD")
    layers = torch.stack((torch.full_like(pages, torch.nan), pages), 1).npu()
    out, _ = torch_npu_sim.npu_fused_infer_attention_score(
        query.npu(),
        layers[:, 1],
        layers[:, 1],
        num_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        scale=SCALE,
        input_layout="BNSD",
        block_table=table.npu(),
        actual_seq_lengths_kv=[20],
    )
    assert_close(out, attended((query, key, key), [(1, 20)])[0])


@pytest.mark.parametrize("form", ["dense", "BBH", "BNBD", "NZ"])
def test_latent_attention(form: str) -> None:
    width, rope, keys = 64, 16, 37
    query, key = torch.randn(2, 8, 3, width).bfloat16(), torch.randn(2, 1, keys, width).bfloat16()
    query_rope = torch.randn(2, 8, 3, rope).bfloat16()
    key_rope = torch.randn(2, 1, keys, rope).bfloat16()
    kwargs: dict[str, Any] = {"query_rope": query_rope, "key_rope": key_rope}
    latent = key
    if form != "dense":
        table = torch.randperm(6).view(2, 3).int()
        latent = reference.paged(list(key), table, 16, 6, form)
        kwargs |= {
            "key_rope": reference.paged(list(key_rope), table, 16, 6, form),
            "block_table": table,
            "actual_seq_lengths_kv": [keys, keys],
        }
    card = on_npu(latent)
    out, _ = torch_npu_sim.npu_fused_infer_attention_score(
        query.npu(),
        card,
        card,
        num_heads=8,
        num_key_value_heads=1,
        input_layout="BNSD",
        scale=SCALE,
        atten_mask=TRIANGLE.npu(),
        sparse_mode=3,
        **on_npu(kwargs),
    )
    for b in range(2):
        want, _ = reference.attend(
            torch.cat((query[b], query_rope[b]), -1),
            torch.cat((key[b], key_rope[b]), -1),
            key[b],
            SCALE,
            seen=reference.visible(3, 3, keys, 0, 0),
        )
        assert_close(out[b], want, 0.02)


def test_sinks_take_a_share_of_the_weights() -> None:
    parts, sinks = operands(1, 3, 7, torch.bfloat16), torch.randn(HEADS).bfloat16()
    out, lse = call(
        BOTH[1], *parts, input_layout="BNSD", learnable_sink=sinks, softmax_lse_flag=True
    )
    want, want_lse = reference.attend(*[x[0] for x in parts], SCALE, sinks=sinks)
    assert_close(out[0], want, 0.02)
    assert_close(lse[0, ..., 0], want_lse, 0.02)


@pytest.mark.parametrize("shape", [(2, HEADS, 3, 7), (1, HEADS, 8, 16)])
def test_pse_shift_is_added_to_the_scores(shape: tuple[int, ...]) -> None:
    parts, bias = operands(2, 3, 7), torch.randn(shape).half()
    out, _ = call(BOTH[0], *parts, input_layout="BNSD", pse_shift=bias)
    for b in range(2):
        rows = bias[b % shape[0], :, :3, :7]
        want, _ = reference.attend(*[x[b] for x in parts], SCALE, bias=rows)
        assert_close(out[b], want)


def test_padding_on_the_left() -> None:
    parts, hidden = operands(2, 6, 9), torch.rand(6, 9) < 0.3
    out, _ = call(
        BOTH[0],
        *parts,
        input_layout="BNSD",
        actual_seq_lengths=[3, 6],
        actual_seq_lengths_kv=[4, 7],
        query_padding_size=torch.tensor([1]),
        kv_padding_size=torch.tensor([2]),
        atten_mask=hidden,
    )
    # The first sequence: queries 2 to 4 and keys 3 to 6; the second one would begin before 0.
    want = torch.zeros(2, HEADS, 6, WIDTH, dtype=torch.float64)
    want[0, :, 2:5], _ = reference.attend(
        parts[0][0, :, 2:5], *[x[0, :, 3:7] for x in parts[1:]], SCALE, seen=~hidden[2:5, 3:7]
    )
    assert_close(out, want)


@pytest.mark.parametrize("length", [None, 3])
def test_a_shared_prefix_stands_before_the_keys(length: int | None) -> None:
    parts, (_, key_prefix, value_prefix) = operands(2, 3, 7), operands(1, 1, 5)
    out, _ = call(
        BOTH[0],
        *[reference.laid_out(x, "BSND") for x in parts],
        input_layout="BSND",
        key_shared_prefix=reference.laid_out(key_prefix, "BSND"),
        value_shared_prefix=reference.laid_out(value_prefix, "BSND"),
        actual_shared_prefix_len=None if length is None else [length],
        actual_seq_lengths_kv=[7, 4],
    )
    for b, k in enumerate((7, 4)):
        key = torch.cat((key_prefix[0, :, :length], parts[1][b, :, :k]), 1)
        value = torch.cat((value_prefix[0, :, :length], parts[2][b, :, :k]), 1)
        want, _ = reference.attend(parts[0][b], key, value, SCALE)
        assert_close(out[b].cpu().transpose(0, 1), want)
