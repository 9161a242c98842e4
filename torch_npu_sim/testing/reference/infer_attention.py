"""Inference attention in plain torch, fp64: one sequence at a time, whole score matrices.

Operands are heads first: `query` [heads, queries, width], `key` [kv heads, keys, width].
Source: op-plugin@517f2e7d, docs of npu_fused_infer_attention_score(_v2).
"""

import torch

__all__ = ["attend", "laid_out", "paged", "visible"]

_LAYOUTS = {
    "BSH": (0, 2, 1, 3),
    "BSND": (0, 2, 1, 3),
    "BNSD": (0, 1, 2, 3),
    "NBSD": (1, 0, 2, 3),
}


def visible(mode: int, queries: int, keys: int, pre: int, after: int) -> torch.Tensor:
    """Returns which key each query may see by its place, [queries, keys] of bool.

    Modes: 0 a band from the first corner, 1 all, 2 causal from the first corner, 3 causal to the
    last corner, 4 a band to the last corner.
    """
    rows, columns = torch.arange(queries)[:, None], torch.arange(keys)[None]
    diagonal = rows + (keys - queries if mode in (3, 4) else 0)
    lower = columns >= diagonal - pre if mode in (0, 4) else torch.ones(queries, keys).bool()
    if mode == 1:
        return lower
    return lower & (columns <= diagonal + (after if mode in (0, 4) else 0))


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    *,
    seen: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns softmax(scale q k^T + bias) v [heads, queries, width] and its lse [heads, queries].

    `seen` [queries, keys], `bias` [heads, queries, keys], `sinks` [heads]: a score without a value.
    A query without keys gets 0 and an lse of infinity.
    """
    shared = query.shape[0] // key.shape[0]
    key, value = (x.double().repeat_interleave(shared, 0) for x in (key, value))
    scores = query.double() @ key.mT * scale
    if bias is not None:
        scores = scores + bias.double()
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    if sinks is not None:
        column = sinks.double()[:, None, None].expand(-1, scores.shape[1], 1)
        scores = torch.cat((scores, column), -1)
    lse = scores.logsumexp(-1) if scores.shape[-1] else torch.full(scores.shape[:2], -torch.inf)
    weights = (scores - lse[..., None]).exp().nan_to_num(0)[..., : key.shape[1]]
    return weights @ value, lse.masked_fill(lse == -torch.inf, torch.inf)


def laid_out(dense: torch.Tensor, layout: str) -> torch.Tensor:
    """Returns `dense` [batch, heads, tokens, width] in a layout; of those with T a batch of one."""
    if layout in ("TND", "NTD", "NSD"):
        one: torch.Tensor = dense.squeeze(0)
        return (one.transpose(0, 1) if layout == "TND" else one).contiguous()
    turned: torch.Tensor = dense.permute(_LAYOUTS[layout]).contiguous()
    return turned.flatten(2) if layout == "BSH" else turned


def paged(
    sequences: list[torch.Tensor], table: torch.Tensor, block: int, blocks: int, form: str
) -> torch.Tensor:
    """Returns sequences [heads, tokens, width] in the pages that `table` names.

    Forms: BBH [blocks, block, heads * width], BNBD [blocks, heads, block, width] and NZ [blocks,
    heads, width / piece, block, piece] with pieces of 32 bytes.
    """
    heads, _, width = sequences[0].shape
    cache = torch.zeros(blocks, heads, block, width, dtype=torch.float32).to(sequences[0].dtype)
    for tokens, pages in zip(sequences, table.tolist(), strict=True):
        for i in range(-(-tokens.shape[1] // block)):
            part = tokens[:, i * block : (i + 1) * block]
            cache[pages[i], :, : part.shape[1]] = part
    if form == "BNBD":
        return cache
    if form == "BBH":
        return cache.transpose(1, 2).flatten(2).contiguous()
    piece = 32 // cache.element_size()
    pieces = cache.reshape(blocks, heads, block, width // piece, piece)
    return pieces.transpose(2, 3).contiguous()
