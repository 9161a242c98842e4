"""Quantisation by its formulas, in plain torch on CPU tensors.

Narrow floats are rounded by torch's own casts or by search in the list of a format's values;
nothing here uses the codecs of the kernels.
"""

import math

import torch

__all__ = [
    "E2M1_VALUES",
    "LARGEST",
    "decode_e2m1",
    "mx_dequantize",
    "mx_quantize",
    "quantize",
    "smooth_by_group",
]

# The values of FP4 E2M1 codes 0 to 7 (OCP Microscaling Formats 1.0, table 5); 8 to 15 negate them.
E2M1_VALUES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]

# The largest finite value, which a scale maps the largest magnitude to.
LARGEST: dict[torch.dtype, float] = {
    torch.int8: 127.0,
    torch.float8_e4m3fn: 448.0,
    torch.float8_e5m2: 57344.0,
}


def quantize(
    values: torch.Tensor, axes: tuple[int, ...], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes in `dtype` and the fp32 scales that elements along `axes` share (kept as ones).

    scale = max |values| / LARGEST; codes = values / scale, to the nearest, ties to even. Elements
    whose scale is 0 have codes of 0.
    Source: npu_dynamic_quant in the documentation of Ascend/op-plugin.
    """
    values = values.float()
    scale = values.abs().amax(axes, keepdim=True) / LARGEST[dtype]
    ratio = torch.where(scale == 0, torch.zeros(()), values / scale)
    ratio = ratio.clamp(-LARGEST[dtype], LARGEST[dtype])
    return (ratio.round() if dtype == torch.int8 else ratio).to(dtype), scale


def smooth_by_group(values: torch.Tensor, smooth: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Multiplies rows ends[g - 1] .. ends[g] of `values` [rows, columns] by smooth[g] [columns]."""
    result, first = values.float().clone(), 0
    for group, end in enumerate(ends.tolist()):
        if end > first:
            result[first:end] *= smooth[group].float()
        first = max(first, end)
    return result


def mx_quantize(
    values: torch.Tensor,
    axis: int,
    dtype: torch.dtype | None,
    block: int = 32,
    *,
    round_up: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Elements on the scale of their block, and E8M0 codes of the scales (uint8).

    `dtype` is torch.float8_e4m3fn, torch.float8_e5m2 or None for FP4 E2M1, whose elements are
    answered as values in fp32, not packed. The scale's exponent is floor(log2(max)) less that of
    the element's largest value (OCP Microscaling Formats 1.0, section 6.3), or the least one that
    lets the largest value fit (`round_up`). Scales: pairs of blocks along `axis`, a last axis of 2.
    """
    moved = values.float().movedim(axis, -1)
    columns = moved.shape[-1]
    pairs = math.ceil(math.ceil(columns / block) / 2)
    padded = torch.nn.functional.pad(moved, (0, pairs * 2 * block - columns))
    blocks = padded.reshape(*padded.shape[:-1], pairs * 2, block)
    largest = 6.0 if dtype is None else LARGEST[dtype]
    most = blocks.abs().amax(-1, keepdim=True).double()
    if round_up:
        exponent = torch.ceil(torch.log2(most / largest))
    else:
        exponent = torch.floor(torch.log2(most)) - math.floor(math.log2(largest))
    exponent = torch.where(most == 0, torch.tensor(-127.0).double(), exponent).clamp(-127, 127)
    ratio = (blocks / torch.exp2(exponent)).clamp(-largest, largest)
    elements = _nearest_e2m1(ratio) if dtype is None else ratio.float().to(dtype).float()
    back = elements.flatten(-2)[..., :columns].movedim(-1, axis)
    scales = (exponent + 127).to(torch.uint8).reshape(*padded.shape[:-1], pairs, 2)
    return (back if dtype is None else back.to(dtype)), scales.movedim(
        -2, values.dim() + axis if axis < 0 else axis
    )


def mx_dequantize(
    elements: torch.Tensor, scales: torch.Tensor, axis: int, block: int = 32
) -> torch.Tensor:
    """The values in fp32 of what `mx_quantize` answered."""
    axis = axis % elements.dim()
    codes = scales.movedim(axis, -2).flatten(-2)
    factors = torch.exp2(codes.double() - 127).repeat_interleave(block, -1)
    moved = elements.float().movedim(axis, -1)
    return (moved * factors[..., : moved.shape[-1]]).float().movedim(-1, axis)


def decode_e2m1(packed: torch.Tensor) -> torch.Tensor:
    """The values of FP4 E2M1 codes, two to a uint8, the first in the low half."""
    table = torch.tensor(E2M1_VALUES + [-value for value in E2M1_VALUES])
    codes = torch.stack([packed & 15, packed >> 4], -1).flatten(-2)
    return table[codes.long()]


def _nearest_e2m1(values: torch.Tensor) -> torch.Tensor:
    """The nearest E2M1 value; of two equally near ones that with the even code."""
    table = torch.tensor(E2M1_VALUES).double()
    distance = (values.abs().double().unsqueeze(-1) - table).abs()
    # Odd codes lose a tie, as if they lay a little further away.
    odd = torch.arange(8) % 2 * 1e-12
    return torch.copysign(table[(distance + odd).argmin(-1)].float(), values.float())
