"""Linear attention by the gated delta rule, and short causal convolutions, token by token.

Source: docs/zh/custom_APIs/torch_npu of Ascend/op-plugin@517f2e7d, a page an operator.
"""

from collections.abc import Sequence

import torch

__all__ = ["causal_conv1d", "gated_delta_rule", "masked_causal_conv1d"]


def gated_delta_rule(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    state: torch.Tensor,
    scale: float,
    *,
    beta: torch.Tensor | None = None,
    g: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs [T, Nv, Dv] of one sequence and the state after each token, in float64.

    `query` and `key` are [T, Nk, Dk], `value` [T, Nv, Dv], `state` [Nv, Dv, Dk]; `beta` and `g` are
    [T, Nv], `gk` [T, Nv, Dk]. S = a S + b (v - a S k) k^T with a = exp(g) exp(gk); o = S q scale.
    """
    tokens, heads, _ = value.shape
    shared = heads // query.shape[1]
    query, key = (x.double().repeat_interleave(shared, 1) for x in (query, key))
    s, outs, states = state.double(), [], []
    for t in range(tokens):
        decay = torch.ones(heads, query.shape[2], dtype=torch.float64)
        if g is not None:
            decay = decay * g[t].double().exp()[:, None]
        if gk is not None:
            decay = decay * gk[t].double().exp()
        b = torch.ones(heads, dtype=torch.float64) if beta is None else beta[t].double()
        s = s * decay[:, None, :]
        seen = torch.einsum("hvk,hk->hv", s, key[t])
        s = s + torch.einsum("hv,hk->hvk", b[:, None] * (value[t].double() - seen), key[t])
        outs.append(torch.einsum("hvk,hk->hv", s, query[t]) * scale)
        states.append(s)
    return torch.stack(outs), states


def masked_causal_conv1d(
    x: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Depthwise convolution of `x` [S, B, H] with `weight` [W, H] along S, zeros before the start.

    Where `mask` [B, S] is false the output is zero.
    """
    taps = weight.shape[0]
    padded = torch.cat([x.new_zeros(taps - 1, *x.shape[1:]), x])
    y = sum(weight[k] * padded[k : k + x.shape[0]] for k in range(taps))
    assert isinstance(y, torch.Tensor)
    return y if mask is None else y * mask.T[:, :, None]


def causal_conv1d(
    tokens: Sequence[torch.Tensor],
    weight: torch.Tensor,
    lines: Sequence[torch.Tensor],
    *,
    accepted: Sequence[int] | None = None,
    computed: Sequence[int] | None = None,
    residual: bool = False,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and moved cache lines of sequences that each continue from a line of their own.

    A sequence is [L, dim], a line [C, dim]; `weight` is [W, dim]. The last W - 1 tokens of a line
    are the history; with `accepted` tokens, those before and with the last accepted one. A sequence
    of which nothing is `computed` yet has zeros as history.
    """
    history = weight.shape[0] - 1
    outs, moved = [], []
    for i, (x, line) in enumerate(zip(tokens, lines, strict=True)):
        if computed is not None and computed[i] == 0:
            past, offset = torch.zeros_like(line[:history]), 0
        else:
            offset = line.shape[0] - history if accepted is None else accepted[i] - 1
            past = line[: offset + history]
        padded = torch.cat([past, x])
        kept = min(line.shape[0], padded.shape[0])
        moved.append(torch.cat([line[: line.shape[0] - kept], padded[padded.shape[0] - kept :]]))
        window = padded[offset:].float()
        y = sum(weight[k].float() * window[k : k + len(x)] for k in range(history + 1))
        assert isinstance(y, torch.Tensor)
        outs.append((y + x.float() if residual else y).to(x.dtype))
    return outs, moved
