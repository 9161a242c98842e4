"""Activations, norms and groups of rows that end with a quantisation, in plain torch in fp64.

Codes of integers are answered as values, those of the MX formats as `quant.mx_quantize` has them.
"""

import math

import torch

from torch_npu_sim.testing.reference import quant

__all__ = [
    "decode_hifloat8",
    "dequantise_swiglu",
    "gated",
    "gated_grad",
    "hifloat8_values",
    "mx_quantize_groups",
    "nearest_code",
    "pairs_of_int4",
    "rms_norm",
    "rows_of_groups",
]


def gated(
    x: torch.Tensor,
    *,
    left: bool = True,
    dim: int = -1,
    clip: tuple[float, float, float] | None = None,
    interleaved: bool = False,
) -> torch.Tensor:
    """silu(gate) * value of the halves of `x` along `dim`, in fp64.

    `clip` is (limit, alpha, bias): gate = min(gate, limit), value within +-limit, and then
    gate * sigmoid(alpha * gate) * (value + bias). `interleaved`: gate and value in turn.
    Source: npu_dequant_swiglu_quant in the documentation of Ascend/op-plugin.
    """
    x = x.double().movedim(dim, -1)
    half = x.shape[-1] // 2
    if interleaved:
        gate, value = x[..., ::2], x[..., 1::2]
    else:
        gate, value = (x[..., :half], x[..., half:]) if left else (x[..., half:], x[..., :half])
    if clip is None:
        return (gate / (1 + torch.exp(-gate)) * value).movedim(-1, dim)
    limit, alpha, bias = clip
    gate, value = gate.clamp(max=limit), value.clamp(-limit, limit)
    return (gate / (1 + torch.exp(-alpha * gate)) * (value + bias)).movedim(-1, dim)


def gated_grad(x: torch.Tensor, grad: torch.Tensor, *, left: bool = True) -> torch.Tensor:
    """The gradients of `gated` by autograd: that of the gate, then that of the value."""
    parts = [part.double().detach() for part in x.chunk(2, -1)]
    gate, value = parts if left else parts[::-1]
    gate.requires_grad_()
    value.requires_grad_()
    torch.autograd.backward(torch.nn.functional.silu(gate) * value, grad.double())
    assert gate.grad is not None and value.grad is not None
    return torch.cat([gate.grad, value.grad], -1)


def rows_of_groups(ends: list[int], rows: int) -> list[int]:
    """The group of each row, -1 for a row behind all groups."""
    groups = [-1] * rows
    for group in reversed(range(len(ends))):
        first = 0 if group == 0 else ends[group - 1]
        groups[first : ends[group]] = [group] * (ends[group] - first)
    return groups


def dequantise_swiglu(
    x: torch.Tensor,
    groups: list[int],
    weight_scale: torch.Tensor,
    activation_scale: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """int32 `x` [rows, 2 H] times weight_scale [groups, 2 H] and activation_scale [rows], in fp64.

    An int32 bias [groups, 2 H] is added before the scales, another one after them.
    """
    rows = []
    for row, group in enumerate(groups):
        value = x[row].double()
        if bias is not None and bias.dtype == torch.int32:
            value = value + bias[group]
        value = value * weight_scale[group]
        if activation_scale is not None:
            value = value * activation_scale.flatten()[row]
        if bias is not None and bias.dtype != torch.int32:
            value = value + bias[group]
        rows.append(value)
    return torch.stack(rows)


def mx_quantize_groups(
    values: torch.Tensor,
    ends: list[int],
    dtype: torch.dtype | None,
    *,
    round_up: bool = False,
    dense: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`quant.mx_quantize` of each group of rows of `values` [rows, columns] along the rows.

    Scales [rows // 64 + groups, columns, 2]: those of group g begin at its first row // 64 + g, or
    (`dense`) behind those of the group before. The rest is 0.
    """
    elements = torch.zeros(values.shape, dtype=torch.float32)
    scales = torch.zeros(values.shape[0] // 64 + len(ends), values.shape[1], 2, dtype=torch.uint8)
    first, filled = 0, 0
    for group, end in enumerate(ends):
        if end > first:
            part, scale = quant.mx_quantize(values[first:end], 0, dtype, round_up=round_up)
            elements[first:end] = part.float()
            place = filled if dense else first // 64 + group
            scales[place : place + scale.shape[0]] = scale
            filled += scale.shape[0]
        first = end
    return elements, scales


def rms_norm(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor | None, epsilon: float
) -> torch.Tensor:
    """RMS norm x / sqrt(mean(x^2) + epsilon) * gamma + beta over the last axis, in fp64."""
    x = x.double()
    y = x / (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt() * gamma.double()
    return y if beta is None else y + beta.double()


def pairs_of_int4(codes: torch.Tensor) -> torch.Tensor:
    """The values of int4 codes, two to a byte, the first in the low half."""
    nibbles = torch.stack([codes.view(torch.uint8) & 15, codes.view(torch.uint8) >> 4], -1)
    values = nibbles.flatten(-2).to(torch.int8)
    return torch.where(values > 7, values - 16, values)


def decode_hifloat8(code: int) -> float:
    """The value of a HiFloat8 code by its fields (arXiv 2409.16626, section 3)."""
    sign = -1.0 if code & 0x80 else 1.0
    if code == 0x80:
        return math.nan
    if code & 0x7F == 0x6F:
        return sign * math.inf
    bits = f"{code & 0x7F:07b}"
    for prefix, exponent_bits in (("11", 4), ("10", 3), ("01", 2), ("001", 1), ("0001", 0)):
        if bits.startswith(prefix):
            field = bits[len(prefix) : len(prefix) + exponent_bits]
            mantissa = bits[len(prefix) + exponent_bits :]
            exponent = 0
            if field:
                exponent = int("1" + field[1:], 2) * (-1 if field[0] == "1" else 1)
            return float(sign * 2.0**exponent * (1 + int(mantissa, 2) / 2 ** len(mantissa)))
    subnormal = int(bits[4:], 2)
    return 0.0 if subnormal == 0 else sign * 2.0 ** (subnormal - 23)


def hifloat8_values() -> torch.Tensor:
    """The values of all 256 HiFloat8 codes in fp32."""
    return torch.tensor([decode_hifloat8(code) for code in range(256)])


def nearest_code(values: torch.Tensor, table: torch.Tensor, *, ties_away: bool) -> torch.Tensor:
    """Which finite entry of `table` (by code) lies nearest to each value.

    Of two equally near ones that with the larger magnitude (`ties_away`), or with the even code.
    """
    codes = torch.arange(len(table))[table.isfinite()]
    entries = table[codes].double()
    distance = (values.double().unsqueeze(-1) - entries).abs()
    least = distance.amin(-1, keepdim=True)
    rank = entries.abs() if ties_away else (codes % 2 == 0).double()
    return codes[torch.where(distance == least, rank, torch.tensor(-1.0).double()).argmax(-1)]
