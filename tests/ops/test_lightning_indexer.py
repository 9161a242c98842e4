"""The lightning indexer against scores and sorting in plain Python."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import sparse

WIDTH = 128
HEADS = 8


def operands(queries: int, keys: int, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    shapes = (queries, HEADS, WIDTH), (keys, WIDTH), (queries, HEADS)
    return [torch.randn(s).to(dtype) for s in shapes]


def chosen(
    query: torch.Tensor, key: torch.Tensor, weights: torch.Tensor, count: int, mode: int
) -> torch.Tensor:
    scores = sparse.index_scores(query, key, weights)
    limits = [sparse.causal_limit(mode, len(key), len(query), i) for i in range(len(query))]
    rows = [sparse.top_positions(s, count, n) for s, n in zip(scores, limits, strict=True)]
    return torch.tensor(rows, dtype=torch.int32).view(len(query), 1, count)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", [0, 3])
@pytest.mark.parametrize(("queries", "keys", "count"), [(1, 40, 8), (5, 40, 64), (9, 5, 4)])
def test_a_query_gets_the_keys_of_highest_score(
    queries: int, keys: int, count: int, mode: int, dtype: torch.dtype
) -> None:
    parts = [operands(queries, keys, dtype) for _ in range(2)]
    query, key, weights = (torch.stack([p[i] for p in parts]) for i in range(3))
    key = key.unsqueeze(2)
    indices, values = torch_npu_sim.npu_lightning_indexer(
        *on_npu((query, key, weights)), sparse_count=count, sparse_mode=mode
    )
    assert torch.equal(indices.cpu(), torch.stack([chosen(*p, count, mode) for p in parts]))
    assert indices.dtype == torch.int32
    assert values.shape == (0,)
    assert_meta_agrees(torch.ops.npu.npu_lightning_indexer, query, key, weights, sparse_count=count)


@pytest.mark.parametrize("key_layout", ["TND", "PA_BSND"])
@pytest.mark.parametrize("lengths", [[(3, 20), (2, 33)], [(0, 7), (4, 4), (1, 0)]])
def test_ragged_sequences_choose_among_their_own_keys(
    lengths: list[tuple[int, int]], key_layout: str
) -> None:
    parts = [operands(q, k) for q, k in lengths]
    query, weights = (torch.cat([p[i] for p in parts]) for i in (0, 2))
    queries = torch.tensor([len(p[0]) for p in parts]).cumsum(0).int()
    keys = torch.tensor([len(p[1]) for p in parts]).int()
    kwargs: dict[str, Any] = {"actual_seq_lengths_query": queries, "layout_query": "TND"}
    if key_layout == "TND":
        key = torch.cat([p[1] for p in parts]).unsqueeze(1)
        kwargs |= {"actual_seq_lengths_key": keys.cumsum(0).int()}
    else:
        table = torch.randperm(3 * len(parts)).view(-1, 3).int()
        pages = [sparse.paged(p[1], 16, t.tolist(), 9) for p, t in zip(parts, table, strict=True)]
        key = torch.stack(pages).sum(0).unsqueeze(2)
        kwargs |= {"actual_seq_lengths_key": keys, "block_table": table}
    indices, _ = torch_npu_sim.npu_lightning_indexer(
        *on_npu((query, key, weights)), layout_key=key_layout, sparse_count=16, **on_npu(kwargs)
    )
    assert torch.equal(indices.cpu(), torch.cat([chosen(*p, 16, 3) for p in parts]))


def test_values_are_the_scores_of_the_chosen_keys() -> None:
    query, key, weights = operands(3, 12)
    scores = sparse.index_scores(query, key, weights)
    indices, values = torch_npu_sim.npu_lightning_indexer(
        *on_npu((query[None], key[None, :, None], weights[None])),
        sparse_count=16,
        sparse_mode=0,
        return_value=True,
    )
    found = indices.cpu().view(3, 16)[:, :12].long()
    torch.testing.assert_close(values.cpu().view(3, 16)[:, :12], scores.gather(1, found).bfloat16())
    assert values.cpu().view(3, 16)[:, 12:].isneginf().all()


def test_equal_scores_go_by_position() -> None:
    query = torch.ones(1, 1, HEADS, WIDTH).bfloat16()
    key = torch.ones(1, 9, 1, WIDTH).bfloat16()
    indices, _ = torch_npu_sim.npu_lightning_indexer(
        *on_npu((query, key, torch.ones(1, 1, HEADS).bfloat16())), sparse_count=9
    )
    assert indices.flatten().tolist() == list(range(9))


def test_a_query_beyond_its_length_chooses_nothing() -> None:
    query, key, weights = operands(4, 8)
    lengths = torch.tensor([2]).int()
    indices, _ = torch_npu_sim.npu_lightning_indexer(
        *on_npu((query[None], key[None, :, None], weights[None])),
        actual_seq_lengths_query=lengths.npu(),
        sparse_count=4,
    )
    assert (indices[0, 2:] == -1).all()
    assert (indices[0, :2] >= 0).all()


@pytest.mark.parametrize("kind", ["int8", "e4m3"])
def test_quantised_operands_score_by_their_scales(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "int8":
        query = torch.randint(-100, 100, (1, 3, HEADS, WIDTH)).to(torch.int8)
        key = torch.randint(-100, 100, (1, 21, 1, WIDTH)).to(torch.int8)
    else:
        query = torch.randn(1, 3, HEADS, WIDTH).to(torch.float8_e4m3fn)
        key = torch.randn(1, 21, 1, WIDTH).to(torch.float8_e4m3fn)
    weights = torch.randn(1, 3, HEADS).half()
    query_scale, key_scale = torch.rand(1, 3, HEADS) + 0.5, torch.rand(1, 21, 1) + 0.5
    args = query, key, weights, query_scale, key_scale, 0, 0
    got = torch_npu_sim.npu_quant_lightning_indexer(*on_npu(args), sparse_count=8)
    wide = query.float() * query_scale[..., None], key.float() * key_scale[..., None]
    assert torch.equal(got[0].cpu(), chosen(wide[0][0], wide[1][0, :, 0], weights[0], 8, 3))
    assert_meta_agrees(torch.ops.npu.npu_quant_lightning_indexer, *args, sparse_count=8)


def test_the_gradient_reaches_query_key_and_weights() -> None:
    query, key, weights = operands(5, 16)
    leaves = [query[None], key[None, :, None], weights[None]]
    cards = [x.npu().requires_grad_() for x in leaves]
    indices, values = torch.ops.npu.npu_lightning_indexer(
        *cards, sparse_count=8, sparse_mode=0, return_value=True
    )
    grad = torch.randn(values.shape).bfloat16()
    values.backward(grad.npu())
    wide = [x.float().requires_grad_() for x in leaves]
    scores = sparse.index_scores(wide[0][0], wide[1][0, :, 0], wide[2][0])
    scores.gather(1, indices.cpu().view(5, 8).long()).backward(grad.float().view(5, 8))
    for card, want in zip(cards, wide, strict=True):
        torch.testing.assert_close(
            card.grad.cpu().float(), want.grad, rtol=2e-2, atol=2e-2 * float(want.grad.abs().max())
        )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"sparse_mode": 1}, ValueError, "expected sparse_mode 0 .* or 3 .* got 1"),
        ({"sparse_count": 0}, ValueError, r"expected sparse_count in \[1, 8192\], got 0"),
        ({"sparse_count": 1 << 40}, ValueError, r"expected sparse_count in \[1, 8192\]"),
        ({"layout_key": "TND"}, ValueError, "expected a key layout of BSND"),
        ({"layout_query": "BNSD"}, ValueError, "expected layout_query BSND or TND, got BNSD"),
        ({"pre_tokens": 5}, ValueError, "expected pre_tokens and next_tokens"),
        (
            {"actual_seq_lengths_key": torch.tensor([99]).int()},
            ValueError,
            r"expected actual_seq_lengths_key in \[0, 16\], got 99",
        ),
        (
            {"actual_seq_lengths_key": torch.tensor([9.0])},
            TypeError,
            "expected actual_seq_lengths_key of int32 or int64",
        ),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    query, key, weights = operands(5, 16)
    with pytest.raises(error, match=f"npu_lightning_indexer: {text}"):
        torch_npu_sim.npu_lightning_indexer(
            *on_npu((query[None], key[None, :, None], weights[None])), **on_npu(change)
        )


def test_a_block_that_does_not_exist_is_an_index_error() -> None:
    query, key, weights = operands(1, 16)
    with pytest.raises(IndexError, match=r"block_table with blocks in \[0, 1\), got 4"):
        torch_npu_sim.npu_lightning_indexer(
            *on_npu((query[None], key.view(1, 16, 1, WIDTH), weights[None])),
            actual_seq_lengths_key=torch.tensor([16]).int().npu(),
            block_table=torch.tensor([[4]]).int().npu(),
            layout_key="PA_BSND",
        )
