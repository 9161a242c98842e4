"""Attention over selected keys against a loop over queries, gradients against autograd's."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import sparse

HEADS, WIDTH, ROPE, SCALE = 4, 32, 16, 0.2
Parts = dict[str, torch.Tensor]


def sequence(
    queries: int, keys: int, count: int, block: int = 1, dtype: torch.dtype = torch.bfloat16
) -> Parts:
    """Returns one sequence's operands; rows of indices have between no and `count` blocks."""
    blocks = max(1, -(-keys // block))
    indices = torch.full((queries, 1, count), -1, dtype=torch.int32)
    for row in indices:
        chosen = torch.randperm(blocks)[: int(torch.randint(0, min(count, blocks) + 1, ()))]
        row[0, : len(chosen)] = chosen
    shapes = {
        "query": (queries, HEADS, WIDTH),
        "key": (keys, 1, WIDTH),
        "query_rope": (queries, HEADS, ROPE),
        "key_rope": (keys, 1, ROPE),
    }
    return {k: torch.randn(s).to(dtype) for k, s in shapes.items()} | {"indices": indices}


def attend(parts: Parts, block: int = 1, mode: int = 3, sinks: Any = None) -> torch.Tensor:
    query = torch.cat((parts["query"], parts["query_rope"]), -1)
    key = torch.cat((parts["key"], parts["key_rope"]), -1)[:, 0]
    value = parts.get("value", parts["key"])[:, 0]
    rows = []
    for i, q in enumerate(query):
        limit = sparse.causal_limit(mode, len(key), len(query), i)
        positions = sparse.selected(parts["indices"][i, 0], block, limit)
        rows.append(sparse.attend_selected(q, key, value, positions, SCALE, sinks))
    return torch.stack(rows) if rows else torch.zeros(0, HEADS, WIDTH)


def call(parts: Parts, **kwargs: Any) -> Any:
    card = {k: on_npu(v) for k, v in parts.items()}
    return torch_npu_sim.npu_sparse_flash_attention(
        card["query"],
        card["key"],
        card.get("value", card["key"]),
        card["indices"],
        SCALE,
        query_rope=card["query_rope"],
        key_rope=card["key_rope"],
        attention_mode=2,
        **on_npu(kwargs),
    )


def stacked(sequences: list[Parts]) -> Parts:
    return {k: torch.stack([s[k] for s in sequences]) for k in sequences[0]}


def joined(sequences: list[Parts]) -> Parts:
    return {k: torch.cat([s[k] for s in sequences]) for k in sequences[0]}


def assert_close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got.cpu().float(), want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", [0, 3])
@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("queries", "keys", "count"), [(1, 40, 8), (5, 30, 30), (6, 3, 2)])
def test_a_query_attends_to_the_blocks_it_was_given(  # noqa: PLR0913
    queries: int, keys: int, count: int, block: int, mode: int, dtype: torch.dtype
) -> None:
    sequences = [sequence(queries, keys, count, block, dtype) for _ in range(2)]
    out, largest, total = call(stacked(sequences), sparse_block_size=block, sparse_mode=mode)
    assert out.dtype == dtype
    assert_close(out, torch.stack([attend(s, block, mode) for s in sequences]))
    assert largest.shape == total.shape == (0,)


@pytest.mark.parametrize("layout", ["TND", "PA_BSND"])
@pytest.mark.parametrize("lengths", [[(3, 20), (2, 33)], [(0, 7), (4, 4), (1, 0)]])
def test_ragged_sequences_attend_to_their_own_keys(
    lengths: list[tuple[int, int]], layout: str
) -> None:
    sequences = [sequence(q, k, 12) for q, k in lengths]
    parts = joined(sequences)
    queries = torch.tensor([q for q, _ in lengths]).cumsum(0).int()
    keys = torch.tensor([k for _, k in lengths]).int()
    table = torch.randperm(3 * len(lengths)).view(-1, 3).int()
    if layout == "TND":
        keys = keys.cumsum(0).int()
    else:
        for name in ("key", "key_rope"):
            pages = [
                sparse.paged(s[name], 16, t.tolist(), 9)
                for s, t in zip(sequences, table, strict=True)
            ]
            parts[name] = torch.stack(pages).sum(0)
    out, *_ = call(
        parts,
        actual_seq_lengths_query=queries,
        actual_seq_lengths_kv=keys,
        block_table=table if layout == "PA_BSND" else None,
        layout_query="TND",
        layout_kv=layout,
    )
    assert_close(out, torch.cat([attend(s) for s in sequences]))


def test_blocks_may_lie_apart_as_in_one_layer_of_a_cache() -> None:
    parts = sequence(3, 20, 12)
    table = torch.tensor([[2, 0]]).int()
    kwargs = {
        "actual_seq_lengths_query": torch.tensor([3]).int(),
        "actual_seq_lengths_kv": torch.tensor([20]).int(),
        "block_table": table,
        "layout_query": "TND",
        "layout_kv": "PA_BSND",
    }
    card = {k: v.npu() for k, v in parts.items()}
    for name in ("key", "key_rope"):
        pages = sparse.paged(parts[name], 16, table[0].tolist(), 3)
        layers = torch.stack((torch.full_like(pages, torch.nan), pages), 1).npu()
        card[name] = layers[:, 1]
        assert not card[name].is_contiguous()
    out, *_ = torch_npu_sim.npu_sparse_flash_attention(
        *[card[k] for k in ("query", "key", "key", "indices")],
        SCALE,
        query_rope=card["query_rope"],
        key_rope=card["key_rope"],
        attention_mode=2,
        **on_npu(kwargs),
    )
    assert_close(out, attend(parts))


def test_sinks_take_a_share_of_the_weights() -> None:
    parts, sinks = sequence(3, 20, 12), torch.randn(HEADS)
    out, *_ = call(stacked([parts]), sinks=sinks)
    assert_close(out, attend(parts, sinks=sinks)[None])


def test_statistics_are_the_greatest_score_and_the_sum() -> None:
    parts = sequence(3, 20, 12)
    parts["indices"][:] = torch.arange(12)
    out, largest, total = call(stacked([parts]), return_softmax_lse=True, sparse_mode=0)
    assert largest.shape == total.shape == (1, 1, 3, HEADS)
    query = torch.cat((parts["query"], parts["query_rope"]), -1).float()
    key = torch.cat((parts["key"], parts["key_rope"]), -1)[:12, 0].float()
    scores = query @ key.T * SCALE
    torch.testing.assert_close(largest.cpu()[0, 0], scores.amax(-1), rtol=1e-4, atol=1e-4)
    lse = largest.cpu() + total.cpu().log()
    torch.testing.assert_close(lse[0, 0], scores.logsumexp(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["BSND", "TND"])
def test_the_gradient_is_autograds(layout: str) -> None:
    sequences = [sequence(4, 20, 12, dtype=torch.float16) for _ in range(2)]
    for s in sequences:
        s["value"] = torch.randn(20, 1, WIDTH).half()
    names = ["query", "key", "value", "query_rope", "key_rope"]
    parts = stacked(sequences) if layout == "BSND" else joined(sequences)
    cards = {k: v.npu() for k, v in parts.items()}
    for name in names:
        cards[name].requires_grad_()
    lengths = {}
    if layout == "TND":
        lengths = {
            "actual_seq_lengths_query": torch.tensor([4, 8]).int().npu(),
            "actual_seq_lengths_kv": torch.tensor([20, 40]).int().npu(),
        }
    out, *_ = torch.ops.npu.npu_sparse_flash_attention(
        *[cards[k] for k in ("query", "key", "value", "indices")],
        SCALE,
        query_rope=cards["query_rope"],
        key_rope=cards["key_rope"],
        attention_mode=2,
        layout_query=layout,
        layout_kv=layout,
        return_softmax_lse=True,
        **lengths,
    )
    grad = torch.randn(out.shape).half()
    out.backward(grad.npu())
    leaves = [{k: v.float() if k in names else v for k, v in s.items()} for s in sequences]
    for s in leaves:
        for name in names:
            s[name].requires_grad_()
    want = [attend(s) for s in leaves]
    combined = torch.stack(want) if layout == "BSND" else torch.cat(want)
    combined.backward(grad.float())
    for name in names:
        grads = [s[name].grad for s in leaves]
        expected = torch.stack(grads) if layout == "BSND" else torch.cat(grads)
        torch.testing.assert_close(cards[name].grad.cpu().float(), expected, rtol=2e-2, atol=1e-2)


def test_without_a_value_the_key_gets_the_gradient_of_both() -> None:
    parts = stacked([sequence(4, 20, 12, dtype=torch.float16)])
    grads = []
    for shared in (True, False):
        card = {k: on_npu(v) for k, v in parts.items()}
        card["key"].requires_grad_()
        out, *_ = torch.ops.npu.npu_sparse_flash_attention(
            card["query"],
            card["key"],
            None if shared else card["key"],
            card["indices"],
            SCALE,
            query_rope=card["query_rope"],
            key_rope=card["key_rope"],
            attention_mode=2,
            return_softmax_lse=True,
        )
        out.sum().backward()
        grads.append(card["key"].grad)
    torch.testing.assert_close(*grads, rtol=1e-2, atol=1e-2)


def test_the_gradient_needs_the_statistics() -> None:
    parts = stacked([sequence(3, 20, 12)])
    parts["query"].requires_grad_()
    card = {k: on_npu(v) for k, v in parts.items()}
    out, *_ = torch.ops.npu.npu_sparse_flash_attention(
        card["query"],
        card["key"],
        card["key"],
        card["indices"],
        SCALE,
        query_rope=card["query_rope"],
        key_rope=card["key_rope"],
        attention_mode=2,
    )
    with pytest.raises(ValueError, match="with return_softmax_lse=True"):
        out.sum().backward()


@pytest.mark.parametrize("lse", [True, False])
def test_meta_agrees(lse: bool) -> None:
    parts = stacked([sequence(3, 20, 12)])
    assert_meta_agrees(
        torch.ops.npu.npu_sparse_flash_attention,
        *[parts[k] for k in ("query", "key", "key", "indices")],
        SCALE,
        query_rope=parts["query_rope"],
        key_rope=parts["key_rope"],
        attention_mode=2,
        return_softmax_lse=lse,
    )


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"attention_mode": 0}, ValueError, "expected attention_mode 2"),
        ({"sparse_mode": 4}, ValueError, "expected sparse_mode 0"),
        ({"sparse_block_size": 3}, ValueError, "expected sparse_block_size of a power of two"),
        ({"query_rope": None}, ValueError, "expected query_rope and key_rope"),
        ({"layout_kv": "PA_BSND"}, ValueError, "expected actual_seq_lengths_kv in layout PA_BSND"),
        ({"sinks": torch.ones(3)}, ValueError, r"expected sinks of \[4\]"),
    ],
)
def test_a_wrong_argument_is_named(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    parts = stacked([sequence(3, 20, 12)])
    kwargs = {"query_rope": parts["query_rope"], "key_rope": parts["key_rope"]}
    with pytest.raises(error, match=f"npu_sparse_flash_attention: {text}"):
        torch_npu_sim.npu_sparse_flash_attention(
            *on_npu([parts[k] for k in ("query", "key", "key", "indices")]),
            SCALE,
            **on_npu({"attention_mode": 2} | kwargs | change),
        )
