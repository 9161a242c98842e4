"""Choice of experts and routing of rows, a token at a time."""

import math

import torch

from torch_npu_sim.testing.reference import quant

__all__ = [
    "combine",
    "dispatch",
    "finalize_routing",
    "gating_top_k",
    "init_routing_v2",
    "permute",
    "permute_with_routing_map",
    "routed_codes",
    "unpermute",
    "unpermute_with_routing_map",
    "update_expert",
]


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


def routed_codes(
    rows: torch.Tensor, mode: int, scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Codes and scales of routed rows [rows, hidden] by quant_mode 1 to 5, 9 and 11 to 17.

    `scale` (modes 1 and 13) is a factor for each element. FP4 codes come as their values.
    Source: test_npu_moe_init_routing_v2.py and the operator's documentation in Ascend/op-plugin.
    """
    if mode in (1, 13):
        largest = 127 if mode == 1 else 7
        values = rows.float() if scale is None else rows.float() * scale
        factor = values.abs().amax(1, keepdim=True) / largest
        ratio = torch.where(factor == 0, torch.zeros(()), values / factor)
        return ratio.round().clamp(-largest - 1, largest).to(torch.int8), factor.squeeze(1)
    if mode == 9:
        return quant.mx_quantize(rows, -1, None)
    dtype = torch.float8_e5m2 if mode in (2, 4, 11, 14, 16) else torch.float8_e4m3fn
    size = 32 if mode in (2, 3, 16, 17) else 128
    padded = torch.nn.functional.pad(rows.float(), (0, -rows.shape[1] % size))
    blocks = padded.reshape(len(rows), padded.shape[1] // size, size)
    most = blocks.abs().amax(2)
    if size == 32 and rows.dtype == torch.float16:
        mantissa, exponent = torch.frexp(most)
        most = torch.ldexp((mantissa * 256).floor() / 256, exponent)
    if mode in (14, 15, 16, 17):
        most = most.clamp_min(1e-4)
    factor = most / quant.LARGEST[dtype]
    if mode not in (11, 12):
        mantissa, exponent = torch.frexp(factor)
        power = torch.exp2((exponent - (mantissa == 0.5).int()).float())
        factor = torch.where(factor == 0, torch.zeros(()), power)
    ratio = torch.where(factor.unsqueeze(2) == 0, torch.zeros(()), blocks / factor.unsqueeze(2))
    codes = ratio.clamp(-quant.LARGEST[dtype], quant.LARGEST[dtype]).to(dtype).flatten(1)
    if size == 32:
        exponents = torch.where(factor == 0, torch.zeros(()), torch.log2(factor) + 127)
        factor = exponents.to(torch.uint8)
    if mode not in (4, 5, 14, 15) and factor.shape[1] % 2 == 1:
        factor = torch.nn.functional.pad(factor, (0, 1))
    if mode in (11, 12):
        factor = factor.reshape(len(factor), factor.shape[1] // 2, 2)
    return codes[:, : rows.shape[1]], factor


def permute_with_routing_map(
    tokens: torch.Tensor, routing_map: torch.Tensor, capacity: int | None = None
) -> list[tuple[int, int]]:
    """The (token, expert) behind each row, expert by expert; routing_map is [tokens, experts].

    With a `capacity` every expert has so many rows, its own tokens first, then others.
    """
    rows = []
    for expert in range(routing_map.shape[1]):
        mine = [t for t in range(len(tokens)) if routing_map[t, expert]]
        if capacity is not None:
            mine = (mine + [t for t in range(len(tokens)) if t not in mine])[:capacity]
        rows += [(token, expert) for token in mine]
    return rows


def unpermute_with_routing_map(
    permuted: torch.Tensor,
    rows: list[tuple[int, int]],
    tokens: int,
    probs: torch.Tensor | None = None,
) -> torch.Tensor:
    """Adds up rows [rows, hidden] by token, each times its probs [tokens, experts], float64."""
    out = torch.zeros(tokens, permuted.shape[1], dtype=torch.float64)
    for row, (token, expert) in zip(permuted.double(), rows, strict=True):
        out[token] += row if probs is None else row * probs[token, expert].double()
    return out


def update_expert(
    ids: torch.Tensor, table: torch.Tensor, rank: int, cards: int, mode: int
) -> torch.Tensor:
    """Places of chosen experts [tokens, k]; table is [experts, 1 + places], the count first.

    Source: test_moe_update_expert.py in Ascend/op-plugin.
    """
    out = torch.empty_like(ids)
    for token in range(ids.shape[0]):
        for choice in range(ids.shape[1]):
            row = table[ids[token, choice]].tolist()
            turn = token % row[0] if mode == 1 else rank // math.ceil(cards / row[0])
            out[token, choice] = row[1 + turn]
    return out


def dispatch(
    ids: torch.Tensor, experts: int, active: torch.Tensor
) -> tuple[list[tuple[int, int]], list[int]]:
    """The (token, choice) behind each row on a card alone, by expert, and the experts' counts.

    `ids` and `active` are [tokens, k]; experts from `experts` on are nobody's.
    """
    rows, counts = [], []
    for expert in range(experts):
        mine = [
            (token, choice)
            for token in range(ids.shape[0])
            for choice in range(ids.shape[1])
            if active[token, choice] and ids[token, choice] == expert
        ]
        rows += mine
        counts.append(len(mine))
    return rows, counts


def combine(
    expanded: torch.Tensor, rows: list[tuple[int, int]], weights: torch.Tensor
) -> torch.Tensor:
    """Adds up rows of experts by token, times weights of [tokens, k], float64."""
    out = torch.zeros(weights.shape[0], expanded.shape[1], dtype=torch.float64)
    for row, (token, choice) in zip(expanded, rows, strict=False):
        out[token] += weights[token, choice].double() * row.double()
    return out
