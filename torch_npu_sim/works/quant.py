"""Quantization, and kernels that end with it."""

import torch

from torch_npu_sim.works.call import Call
from torch_npu_sim.works.registry import operator

__all__: list[str] = []

_FOUR_BITS = (40, 41)  # dst_type of fp4 e2m1 and e1m2; 35 and 36 are fp8 e5m2 and e4m3


@operator("dynamic_quant")
def dynamic_quant(call: Call) -> None:
    """int8 with one scale a row, from the row's largest magnitude."""
    x = call.tensor(0)
    columns = x.shape[-1]
    rows = x.numel() // max(columns, 1)
    outs = [call.empty(x.shape, torch.int8), call.empty([rows], torch.float32)]
    # load, convert, abs, largest; load, convert, scale, round, converts to fp16 and to int8, store
    call.rowwise(call.present(), outs, rows=rows, columns=columns, linear=13, passes=2)


@operator("ascend_anti_quant_v2", "ascend_anti_quant")
def anti_quant(call: Call) -> None:
    """(x + offset) * scale, from int8 to 16 bits."""
    x = call.tensor(0)
    dtype = torch.bfloat16 if call.attribute("dst_type", 1) == 27 else torch.float16
    call.elementwise(call.present(), [call.empty(x.shape, dtype)], linear=5)


@operator("ascend_quant_v2", "ascend_quant", "quantize")
def static_quant(call: Call) -> None:
    """X * scale + offset, rounded to int8."""
    x = call.tensor(0)
    call.elementwise(call.present(), [call.empty(x.shape, torch.int8)], linear=5)


@operator("dequant_swiglu_quant")
def dequant_swiglu_quant(call: Call) -> None:
    """Dequantizes [rows, 2 n], multiplies one half by SiLU of the other, quantizes a row."""
    x = call.tensor(0)
    columns = x.shape[-1] // 2
    rows = x.numel() // x.shape[-1]
    outs = [call.empty([rows, columns], torch.int8), call.empty([rows], torch.float32)]
    # dequantize both halves (6), SiLU and product (4), abs, scale, three converts: 15, each with
    # its operands in the scratchpad (two loads or stores), as the measured 28 to 36 cycles say
    call.rowwise(call.present(), outs, rows=rows, columns=columns, linear=42, special=2, passes=2)


@operator("dynamic_mx_quant")
def dynamic_mx_quant(call: Call) -> None:
    """fp8 or fp4 with an E8M0 scale a block of `blocksize` along an axis."""
    x = call.tensor(0)
    block = int(call.attribute("blocksize", 32))
    call.elementwise([x], _mx_outputs(call, x, block), linear=9, elements=x.numel())


@operator("dynamic_mx_quant_with_dual_axis")
def dynamic_mx_quant_dual(call: Call) -> None:
    """The same along the last axis and along the one before it, read once."""
    x = call.tensor(0)
    outs = _mx_outputs(call, x, 32) + _mx_outputs(call, x, 32)
    call.elementwise([x], outs, linear=18, elements=x.numel())


@operator("grouped_dynamic_block_quant", "dynamic_block_quant")
def block_quant(call: Call) -> None:
    """fp8 with an fp32 scale a rectangular block."""
    x = call.tensor(0)
    block = call.attribute("row_block_size", 1) * call.attribute("col_block_size", 128)
    outs = [call.empty(x.shape, torch.uint8), call.empty([-(-x.numel() // block)], torch.float32)]
    call.elementwise(call.present(), outs, linear=7, elements=x.numel())


def _mx_outputs(call: Call, x: torch.Tensor, block: int) -> list[torch.Tensor]:
    four_bits = call.attribute("dst_type", 36) in _FOUR_BITS
    small = (x.numel() + 1) // 2 if four_bits else x.numel()
    return [call.empty([small], torch.uint8), call.empty([-(-x.numel() // block)], torch.uint8)]
