"""Generated calls of the extension: right values, or an error that names the operator."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.reference import extension
from torch_npu_sim.testing.reference.sparse import paged

torch_npu_sim.enable_custom_ops()
ops = torch.ops.custom

BF16, E4M3 = torch.bfloat16, torch.float8_e4m3fn
REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError)
BLOCK = 8


def answer(name: str, *arguments: Any, **options: Any) -> Any:
    """The result, or None for a refusal that names the operator."""

    def moved(value: Any) -> Any:
        return value.npu() if isinstance(value, torch.Tensor) and not value.is_meta else value

    try:
        return getattr(ops, name)(
            *map(moved, arguments), **{k: moved(v) for k, v in options.items()}
        )
    except REFUSALS as error:
        assert name in str(error), error
        return None


def ints(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def floats(shape: tuple[int, ...], seed: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


LENGTHS = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 60)), min_size=1, max_size=3)


@settings(max_examples=120, deadline=None)
@given(
    LENGTHS,
    st.sampled_from([(0, 0), (1, 0), (4, 0), (4, 6), (128, 0), (8, 0), (4, -1)]),
    st.integers(-1, 20),
    st.integers(0, 99),
)
def test_attention_answers_the_softmax_or_refuses(
    lengths: list[tuple[int, int]], form: tuple[int, int], before: int, seed: int
) -> None:
    ratio, chosen = form
    queries, tokens = zip(*lengths, strict=True)
    batch = len(lengths)
    q = floats((sum(queries), 2, 16), seed)
    tables = [torch.arange(batch * 8, dtype=torch.int32).view(batch, 8) for _ in range(2)]
    own = [floats((max(t, 0), 16), seed + i) for i, t in enumerate(tokens)]
    keys = [floats((max(t, 0) // max(ratio, 1), 16), seed + 9 + i) for i, t in enumerate(tokens)]

    def pages(rows: list[torch.Tensor]) -> torch.Tensor:
        made = [paged(r, BLOCK, tables[0][i].tolist(), batch * 8) for i, r in enumerate(rows)]
        return sum(made[1:], made[0]).unsqueeze(2)

    options: dict[str, Any] = {
        "ori_kv": pages(own),
        "ori_block_table": tables[0],
        "cu_seqlens_q": torch.cat([ints([0]), ints(queries).cumsum(0).int()]),
        "seqused_kv": ints(tokens),
        "metadata": torch.zeros(1024, dtype=torch.int32),
        "cmp_ratio": ratio,
        "ori_win_left": before,
        "layout_q": "TND",
    }
    if ratio > 1:
        options |= {"cmp_kv": pages(keys), "cmp_block_table": tables[1]}
    indices = None
    if chosen:
        generator = torch.Generator().manual_seed(seed)
        count = max(chosen, 0)
        indices = torch.randint(-1, 12, (q.shape[0], count), generator=generator).int()
        options["cmp_sparse_indices"] = indices[:, None]
    got = answer("npu_sparse_attn_sharedkv", q, **options)
    if got is None:
        return
    out, first = got[0].cpu().float(), 0
    for i, (count, total) in enumerate(lengths):
        rows = range(first, first + count)
        first += count
        for at, row in enumerate(rows):
            position = total - count + at
            seen = [
                own[i][j]
                for j in range(max(0, position - before) if before >= 0 else 0, position + 1)
            ]
            if ratio > 1:
                limit = max(0, (position + 1) // ratio)
                picks = list(range(limit))
                if indices is not None:
                    picks = []
                    for j in indices[row].tolist():
                        if j < 0:
                            break
                        if j < limit:
                            picks.append(j)
                seen += [keys[i][j] for j in picks]
            if not seen:
                assert not out[row].any()
                continue
            stack = torch.stack(seen).float()
            weights = (q[row].float() @ stack.T / 4).softmax(-1)
            torch.testing.assert_close(out[row], weights @ stack, rtol=1e-2, atol=1e-2)


@settings(max_examples=80, deadline=None)
@given(
    LENGTHS,
    st.sampled_from([1, 4, 128, 2]),
    st.integers(0, 9),
    st.sampled_from([0, 3, 1]),
    st.integers(0, 99),
)
def test_the_indexer_answers_the_best_keys_or_refuses(
    lengths: list[tuple[int, int]], ratio: int, count: int, mode: int, seed: int
) -> None:
    queries, tokens = zip(*lengths, strict=True)
    batch = len(lengths)
    table = torch.arange(batch * 8, dtype=torch.int32).view(batch, 8)
    query = floats((sum(queries), 2, 16), seed, E4M3)
    dense = [floats((max(t, 0) // ratio, 16), seed + i, E4M3) for i, t in enumerate(tokens)]
    made = [paged(d.float(), BLOCK, table[i].tolist(), batch * 8) for i, d in enumerate(dense)]
    key = sum(made[1:], made[0]).unsqueeze(2).to(E4M3)
    weights = floats((sum(queries), 2), seed, torch.float32)
    ones = torch.ones(sum(queries), 2), torch.ones(batch * 8, BLOCK, 1)
    got = answer(
        "npu_quant_lightning_indexer",
        query,
        key,
        weights,
        *ones,
        0,
        0,
        actual_seq_lengths_query=ints(queries).cumsum(0).int(),
        actual_seq_lengths_key=ints(tokens),
        block_table=table,
        layout_query="TND",
        sparse_count=count,
        sparse_mode=mode,
        cmp_ratio=ratio,
    )
    if got is None or mode == 0:
        return
    first = 0
    for i, (length, total) in enumerate(lengths):
        rows = slice(first, first + length)
        want = extension.index_choice(
            query[rows].float(), dense[i].float(), weights[rows], max(total, 0), ratio, count
        )
        if total >= length:
            assert torch.equal(got[0].cpu()[rows, 0], want)
        first += length


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.sampled_from([(4, 2), (4, 2), (128, 1), (4, 1), (3, 2)]),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_the_compressor_answers_sums_over_windows_or_refuses(
    pieces: list[int], form: tuple[int, int], blocks: int, seed: int
) -> None:
    ratio, coff = form
    total = sum(pieces)
    x = floats((total, 8), seed)
    wkv, wgate = floats((coff * 4, 8), seed + 1), floats((coff * 4, 8), seed + 2)
    ape = floats((ratio, coff * 4), seed + 3, torch.float32)
    states = torch.zeros(blocks + 1, 4, 2 * coff * 4, device="npu")
    table = torch.arange(1, blocks + 1, dtype=torch.int32)[None]
    found, first = [], 0
    for piece in pieces:
        last = first + piece
        rows = min(piece, piece // ratio + 1)
        sin, cos = torch.zeros(rows, 2), torch.ones(rows, 2)
        got = answer(
            "compressor",
            x[first:last],
            wkv,
            wgate,
            states,
            ape,
            torch.ones(4),
            sin,
            cos,
            2,
            ratio,
            state_block_table=table,
            cu_seqlens=ints([0, piece]),
            start_pos=ints([first]),
            coff=coff,
            rotary_mode=2,
        )
        if got is None:
            return
        found.append(got.cpu()[: last // ratio - first // ratio])
        first = last
    kv, score = x.float() @ wkv.float().T, x.float() @ wgate.float().T
    want = extension.compressed_keys(kv, score, ape, coff)
    want = want * torch.rsqrt(want.pow(2).mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(torch.cat(found).float(), want, rtol=1e-2, atol=1e-2)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([64, 128, 192, 256, 100]),
    st.lists(st.integers(-2, 6), min_size=0, max_size=5, unique=True),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([E4M3, torch.float8_e5m2, BF16, torch.uint8]),
    st.integers(0, 99),
)
def test_packed_keys_are_written_or_refused(
    width: int, slots: list[int], mode: int, dtype: torch.dtype, seed: int
) -> None:
    x = floats((len(slots), width), seed)
    columns = width if dtype == torch.uint8 else 256 if width <= 128 else 384
    cache = torch.zeros(6, columns, dtype=torch.uint8).view(dtype).npu()
    try:
        ops.kv_compress_epilog(cache, x.npu(), ints(slots).npu(), quant_mode=mode)
    except REFUSALS as error:
        assert "kv_compress_epilog" in str(error), error
        return
    found = cache.cpu().view(torch.uint8)
    for row, slot in zip(x, slots, strict=True):
        if slot < 0:
            continue
        if dtype == torch.uint8:
            values = extension.hifloat8(found[slot])
            assert torch.equal(values, extension.to_hifloat8(row.float()))
        elif mode == 2:
            made = extension.packed_key(row, dtype)
            assert torch.equal(found[slot, : made.numel()], made)
