"""Choice of experts and routing of rows, a token at a time."""

import torch

__all__ = ["finalize_routing", "gating_top_k", "init_routing_v2", "permute", "unpermute"]


def gating_top_k(
    x: torch.Tensor,
    k: int,
    *,
    bias: torch.Tensor | None = None,
    k_group: int = 1,
    group_count: int = 1,
    group_select_mode: int = 0,
    norm_type: int = 0,
    routed_scaling_factor: float = 1.0,
    eps: float = 1e-20,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, experts and scores of `npu_moe_gating_top_k` for x of [tokens, experts], float64.

    Source: documentation of npu_moe_gating_top_k in Ascend/op-plugin.
    """
    logits = x.double()
    if norm_type == 0:
        scores = torch.softmax(logits, -1)
    elif norm_type == 1:
        scores = torch.sigmoid(logits)
    else:
        scores = torch.nn.functional.softplus(logits).sqrt()
    weights, chosen = [], []
    for row in scores:
        wanted = row if bias is None else row + bias.double()
        if group_count > 1:
            groups = wanted.view(group_count, -1).tolist()
            counted = 2 if group_select_mode == 1 else 1
            worth = [sum(sorted(group, reverse=True)[:counted]) for group in groups]
            kept = sorted(range(group_count), key=lambda g: -worth[g])[:k_group]
            size = len(groups[0])
            for expert in range(len(wanted)):
                if expert // size not in kept:
                    wanted = wanted.clone()
                    wanted[expert] = -torch.inf
        order = sorted(range(len(wanted)), key=lambda e: -wanted[e].item())[:k]
        y = row[order]
        if norm_type != 0:
            y = y / (y.sum() + eps)
        weights.append(y * routed_scaling_factor)
        chosen.append(torch.tensor(order, dtype=torch.int32))
    if not weights:
        return x.new_empty(0, k).double(), torch.empty(0, k, dtype=torch.int32), scores
    return torch.stack(weights), torch.stack(chosen), scores


def init_routing_v2(
    x: torch.Tensor, expert_idx: torch.Tensor, first: int, last: int
) -> tuple[torch.Tensor, list[int], list[int]]:
    """Rows by expert in [first, last), the place of each choice (-1: none), counts of the experts.

    x is [tokens, hidden], expert_idx [tokens, k]; rows past the served ones are zeros.
    """
    k = expert_idx.shape[1]
    flat = expert_idx.flatten().tolist()
    rows = torch.zeros(len(flat), x.shape[1], dtype=x.dtype)
    places, counts, place = [-1] * len(flat), [], 0
    for expert in range(first, last):
        sources = [i for i, chosen in enumerate(flat) if chosen == expert]
        for source in sources:
            rows[place] = x[source // k]
            places[source] = place
            place += 1
        counts.append(len(sources))
    return rows, places, counts


def finalize_routing(
    rows: torch.Tensor, scales: torch.Tensor, places: list[list[int]]
) -> torch.Tensor:
    """Each token's rows by its weights, float64; places is [tokens][k], -1 for a dropped choice."""
    out = torch.zeros(len(places), rows.shape[-1], dtype=torch.float64)
    for token, of_token in enumerate(places):
        for choice, place in enumerate(of_token):
            if place >= 0:
                out[token] += scales[token, choice].double() * rows[place].double()
    return out


def permute(tokens: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens in the order of their experts, and where each choice of [tokens, k] went."""
    k = indices.shape[1]
    order = sorted(range(indices.numel()), key=lambda i: indices.flatten()[i].item())
    places = torch.empty(len(order), dtype=torch.int32)
    for place, source in enumerate(order):
        places[source] = place
    return tokens[[source // k for source in order]], places


def unpermute(permuted: torch.Tensor, places: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """The rows of each token's choices, weighted by probs of [tokens, k] and added."""
    return (permuted[places.long()].view(*probs.shape, -1) * probs.unsqueeze(-1)).sum(1)
