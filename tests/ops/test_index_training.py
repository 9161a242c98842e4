"""What trains the lightning indexer, against the loss written out and autograd."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import sparse

HEADS, WIDTH, ROPE, INDEX_HEADS, INDEX_WIDTH, SCALE = 4, 16, 8, 3, 24, 0.3
QUERIES, KEYS = 5, 9
Tensors = dict[str, torch.Tensor]


def operands() -> Tensors:
    shapes = {
        "query": (QUERIES, HEADS, WIDTH),
        "key": (KEYS, 1, WIDTH),
        "query_index": (QUERIES, INDEX_HEADS, INDEX_WIDTH),
        "key_index": (KEYS, 1, INDEX_WIDTH),
        "weights": (QUERIES, INDEX_HEADS),
        "query_rope": (QUERIES, HEADS, ROPE),
        "key_rope": (KEYS, 1, ROPE),
    }
    x = {k: torch.randn(s).bfloat16() for k, s in shapes.items()}
    # Probabilities far above 1e-8, below which the formula's gradient is not autograd's.
    return x | {"weights": x["weights"] * 0.2}


def visible(queries: int, keys: int, mode: int = 3) -> torch.Tensor:
    limits = [sparse.causal_limit(mode, keys, queries, i) for i in range(queries)]
    return torch.arange(keys) < torch.tensor(limits)[:, None]


def scores_of(x: Tensors, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scores of the attention [queries, heads, keys] and of the indexer [queries, keys]."""
    query = torch.cat((x["query"], x["query_rope"]), -1).float()
    key = torch.cat((x["key"], x["key_rope"]), -1).float()[:, 0]
    main = (query @ key.T * SCALE).masked_fill(~seen[:, None], -torch.inf)
    index = sparse.index_scores(x["query_index"], x["key_index"][:, 0], x["weights"])
    return main, index.masked_fill(~seen, -torch.inf)


def loss_of(x: Tensors, seen: torch.Tensor) -> torch.Tensor:
    main, index = scores_of(x, seen)
    p = main.softmax(-1).mean(1)
    return (p * (p.clamp(min=1e-8).log() - index.softmax(-1).clamp(min=1e-8).log())).sum()


def statistics(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    largest = scores.amax(-1)
    return largest, (scores - largest[..., None]).exp().sum(-1)


def assert_gradients(got: Any, x: Tensors, seen: torch.Tensor) -> None:
    names = ("query_index", "key_index", "weights")
    leaves = x | {k: x[k].float().requires_grad_() for k in names}
    loss = loss_of(leaves, seen)
    loss.backward()
    torch.testing.assert_close(got[3].cpu(), loss.detach()[None], rtol=1e-3, atol=1e-3)
    for name, card in zip(names, got, strict=False):
        want = leaves[name].grad
        torch.testing.assert_close(
            card.cpu().float().view(want.shape),
            want,
            rtol=2e-2,
            atol=2e-2 * float(want.abs().max()),
        )


@pytest.mark.parametrize("mode", [0, 3])
@pytest.mark.parametrize("layout", ["BSND", "TND"])
def test_the_statistics_of_the_indexers_softmax(layout: str, mode: int) -> None:
    x = operands()
    args = [x[k] for k in ("query_index", "key_index", "weights")]
    kwargs: dict[str, Any] = {"layout": layout, "sparse_mode": mode}
    if layout == "BSND":
        args = [a[None] for a in args]
    else:
        kwargs |= {"actual_seq_qlen": [QUERIES], "actual_seq_klen": [KEYS]}
    got = torch_npu_sim.npu_dense_lightning_indexer_softmax_lse(*on_npu(args), **kwargs)
    want = statistics(scores_of(x, visible(QUERIES, KEYS, mode))[1])
    for card, cpu in zip(got, want, strict=True):
        assert card.shape == ((1, 1, QUERIES) if layout == "BSND" else (1, QUERIES))
        torch.testing.assert_close(card.cpu().flatten(), cpu, rtol=1e-4, atol=1e-4)
    assert_meta_agrees(torch.ops.npu.npu_dense_lightning_indexer_softmax_lse, *args, **kwargs)


@pytest.mark.parametrize("layout", ["BSND", "TND"])
def test_the_dense_loss_and_its_gradients(layout: str) -> None:
    x, seen = operands(), visible(QUERIES, KEYS)
    main, index = scores_of(x, seen)
    stats = [s[None] for s in statistics(main)]
    index_stats = [s[None] for s in statistics(index)]
    kwargs: dict[str, Any] = {"layout": layout}
    names = ("query", "key", "query_index", "key_index", "weights")
    args = [x[k] for k in names]
    ropes = {k: x[k] for k in ("query_rope", "key_rope")}
    if layout == "BSND":
        args, ropes = [a[None] for a in args], {k: v[None] for k, v in ropes.items()}
        stats, index_stats = ([s[None] for s in each] for each in (stats, index_stats))
    else:
        kwargs |= {"actual_seq_qlen": [QUERIES], "actual_seq_klen": [KEYS]}
    args += [*stats, *index_stats, SCALE]
    op = torch_npu_sim.npu_dense_lightning_indexer_grad_kl_loss
    assert_gradients(op(*on_npu(args), **on_npu(ropes), **kwargs), x, seen)
    assert_meta_agrees(
        torch.ops.npu.npu_dense_lightning_indexer_grad_kl_loss, *args, **ropes, **kwargs
    )


def test_the_sparse_loss_looks_at_the_chosen_keys() -> None:
    x = operands()
    indices = torch.stack([torch.randperm(KEYS)[:4] for _ in range(QUERIES)]).int()
    chosen = torch.zeros(QUERIES, KEYS, dtype=torch.bool).scatter(1, indices.long(), True)
    chosen[:, 0] = True
    indices = torch.cat((torch.full((QUERIES, 1), 0), indices.masked_fill(indices == 0, 1)), 1)
    chosen = torch.zeros(QUERIES, KEYS, dtype=torch.bool).scatter(1, indices, True)
    rows = [sorted(set(r)) for r in indices.tolist()]
    padded = torch.tensor([r + [-1] * (5 - len(r)) for r in rows]).int()
    stats = [s[None, None] for s in statistics(scores_of(x, chosen)[0])]
    got = torch_npu_sim.npu_sparse_lightning_indexer_grad_kl_loss(
        *on_npu([x[k][None] for k in ("query", "key", "query_index", "key_index", "weights")]),
        padded[None, :, None].npu(),
        *on_npu(stats),
        SCALE,
        query_rope=x["query_rope"][None].npu(),
        key_rope=x["key_rope"][None].npu(),
        sparse_mode=0,
    )
    assert_gradients(got, x, chosen)


def test_statistics_of_another_shape_are_named() -> None:
    x = operands()
    args = [x[k][None] for k in ("query", "key", "query_index", "key_index", "weights")]
    stats = torch.ones(1, 1, QUERIES)
    with pytest.raises(ValueError, match=r"softmax_max and softmax_sum of \[1, 1, 5, 4\]"):
        torch_npu_sim.npu_dense_lightning_indexer_grad_kl_loss(
            *on_npu(args), *on_npu([stats] * 4), SCALE
        )
