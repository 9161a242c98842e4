"""The extension operators of DeepSeek-V4 clients in plain torch, token by token, in fp32."""

import math

import torch

__all__ = [
    "compressed_keys",
    "hc_post",
    "hc_pre",
    "hifloat8",
    "index_choice",
    "indexer_row",
    "packed_key",
    "partial_rotary",
    "rotate_pairs",
    "shared_attention",
    "swiglu",
    "to_hifloat8",
    "unpacked_key",
]

_LARGEST = {torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}


def hc_pre(
    x: torch.Tensor,
    fn: torch.Tensor,
    scale: torch.Tensor,
    base: torch.Tensor,
    iterations: int = 20,
    norm_eps: float = 1e-6,
    eps: float = 1e-6,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gates of hyper-connections.

    x [..., streams, width], fn [streams (streams + 2), streams width], scale [3], base
    [streams (streams + 2)] -> y [..., width] in x's dtype, post [..., streams] and comb
    [..., streams, streams] in fp32. fn loses all but 10 bits of its mantissa, as on the cube.
    """
    n = x.shape[-2]
    flat = x.double().flatten(-2)
    cut = (fn.view(torch.int32) >> 13 << 13).view(torch.float32).double()
    mix = flat @ cut.T / torch.sqrt(flat.pow(2).mean(-1, keepdim=True) + norm_eps)
    pre = torch.sigmoid(mix[..., :n] * scale[0] + base[:n]) + eps
    post = 2 * torch.sigmoid(mix[..., n : 2 * n] * scale[1] + base[n : 2 * n])
    rest = mix[..., 2 * n :] * scale[2] + base[2 * n :]
    comb = torch.softmax(rest.view(*rest.shape[:-1], n, n), -1)
    comb = comb + eps
    for i in range(2 * iterations - 1):
        comb = comb / (comb.sum(-1 if i % 2 else -2, keepdim=True) + eps)
    y = torch.einsum("...i,...id->...d", pre, x.double())
    return y.to(x.dtype), post.float(), comb.float()


def hc_post(
    x: torch.Tensor, residual: torch.Tensor, post: torch.Tensor, comb: torch.Tensor
) -> torch.Tensor:
    """Mixes x [..., width], residual [..., streams, width] -> streams, in x's dtype."""
    shared = torch.einsum("...j,...d->...jd", post.double(), x.double())
    mixed = torch.einsum("...ij,...id->...jd", comb.double(), residual.double())
    return (shared + mixed).to(x.dtype)


def rotate_pairs(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(x0, x1) of each pair -> (x0 cos - x1 sin, x1 cos + x0 sin)."""
    a, b = x[..., 0::2], x[..., 1::2]
    turned = torch.stack(
        (a * cos[..., 0::2] - b * sin[..., 0::2], b * cos[..., 1::2] + a * sin[..., 1::2]), -1
    )
    return turned.flatten(-2)


def partial_rotary(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, first: int, last: int
) -> torch.Tensor:
    """Returns x [..., width] in fp32 with channels [first, last) rotated as pairs."""
    y = x.float().clone()
    y[..., first:last] = rotate_pairs(y[..., first:last], cos.float(), sin.float())
    return y


def compressed_keys(
    kv: torch.Tensor, score: torch.Tensor, ape: torch.Tensor, coff: int
) -> torch.Tensor:
    """Keys of one whole sequence before norm and rotation.

    kv and score [tokens, coff width], ape [ratio, coff width] -> [tokens // ratio, width].
    """
    ratio, width = ape.shape[0], ape.shape[1] // coff
    keys = []
    for w in range(kv.shape[0] // ratio):
        tokens = [(t, slice(-width, None)) for t in range(w * ratio, (w + 1) * ratio)]
        if coff == 2 and w > 0:
            tokens += [(t, slice(0, width)) for t in range((w - 1) * ratio, w * ratio)]
        weights = torch.stack([score[t, c] + ape[t % ratio, c] for t, c in tokens]).softmax(0)
        keys.append((weights * torch.stack([kv[t, c] for t, c in tokens])).sum(0))
    return torch.stack(keys) if keys else kv.new_zeros(0, width)


def shared_attention(
    q: torch.Tensor,
    own: torch.Tensor,
    compressed: torch.Tensor,
    sinks: torch.Tensor | None,
    scale: float,
    chosen: list[list[int]] | None = None,
    ratio: int = 4,
    before: int = 127,
) -> torch.Tensor:
    """One sequence's last queries: q [queries, heads, width], own [tokens, width] keys.

    A query sees the `before` keys before its own, and of `compressed` [keys, width] those of tokens
    up to its own, or the `chosen` of these. Returns fp32 [queries, heads, width].
    """
    outs = []
    for i, query in enumerate(q.double()):
        position = own.shape[0] - q.shape[0] + i
        seen = [own[j] for j in range(max(0, position - before), position + 1)]
        limit = (position + 1) // ratio
        picks = range(limit) if chosen is None else [j for j in chosen[i] if 0 <= j < limit]
        seen += [compressed[j] for j in picks if compressed.shape[0]]
        keys = torch.stack(seen).double()
        logits = query @ keys.T * scale
        if sinks is not None:
            logits = torch.cat([logits, sinks.double()[:, None]], 1)
        outs.append(logits.softmax(1)[:, : len(seen)] @ keys)
    return torch.stack(outs).float()


def index_choice(
    q: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor, tokens: int, ratio: int, count: int
) -> torch.Tensor:
    """Chosen keys of one sequence's last queries.

    q [queries, heads, width], keys [keys, width], weights [queries, heads] -> int32
    [queries, count], by falling score, -1 where there are too few.
    """
    out = torch.full((q.shape[0], count), -1, dtype=torch.int32)
    for i in range(q.shape[0]):
        limit = (tokens - q.shape[0] + i + 1) // ratio
        scores = (weights[i, :, None] * (q[i] @ keys[:limit].T).relu()).sum(0)
        order = torch.argsort(scores, descending=True, stable=True)[:count]
        out[i, : order.numel()] = order.int()
    return out


def _power_above(scale: float) -> tuple[float, int]:
    """The least power of two that is not below, and its E8M0 code."""
    if scale == 0:
        return 0.0, 0
    mantissa, exponent = math.frexp(scale)
    exponent -= mantissa == 0.5
    return 2.0**exponent, exponent + 127


def packed_key(x: torch.Tensor, dtype: torch.dtype, tile: int = 64, rope: int = 64) -> torch.Tensor:
    """A row of bf16 values as bytes: [rope, codes, an E8M0 scale a tile]."""
    latent, turned = x[:-rope].float(), x[-rope:]
    codes, scales = [], []
    for part in torch.split(latent, tile):
        largest = torch.tensor(max(part.abs().max().item(), 1e-4), dtype=torch.float32)
        reciprocal = torch.tensor(1 / _LARGEST[dtype], dtype=torch.float32)
        power, code = _power_above((largest * reciprocal).item())
        codes.append((part / power).clamp(-_LARGEST[dtype], _LARGEST[dtype]).to(dtype))
        scales.append(code)
    return torch.cat(
        [
            turned.contiguous().view(torch.uint8),
            torch.cat(codes).view(torch.uint8),
            torch.tensor(scales, dtype=torch.uint8),
        ]
    )


def unpacked_key(row: torch.Tensor, width: int, tile: int = 64, rope: int = 64) -> torch.Tensor:
    """Returns fp32 values of the bytes of `packed_key` in E4M3: [latent, rope]."""
    latent = width - rope
    codes = row[2 * rope : 2 * rope + latent].contiguous().view(torch.float8_e4m3fn).float()
    scales = row[2 * rope + latent : 2 * rope + latent + latent // tile].float()
    powers = torch.exp2(scales - 127).repeat_interleave(tile)
    return torch.cat([codes * powers, row[: 2 * rope].contiguous().view(torch.bfloat16).float()])


def indexer_row(
    x: torch.Tensor, dtype: torch.dtype, powers: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [width] and scales of 128 (fp32, or E8M0 codes) of one row."""
    codes, scales = [], []
    for part in torch.split(x.float(), 128):
        scale = part.abs().max() / _LARGEST[dtype]
        power, code = _power_above(scale.item())
        divisor = power if powers else scale.item()
        values = part / divisor if divisor else torch.zeros_like(part)
        codes.append(values.clamp(-_LARGEST[dtype], _LARGEST[dtype]).to(dtype))
        scales.append(torch.tensor(code, dtype=torch.uint8) if powers else scale)
    return torch.cat(codes), torch.stack(scales)


def swiglu(x: torch.Tensor, limit: float | None = None) -> torch.Tensor:
    """Returns silu(a) b in fp32 over the halves a, b of the last axis, clamped first."""
    a, b = x.float().chunk(2, -1)
    if limit is not None:
        a, b = a.clamp(max=limit), b.clamp(-limit, limit)
    return a * torch.sigmoid(a) * b


def _hifloat8_value(code: int) -> float:
    sign = -1.0 if code & 0x80 else 1.0
    rest = code & 0x7F
    if rest in (0x00, 0x6F):
        return sign * (0.0 if rest == 0 else math.inf) if code != 0x80 else math.nan
    if rest >> 3 == 0b0001:
        return sign * (1 + (rest & 7) / 8)
    if rest >> 3 == 0:
        return sign * 2.0 ** (rest - 23)
    prefixes = ((0b11, 2, 4), (0b10, 2, 3), (0b01, 2, 2), (0b001, 3, 1))
    width, exponents = next((w, e) for dot, w, e in prefixes if rest >> (7 - w) == dot)
    mantissas = 7 - width - exponents
    field = rest >> mantissas & ((1 << exponents) - 1)
    magnitude = (1 << (exponents - 1)) | (field & ((1 << (exponents - 1)) - 1))
    exponent = -magnitude if field >> (exponents - 1) else magnitude
    fraction = (rest & ((1 << mantissas) - 1)) / (1 << mantissas)
    return sign * (1 + fraction) * 2.0**exponent


def _hifloat8_values() -> torch.Tensor:
    return torch.tensor([_hifloat8_value(code) for code in range(256)])


def to_hifloat8(values: torch.Tensor) -> torch.Tensor:
    """Returns fp32 values rounded to the nearest of HiFloat8, ties away from zero."""
    finite = _hifloat8_values().abs()
    steps = torch.unique(finite[finite.isfinite()])
    magnitude = values.float().abs().clamp(max=float(steps[-1]))
    above = torch.searchsorted(steps, magnitude).clamp(1, len(steps) - 1)
    low, high = steps[above - 1], steps[above]
    return torch.where(magnitude - low < high - magnitude, low, high) * values.float().sign()


def hifloat8(codes: torch.Tensor) -> torch.Tensor:
    """Returns fp32 values of HiFloat8 codes in uint8.

    Source: arXiv 2409.16626, "Ascend HiFloat8 Format for Deep Learning", section 3.
    """
    return _hifloat8_values()[codes.long()]
