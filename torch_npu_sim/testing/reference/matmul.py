"""Products of quantised operands by their formulas, in float64 on CPU tensors.

Operands are decoded by tables, and their scales are spread over every element before one plain
product; the kernels scale sums instead.
"""

import math
import struct

import torch

from torch_npu_sim.testing.reference.quant import E2M1_VALUES

__all__ = [
    "hifloat8_values",
    "nibbles",
    "packed_factor",
    "packed_offset",
    "product",
    "spread",
    "values",
]


def values(codes: torch.Tensor, kind: str) -> torch.Tensor:
    """What codes of int8, fp8, hif8, int4 or fp4 stand for; four bits are packed at the end."""
    if kind == "hif8":
        return hifloat8_values()[codes.view(torch.uint8).long()]
    if kind == "int4":
        low = nibbles(codes)
        return torch.where(low > 7, low - 16, low).double()
    if kind == "fp4":
        table = torch.tensor(E2M1_VALUES + [-value for value in E2M1_VALUES]).double()
        return table[nibbles(codes)]
    return codes.to(torch.float32).double()


def nibbles(codes: torch.Tensor) -> torch.Tensor:
    """The codes of four bits in the bytes of `codes`, lowest bits first; the last axis grows."""
    data = codes.contiguous().view(torch.uint8).long()
    return torch.stack([data & 15, data >> 4], -1).flatten(-2)


def hifloat8_values() -> torch.Tensor:
    """The values of the 256 codes of HiFloat8, [256] (arXiv 2409.16626, tables 2 and 3)."""
    return torch.tensor([_hifloat8(code) for code in range(256)], dtype=torch.float64)


def spread(scale: torch.Tensor, axis: int, block: int, size: int) -> torch.Tensor:
    """The scale of each of `size` elements along `axis` from those of blocks."""
    return scale.double().repeat_interleave(block, axis).narrow(axis, 0, size)


def product(
    a: torch.Tensor,
    b: torch.Tensor,
    a_scale: torch.Tensor | float = 1.0,
    b_scale: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """(a * a_scale) @ (b * b_scale) for a [.., m, k] and b [.., k, n], float64."""
    return (a.double() * a_scale) @ (b.double() * b_scale)


def packed_factor(scale: float, *, rounds: bool = False) -> float:
    """`scale` as the output pipe knows it: 19 bits of an fp32, truncated, or rounded to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", scale))
    if rounds:
        step, rest = divmod(bits, 1 << 13)
        up = rest > 1 << 12 or (rest == 1 << 12 and step % 2 == 1)
        bits = (step + up) << 13
    (value,) = struct.unpack("<f", struct.pack("<I", bits & 0xFFFFE000))
    return float(value)


def packed_offset(offset: float) -> int:
    """`offset` rounded to even and clamped to nine bits with a sign."""
    return max(-256, min(255, round(offset)))


def _hifloat8(code: int) -> float:
    sign = -1.0 if code & 0x80 else 1.0
    rest = code & 0x7F
    if rest == 0:
        return 0.0 if sign > 0 else math.nan
    if rest == 0x6F:
        return sign * math.inf
    bits = f"{rest:07b}"
    if bits.startswith("0000"):
        return sign * 2.0 ** (rest - 23)
    for prefix, width in (("0001", 0), ("001", 1), ("01", 2), ("10", 3), ("11", 4)):
        if bits.startswith(prefix):
            exponent, mantissa = bits[len(prefix) :][:width], bits[len(prefix) + width :]
            power = 0
            if width:
                power = int("1" + exponent[1:], 2) * (-1 if exponent[0] == "1" else 1)
            return float(sign * 2.0**power * (1 + int(mantissa, 2) / 2 ** len(mantissa)))
    raise AssertionError(code)
