"""Random calls of caches and sparse attention: right values, or an error naming the operator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import cache, sparse

fixed = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
small = st.integers(0, 4)
WRONG: list[Any] = [
    torch.zeros(0),
    torch.zeros(2, 3).int(),
    torch.full((3,), 1 << 40).long(),
    torch.full((2,), -7).int(),
    torch.ones(2, 2, 2, 2).half(),
    torch.ones(1, 1, 1, 1).to(torch.float8_e4m3fn),
    torch.tensor(True),
]
NUMBERS = (-1, 0, 3, 1 << 40, -(1 << 63))
ERRORS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)


def sequence(queries: int, keys: int, heads: int, width: int) -> list[torch.Tensor]:
    shapes = (queries, heads, width), (keys, width), (queries, heads)
    return [torch.randn(s).bfloat16() for s in shapes]


@fixed
@given(
    st.lists(st.tuples(small, st.integers(0, 20)), min_size=1, max_size=3),
    st.integers(1, 24),
    st.sampled_from((0, 3)),
    st.sampled_from(("TND", "PA_BSND")),
)
def test_the_indexer_chooses_for_any_lengths(
    lengths: list[tuple[int, int]], count: int, mode: int, layout: str
) -> None:
    parts = [sequence(q, k, 2, 8) for q, k in lengths]
    query, weights = (torch.cat([p[i] for p in parts]) for i in (0, 2))
    queries = torch.tensor([len(p[0]) for p in parts]).cumsum(0).int()
    keys = torch.tensor([len(p[1]) for p in parts]).int()
    kwargs: dict[str, Any] = {"actual_seq_lengths_query": queries, "layout_query": "TND"}
    if layout == "TND":
        key, kwargs["actual_seq_lengths_key"] = (
            torch.cat([p[1] for p in parts]),
            keys.cumsum(0).int(),
        )
        key = key.unsqueeze(1)
    else:
        table = torch.arange(3 * len(parts)).view(-1, 3).int()
        pages = [sparse.paged(p[1], 8, t.tolist(), 9) for p, t in zip(parts, table, strict=True)]
        key = torch.stack(pages).sum(0).unsqueeze(2)
        kwargs |= {"actual_seq_lengths_key": keys, "block_table": table}
    args = on_npu((query, key, weights))
    if query.numel() == 0 or key.numel() == 0:
        with pytest.raises(ValueError, match="npu_lightning_indexer: expected"):
            torch_npu_sim.npu_lightning_indexer(*args, layout_key=layout, **on_npu(kwargs))
        return
    got, _ = torch_npu_sim.npu_lightning_indexer(
        *args, layout_key=layout, sparse_count=count, sparse_mode=mode, **on_npu(kwargs)
    )
    rows = []
    for q, k, w in parts:
        scores = sparse.index_scores(q, k, w)
        for i in range(len(q)):
            limit = sparse.causal_limit(mode, len(k), len(q), i)
            rows.append((scores[i], limit))
    for row, (scores, limit) in zip(got.cpu().view(-1, count).tolist(), rows, strict=True):
        chosen = [j for j in row if j >= 0]
        assert row == chosen + [-1] * (count - len(chosen))
        assert len(set(chosen)) == len(chosen) == min(count, limit)
        best = sorted(scores[:limit].tolist(), reverse=True)[: len(chosen)]
        torch.testing.assert_close([float(scores[j]) for j in chosen], best, rtol=1e-4, atol=1e-4)


@fixed
@given(
    st.integers(1, 4),
    st.integers(1, 20),
    st.integers(1, 6),
    st.sampled_from((1, 2, 4)),
    st.sampled_from((0, 3)),
    st.integers(0, 1 << 30),
)
def test_sparse_attention_takes_any_indices(  # noqa: PLR0913
    queries: int, keys: int, count: int, block: int, mode: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randint(-1, 8, (queries, 1, count), generator=generator).int()
    query, key = torch.randn(queries, 2, 8).half(), torch.randn(keys, 1, 8).half()
    query_rope, key_rope = torch.randn(queries, 2, 4).half(), torch.randn(keys, 1, 4).half()
    out, *_ = torch_npu_sim.npu_sparse_flash_attention(
        *on_npu([x[None] for x in (query, key, key, indices)]),
        0.5,
        query_rope=query_rope[None].npu(),
        key_rope=key_rope[None].npu(),
        sparse_block_size=block,
        sparse_mode=mode,
        attention_mode=2,
    )
    wide = torch.cat((query, query_rope), -1), torch.cat((key, key_rope), -1)[:, 0]
    for i in range(queries):
        limit = sparse.causal_limit(mode, keys, queries, i)
        positions = sparse.selected(indices[i, 0], block, limit)
        want = sparse.attend_selected(wide[0][i], wide[1], key[:, 0], positions, 0.5)
        torch.testing.assert_close(out[0, i].cpu().float(), want, rtol=5e-3, atol=5e-3)


@fixed
@given(
    st.lists(st.integers(-2, 20), max_size=5, unique=True),
    st.sampled_from((torch.float16, torch.int8, torch.float32)),
    st.booleans(),
)
def test_a_scatter_takes_any_slots(slots: list[int], dtype: torch.dtype, fractal: bool) -> None:
    rows = torch.randint(-5, 5, (len(slots), 2, 32)).to(dtype)
    piece = 32 // dtype.itemsize
    shape = (2, 64 // piece, 8, piece) if fractal else (2, 8, 2, 32)
    stored = torch.zeros(shape, dtype=dtype)
    mode = "PA_NZ" if fractal else "Norm"

    def call() -> Any:
        where = torch.tensor(slots, dtype=torch.int64)
        return torch_npu_sim.npu_scatter_pa_kv_cache_functional(
            *on_npu((rows, rows, stored, stored, where)), cache_mode=mode
        )

    if any(s >= 16 for s in slots):
        with pytest.raises(IndexError, match="npu_scatter_pa_kv_cache: expected slot_mapping"):
            call()
        return
    if fractal:
        want = cache.put_fractal(stored, rows, slots, 8, piece)
    else:
        want = cache.put(stored, rows, slots)
    assert torch.equal(call()[1].cpu(), want)


def half(*shape: int) -> torch.Tensor:
    return torch.ones(shape).half()


def valid_calls() -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """Returns a small valid call of each operator, to spoil one argument at a time."""
    slots = torch.tensor([0, 1])
    bf16 = {
        k: torch.ones(s).bfloat16()
        for k, s in {
            "x": (2, 32),
            "dq": (32, 32),
            "uq": (32, 24),
            "uk": (2, 4, 32),
            "dkv": (32, 40),
            "gq": (32,),
            "gk": (32,),
            "a": (2, 8),
            "kv": (2, 16, 1, 32),
            "kr": (2, 16, 1, 8),
        }.items()
    }
    p = [bf16[k] for k in ("x", "dq", "uq", "uk", "dkv", "gq", "gk", "a", "a", "kv", "kr")]
    sfa = [half(1, 2, 2, 8), half(1, 4, 1, 8), half(1, 4, 1, 8), torch.zeros(1, 2, 1, 3).int(), 1.0]
    ropes = {"query_rope": half(1, 2, 2, 4), "key_rope": half(1, 4, 1, 4)}
    main = [half(1, 2, 2, 8), half(1, 4, 1, 8)] * 2
    stats = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    q8, k8 = torch.ones(1, 2, 2, 8).char(), torch.ones(1, 4, 1, 8).char()
    long = torch.ones(2).long()
    cached = [half(2, 16, 2, 16), half(2, 16, 2, 16)]
    c8 = torch.ones(2, 4, 1, 8).char()
    return {
        "npu_mla_prolog_v3": (p, {"cache_index": slots}),
        "npu_kv_rmsnorm_rope_cache": (
            [
                half(2, 1, 1, 24),
                half(16),
                half(2, 1, 1, 8),
                half(2, 1, 1, 8),
                slots,
                half(2, 16, 1, 8),
                half(2, 16, 1, 16),
            ],
            {"cache_mode": "PA"},
        ),
        "npu_lightning_indexer": ([*main[:2], half(1, 2, 2)], {"block_table": None}),
        "npu_lightning_indexer_grad": (
            [*main[:2], half(1, 2, 1, 3), torch.zeros(1, 2, 1, 3).int(), half(1, 2, 2)],
            {},
        ),
        "npu_quant_lightning_indexer": (
            [q8, k8, half(1, 2, 2), torch.ones(1, 2, 2), torch.ones(1, 4, 1), 0, 0],
            {},
        ),
        "npu_sparse_flash_attention": (sfa, {"attention_mode": 2} | ropes),
        "npu_sparse_flash_attention_grad": (
            [*sfa[:4], half(1, 2, 2, 8), half(1, 2, 2, 8), *stats, 1.0, 1],
            {"attention_mode": 2} | ropes,
        ),
        "npu_kv_quant_sparse_flash_attention": (
            [
                half(1, 2, 2, 12),
                torch.ones(1, 4, 1, 20).char(),
                torch.ones(1, 4, 1, 20).char(),
                torch.zeros(1, 2, 1, 3).int(),
                1.0,
                2,
                2,
            ],
            {"attention_mode": 2, "tile_size": 8, "rope_head_dim": 4},
        ),
        "npu_dense_lightning_indexer_softmax_lse": ([*main[:2], half(1, 2, 2)], {}),
        "npu_dense_lightning_indexer_grad_kl_loss": (
            [*main, half(1, 2, 2), *stats, torch.ones(1, 1, 2), torch.ones(1, 1, 2), 1.0],
            {},
        ),
        "npu_sparse_lightning_indexer_grad_kl_loss": (
            [*main, half(1, 2, 2), torch.zeros(1, 2, 1, 3).int(), *stats, 1.0],
            {},
        ),
        "npu_scatter_pa_kv_cache": (
            [half(2, 2, 16), half(2, 2, 16), *cached, slots],
            {"cache_mode": "Norm"},
        ),
        "npu_gather_pa_kv_cache": (
            [*cached, torch.zeros(1, 2).int(), torch.tensor([2]), half(2, 2, 16), half(2, 2, 16)],
            {},
        ),
        "npu_advance_step_flashattn": (
            [
                long,
                long,
                long.clone(),
                long.clone(),
                long.clone(),
                torch.ones(2, 4).long(),
                2,
                2,
                8,
            ],
            {},
        ),
        "npu_mrope": ([torch.zeros(2).long(), half(2, 8), half(2, 8), half(4, 8), 8], {}),
        "npu_rope_quant_kvcache": (
            [
                half(2, 1, 24),
                half(2, 1, 1, 8),
                half(2, 1, 1, 8),
                c8,
                c8.clone(),
                torch.zeros(2).int(),
                torch.ones(8),
                torch.ones(8),
                [8, 8, 8],
            ],
            {},
        ),
        "npu_qkv_rms_norm_rope_cache": (
            [
                half(2, 48),
                half(16),
                half(16),
                half(2, 16),
                half(2, 16),
                slots,
                half(2, 16),
                half(2, 1, 16, 16),
                half(2, 1, 16, 16),
                [2, 1, 3, 16],
                [1, 1, 1],
            ],
            {},
        ),
    }


@pytest.mark.parametrize("name", sorted(valid_calls()))
def test_the_small_call_is_valid(name: str) -> None:
    args, kwargs = valid_calls()[name]
    getattr(torch_npu_sim, name)(*on_npu(args), **on_npu(kwargs))


def spoiled_calls(name: str) -> list[tuple[list[Any], dict[str, Any]]]:
    """Returns the valid call with one argument exchanged, for every argument and wrong value."""
    args, kwargs = valid_calls()[name]
    calls = []
    for place, argument in enumerate(args):
        wrongs = WRONG if isinstance(argument, torch.Tensor) else NUMBERS
        if isinstance(argument, list):
            wrongs = [[0, 0, 0], [-1, 2], [1 << 40] * len(argument)]
        for wrong in wrongs if not isinstance(argument, float) else ():
            calls.append(([wrong if i == place else a for i, a in enumerate(args)], kwargs))
    for key, argument in kwargs.items():
        wrongs = WRONG if isinstance(argument, torch.Tensor) else NUMBERS
        wrongs = ["?", ""] if isinstance(argument, str) else wrongs
        calls += [(args, kwargs | {key: wrong}) for wrong in wrongs if argument is not None]
    return calls


@pytest.mark.parametrize("name", sorted(valid_calls()))
def test_a_spoiled_argument_is_an_error_of_the_operator_or_taken(name: str) -> None:
    op: Callable[..., Any] = getattr(torch_npu_sim, name)
    for args, kwargs in spoiled_calls(name):
        try:
            op(*on_npu(args), **on_npu(kwargs))
        except ERRORS as error:
            assert name in str(error), (args, kwargs, str(error))
