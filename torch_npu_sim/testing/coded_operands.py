"""Operands of grouped products in every format: codes, and the values that they stand for."""

import math
from dataclasses import dataclass
from typing import Any

import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import grouped, quant

__all__ = [
    "E2M1",
    "E8M0",
    "HIFLOAT8",
    "Coded",
    "assert_near",
    "by_rows",
    "coded",
    "e8m0",
    "grouped_matmul",
    "mx_scales",
    "turned",
]

E8M0, HIFLOAT8, E2M1 = 293, 290, 296


@dataclass
class Coded:
    """Codes as an operator takes them, their values (fp64), and the dtype argument (None: none)."""

    codes: torch.Tensor
    values: torch.Tensor
    dtype: int | None = None

    def __post_init__(self) -> None:
        """Widens the values, which may come in any dtype."""
        self.values = self.values.double()


def coded(form: str, *shape: int) -> Coded:
    """Random codes of `form`; the last axis is packed where codes have 4 bits."""
    if form == "int8":
        # Small enough that sums of a few hundred products fit float16.
        codes = torch.randint(-24, 25, shape, dtype=torch.int8)
        return Coded(codes, codes)
    if form == "int4":
        packed = torch.randint(-(2**31), 2**31 - 1, (*shape[:-1], shape[-1] // 8))
        packed = packed.to(torch.int32)
        return Coded(packed, grouped.decode_int4(packed))
    if form == "hifloat8":
        # Exponent 0: sign, 0001, three bits of fraction.
        fraction, negative = torch.randint(8, shape), torch.randint(2, shape)
        codes = (8 + fraction + 128 * negative).to(torch.uint8)
        return Coded(codes, (1 + fraction / 8) * (1 - 2 * negative), HIFLOAT8)
    if form == "e2m1":
        codes = torch.randint(256, (*shape[:-1], shape[-1] // 2), dtype=torch.uint8)
        return Coded(codes, quant.decode_e2m1(codes), E2M1)
    dtype = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}.get(form)
    values = torch.randn(shape)
    if dtype is None:
        wide = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[form]
        return Coded(values.to(wide), values.to(wide))
    return Coded(values.to(dtype), values.to(dtype))


def turned(operand: Coded) -> Coded:
    """The same matrices as transposed views: packed along K, where 4 bits are."""
    return Coded(operand.codes.transpose(-1, -2), operand.values.transpose(-1, -2), operand.dtype)


def e8m0(*shape: int) -> torch.Tensor:
    """Codes of powers of two from 2^-4 to 2^4, a last axis of pairs."""
    return torch.randint(123, 132, (*shape, 2), dtype=torch.uint8)


def mx_scales(groups: int, m: int, n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes for x [m, k] and weight [groups, k, n]."""
    pairs = math.ceil(k / 64)
    return e8m0(m, pairs), e8m0(groups, pairs, n)


def assert_near(got: torch.Tensor, want: torch.Tensor) -> None:
    """Equal within one rounding of the dtype of `got`, relative to the largest value."""
    assert got.shape == want.shape
    step = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 2e-6}[got.dtype]
    largest = max(float(want.abs().max()), 1e-6) if want.numel() else 1.0
    difference = (got.cpu().double() - want.double()).abs()
    assert (difference <= step * (want.double().abs() + largest / 4)).all(), difference.max()


def grouped_matmul(x: Any, weight: Any, **call: Any) -> list[torch.Tensor]:
    """npu_grouped_matmul on npu; tensors of `call` are moved there."""
    results: list[torch.Tensor] = torch_npu_sim.npu_grouped_matmul(
        *on_npu((x, weight)), **on_npu(call)
    )
    return results


def by_rows(sizes: list[int], kind: int = 1, **call: Any) -> dict[str, Any]:
    """The arguments of groups of rows with one result."""
    groups = grouped.group_list(sizes, kind)
    return {"group_list": groups, "group_list_type": kind, "group_type": 0, "split_item": 3} | call
