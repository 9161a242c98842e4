"""Sparse (indexed) attention in plain torch, one query at a time.

Sequences are given densely: `query` [tokens, heads, width] of one sequence, `key` [keys, width].
Source: op-plugin@517f2e7d, tests of npu_lightning_indexer and npu_sparse_flash_attention.
"""

import torch

__all__ = ["attend_selected", "causal_limit", "index_scores", "paged", "selected", "top_positions"]


def causal_limit(sparse_mode: int, keys: int, queries: int, index: int) -> int:
    """Returns how many keys query `index` may see: all (mode 0), or right-down causal (mode 3)."""
    return keys if sparse_mode == 0 else max(0, min(keys, keys - queries + index + 1))


def index_scores(query: torch.Tensor, key: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns sum over heads of weights [tokens, heads] times relu(q . k): [tokens, keys], fp32."""
    products = torch.einsum("thd,kd->thk", query.float(), key.float()).relu()
    return (products * weights.float()[..., None]).sum(1)


def top_positions(scores: torch.Tensor, count: int, limit: int) -> list[int]:
    """Returns the `count` best positions below `limit`, best first, padded with -1."""
    order = sorted(range(limit), key=lambda j: (-float(scores[j]), j))[:count]
    return order + [-1] * (count - len(order))


def selected(indices: torch.Tensor, block: int, limit: int) -> list[int]:
    """Returns positions of the blocks that `indices` names up to its first negative one."""
    positions = []
    for index in indices.tolist():
        if index < 0:
            break
        positions += [j for j in range(index * block, (index + 1) * block) if j < limit]
    return positions


def attend_selected(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    positions: list[int],
    scale: float,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Returns softmax(q k^T scale) v of one token: query [heads, width], fp32 [heads, v width]."""
    if not positions:
        return torch.zeros(query.shape[0], value.shape[-1])
    scores = query.float() @ key[positions].float().T * scale
    if sinks is not None:
        scores = torch.cat((scores, sinks[:, None]), 1)
    weights = scores.softmax(-1)[:, : len(positions)]
    return weights @ value[positions].float()


def paged(dense: torch.Tensor, block: int, table: list[int], blocks: int) -> torch.Tensor:
    """Returns `dense` [tokens, ...] cut into pages of `block` tokens, where `table` says."""
    cache = torch.zeros(blocks, block, *dense.shape[1:], dtype=dense.dtype)
    for i, page in enumerate(table):
        part = dense[i * block : (i + 1) * block]
        cache[page, : len(part)] = part
    return cache
