"""Training attention in plain torch: all scores of one sequence at once, in the dtype given.

Source: op-plugin@517f2e7d, documentation and tests of npu_fusion_attention; ops-transformer,
aclnnFlashAttentionScoreV2 (pse_type).
"""

from dataclasses import dataclass

import torch

__all__ = ["Attended", "attend", "from_heads", "slope_bias", "to_heads", "visible"]


@dataclass(frozen=True)
class Attended:
    """Results of one sequence.

    Attributes:
        out: [heads, queries, value width], zeros where no key is seen.
        greatest: [heads, queries], the greatest score (the sink is one), -inf without any.
        total: [heads, queries], the sum of exp(score - greatest), 0 without any.
    """

    out: torch.Tensor
    greatest: torch.Tensor
    total: torch.Tensor


def visible(  # noqa: PLR0913
    mode: int,
    queries: int,
    keys: int,
    pre: int = 1 << 31,
    following: int = 1 << 31,
    prefix: int = 0,
) -> torch.Tensor:
    """Returns what sparse_mode leaves of the scores, [queries, keys] of bool.

    Modes 7 and 8 are those of the sequence that is a band; give the others 3 and 2.
    """
    i, j = torch.arange(queries)[:, None], torch.arange(keys)[None]
    from_the_end = i + keys - queries
    if mode == 0:
        return (j >= i - pre) & (j <= i + following)
    if mode == 2:
        return j <= i
    if mode in (3, 5, 6):
        return (j <= from_the_end) | (j < prefix)
    if mode in (4, 7, 8):
        return (j >= from_the_end - pre) & (j <= from_the_end + following)
    return torch.ones(queries, keys, dtype=torch.bool)


def slope_bias(slopes: torch.Tensor, queries: int, keys: int, shift: int = 0) -> torch.Tensor:
    """Returns -slope |i + shift - j| of pse_type 2: slopes [heads] -> [heads, queries, keys]."""
    distance = (torch.arange(queries)[:, None] + shift - torch.arange(keys)).abs()
    return -slopes[:, None, None] * distance


def attend(  # noqa: PLR0913
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    scale: float,
    bias: torch.Tensor | None = None,
    sink: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
) -> Attended:
    """Attends to all keys at once.

    Args:
        query: [heads, queries, width].
        key: [key heads, keys, width].
        value: [key heads, keys, value width].
        scale: factor of the products.
        seen: broadcasts to [heads, queries, keys].
        bias: added to the scaled scores.
        sink: [heads], a further score without a value.
        kept: what the weights are multiplied by, [heads, queries, keys].
    """
    group = query.shape[0] // key.shape[0]
    key, value = (x.repeat_interleave(group, 0) for x in (key, value))
    scores = query @ key.mT * scale
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~seen, -torch.inf)
    if sink is not None:
        scores = torch.cat((scores, sink[:, None, None].expand(*scores.shape[:2], 1)), -1)
    none = scores.isneginf().all(-1, keepdim=True)
    greatest = (
        scores.amax(-1) if scores.shape[-1] else scores.new_full(scores.shape[:2], -torch.inf)
    )
    raised = (scores - greatest.masked_fill(none[..., 0], 0)[..., None]).exp()
    total = raised.sum(-1)
    weights = (raised / total.masked_fill(none[..., 0], 1)[..., None])[..., : key.shape[1]]
    return Attended((weights if kept is None else weights * kept) @ value, greatest, total)


def to_heads(x: torch.Tensor, layout: str, heads: int) -> torch.Tensor:
    """Returns [batch, heads, tokens, width] of a tensor in `layout`; TND is one batch."""
    if layout == "TND":
        return x.transpose(0, 1)[None]
    if layout in ("BSH", "SBH"):
        x = x.reshape(*x.shape[:-1], heads, -1)
    axes = {"BSH": (0, 2, 1, 3), "SBH": (1, 2, 0, 3), "BSND": (0, 2, 1, 3), "BNSD": (0, 1, 2, 3)}
    return x.permute(axes[layout])


def from_heads(x: torch.Tensor, layout: str) -> torch.Tensor:
    """Returns the tensor in `layout` of [batch, heads, tokens, width]."""
    if layout == "TND":
        return x[0].transpose(0, 1).contiguous()
    axes = {"BSH": (0, 2, 1, 3), "SBH": (2, 0, 1, 3), "BSND": (0, 2, 1, 3), "BNSD": (0, 1, 2, 3)}
    x = x.permute(axes[layout])
    return (x.flatten(-2) if layout in ("BSH", "SBH") else x).contiguous()
