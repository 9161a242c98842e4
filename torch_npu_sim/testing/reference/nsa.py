"""Native and block sparse attention in plain torch, fp64, from masks over all scores.

Source: op-plugin@517f2e7d, goldens of test_npu_nsa_*.py and test_npu_block_sparse_attention.py.
"""

import torch

__all__ = ["block_mask", "compressed", "importance", "masked_attention", "selected_mask"]


def compressed(tokens: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """Returns windows of one sequence [tokens, heads, width] summed by weight [block, heads]."""
    block = weight.shape[0]
    if tokens.shape[0] < block:
        return tokens[:0]
    windows = tokens.unfold(0, block, stride)  # [windows, heads, width, block]
    return torch.einsum("nhdb,bh->nhd", windows, weight)


def selected_mask(indices: torch.Tensor, block: int, keys: int) -> torch.Tensor:
    """Returns which keys the blocks `indices` [..., count] hold: [..., keys] of bool."""
    return (torch.arange(keys) // block == indices[..., None]).any(-2)


def block_mask(marks: torch.Tensor, shape: list[int], queries: int, keys: int) -> torch.Tensor:
    """Returns marks [heads, query blocks, key blocks] as a mask [heads, queries, keys]."""
    wide = marks.repeat_interleave(shape[0], 1).repeat_interleave(shape[1], 2)
    return wide[:, :queries, :keys].bool()


def masked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns softmax(scale q k^T) v and its lse.

    query [heads, queries, width], key [kv heads, keys, width], seen [heads, queries, keys]. A query
    that sees nothing gets 0.
    """
    shared = query.shape[0] // key.shape[0]
    key, value = (x.repeat_interleave(shared, 0) for x in (key, value))
    scores = (query @ key.mT * scale).masked_fill(~seen, -torch.inf)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.masked_fill(lse == -torch.inf, 0)[..., None]).exp()
    return weights @ value, lse


def importance(
    weights: torch.Tensor, window: int, stride: int, block: int, count: int
) -> torch.Tensor:
    """Returns scores of `count` blocks from weights [rows, windows], by the double sum."""
    found = torch.zeros(weights.shape[0], count, dtype=weights.dtype)
    for j in range(count):
        for m in range(block // stride):
            for n in range(window // stride):
                index = block // stride * (j + 1) - m - n
                if 0 <= index < weights.shape[1]:
                    found[:, j] += weights[:, index]
    return found
