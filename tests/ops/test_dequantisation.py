"""Codes back to values, values times a given scale, and a quantised convolution."""

import itertools
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import matmul, quant

HIF8, FP4, FP4_E1M2, E5M2, E4M3 = 290, 296, 297, 291, 292
HALVES = [torch.float16, torch.bfloat16]


def codes_of(kind: str, *shape: int) -> torch.Tensor:
    if kind == "int8":
        return torch.randint(-128, 128, shape, dtype=torch.int8)
    if kind == "int4":
        return torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).to(torch.int32)
    if kind == "hif8":
        return torch.randint(0x08, 0x58, shape, dtype=torch.uint8)
    return torch.randn(shape).to(torch.float8_e4m3fn)


# --- npu_anti_quant


@pytest.mark.parametrize("out", HALVES)
@pytest.mark.parametrize("kind", ["int8", "int4", "fp8", "hif8"])
@pytest.mark.parametrize("place", ["one", "last", "rows", "wide rows"])
def test_codes_take_their_offset_and_their_scale(place: str, kind: str, out: torch.dtype) -> None:
    x = codes_of(kind, 3, 5, 2)
    values = matmul.values(x, kind)
    last = values.shape[-1]
    shape = {"one": (1,), "last": (last,), "rows": (5,), "wide rows": (1, 5, 1)}[place]
    scale, offset = torch.rand(shape), torch.randn(shape)
    y = torch_npu_sim.npu_anti_quant(*on_npu((x, scale)), offset=on_npu(offset), dst_dtype=out)
    spread = (1, 5, 1) if place == "rows" else shape
    want = (values.float() + offset.reshape(spread)) * scale.reshape(spread)
    assert_equal(y, want.to(out))
    assert_meta_agrees(torch.ops.npu.npu_anti_quant, x, scale, offset=offset, dst_dtype=out)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": torch.ones(2, 4)}, TypeError, "expected x of int8"),
        ({"src_dtype": HIF8}, TypeError, "src_dtype of x's format"),
        ({"dst_dtype": torch.float32}, ValueError, "expected dst_dtype"),
        ({"scale": torch.ones(3)}, ValueError, "expected scale of one number"),
        ({"scale": torch.ones(2, 4)}, ValueError, "expected scale of one axis"),
        ({"scale": torch.ones(4).half()}, TypeError, "expected scale of float32"),
        ({"offset": torch.ones(1)}, ValueError, "offset of scale's shape"),
        ({"offset": torch.ones(4).bfloat16()}, TypeError, "offset of scale's dtype"),
    ],
)
def test_anti_quant_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call = {"x": torch.ones(2, 4, dtype=torch.int8), "scale": torch.ones(4)} | change
    with pytest.raises(error, match="npu_anti_quant: .*" + text):
        torch_npu_sim.npu_anti_quant(**on_npu(call))


# --- npu_anti_mx_quant


@pytest.mark.parametrize("out", [torch.float32, *HALVES])
@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, None])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 100), -1), ((70, 4), 0), ((2, 3, 64), 1), ((0, 32), -1)]
)
def test_blocks_take_their_power_of_two(
    shape: tuple[int, ...], axis: int, kind: torch.dtype | None, out: torch.dtype
) -> None:
    values = torch.randn(shape)
    code = {torch.float8_e4m3fn: E4M3, torch.float8_e5m2: E5M2, None: FP4}[kind]
    x, scale = torch_npu_sim.npu_dynamic_mx_quant(on_npu(values.half()), axis=axis, dst_type=code)
    options = {"axis": axis, "dst_type": out, "src_type": code}
    y = torch_npu_sim.npu_anti_mx_quant(x, scale, **options)
    elements = matmul.values(x.cpu(), "fp4") if kind is None else x.cpu()
    assert_equal(y, quant.mx_dequantize(elements, scale.cpu(), axis).to(out))
    assert_meta_agrees(torch.ops.npu.npu_anti_mx_quant, x.cpu(), scale.cpu(), **options)


def test_anti_mx_quant_refuses_what_does_not_fit() -> None:
    x = on_npu(torch.ones(2, 64).to(torch.float8_e4m3fn))
    scale = torch.zeros(2, 1, 2, dtype=torch.uint8, device="npu")
    for change, error, text in (
        ({"axis": 2}, IndexError, "expected axis in"),
        ({"axis": 0}, ValueError, "expected mxscale of"),
        ({"src_type": E5M2}, TypeError, "expected x of"),
        ({"src_type": 1}, ValueError, "src_type of fp8 or fp4"),
        ({"dst_type": torch.int8}, ValueError, "expected dst_type"),
    ):
        with pytest.raises(error, match="npu_anti_mx_quant: .*" + text):
            torch_npu_sim.npu_anti_mx_quant(x, scale, **change)


# --- npu_quant_max


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("code", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("ends", [None, [6], [2, 2, 6], [0, 1, 6]])
def test_values_are_scaled_and_their_largest_is_told(
    ends: list[int] | None, code: torch.dtype, dtype: torch.dtype
) -> None:
    x = torch.randn(6, 5, dtype=dtype) * 9
    parts = len(ends) if ends is not None else 1
    scale = torch.rand(parts) * 20
    dst = {torch.float8_e4m3fn: E4M3, torch.float8_e5m2: E5M2}[code]
    options = {"dst_dtype": dst, "group_list": None if ends is None else torch.tensor(ends)}
    y, largest = torch_npu_sim.npu_quant_max(*on_npu((x, scale)), **on_npu(options))
    want = x.float().clone()
    most = []
    for group, (first, last) in enumerate(itertools.pairwise([0, *(ends or [6])])):
        most.append(want[first:last].abs().max() if last > first else torch.zeros(()))
        want[first:last] *= scale[group]
    edge = torch.finfo(code).max
    assert torch.equal(y.cpu().float(), want.clamp(-edge, edge).to(code).float())
    assert y.dtype == code
    assert torch.equal(largest.cpu(), torch.stack(most).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_quant_max, x, scale, **options)


def test_hifloat8_is_rounded_away_from_zero_at_ties() -> None:
    x = torch.tensor([17.0, 1.0625, -1.0625])
    y, largest = torch_npu_sim.npu_quant_max(
        *on_npu((x, torch.ones(1))), round_mode="round", dst_dtype=HIF8
    )
    assert matmul.values(y.cpu(), "hif8").tolist() == [16.0, 1.125, -1.125]
    assert largest.cpu().tolist() == [17.0]


def test_quant_max_refuses_what_the_card_does_not_take() -> None:
    x, scale = torch.ones(4, 2, device="npu"), torch.ones(1, device="npu")
    ends = torch.tensor([2, 3], device="npu")
    for args, change, error, text in (
        ((x, scale), {"dst_dtype": 1}, ValueError, "expected dst_dtype"),
        ((x, scale), {"round_mode": "round"}, ValueError, "round_mode of 'rint'"),
        ((x, scale), {"dst_dtype": HIF8}, ValueError, "round_mode of 'round'"),
        ((x.long(), scale), {}, TypeError, "expected x of float32"),
        ((x, scale.half()), {}, TypeError, "scale of float32"),
        ((x, scale.expand(2)), {}, ValueError, r"scale of \[1\]"),
        ((x, scale.expand(2)), {"group_list": ends}, ValueError, "ends with x's 4 rows"),
        ((x, scale.expand(2)), {"group_list": ends.flip(0)}, ValueError, "do not fall"),
        ((x, scale.expand(2)), {"group_list": ends.int()}, TypeError, "group_list of int64"),
    ):
        with pytest.raises(error, match="npu_quant_max: .*" + text):
            torch_npu_sim.npu_quant_max(*args, **change)


# --- npu_quant_conv2d


def convolved(x: torch.Tensor, w: torch.Tensor, pad_value: float, **how: Any) -> torch.Tensor:
    pads = how.pop("padding")
    around = (pads[1], pads[1], pads[0], pads[0])
    padded = torch.nn.functional.pad(x.double(), around, value=pad_value)
    return torch.nn.functional.conv2d(padded, w.double(), **how)


@pytest.mark.parametrize("kind", ["int8", "fp8", "hif8"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("packs", [False, True])
def test_a_convolution_is_scaled_by_channel(packs: bool, groups: int, kind: str) -> None:
    x, w = codes_of(kind, 2, 4, 7, 6), codes_of(kind, 6, 4 // groups, 3, 2)
    scale, bias = torch.rand(6) / 99, torch.randn(6)
    kinds = {"input_dtype": HIF8, "weight_dtype": HIF8} if kind == "hif8" else {}
    options = {"strides": [2, 1], "pads": [1, 2], "dilations": [1, 2], "groups": groups}
    options |= {"offset_x": 3, "output_dtype": torch.float16, **kinds}
    given = torch_npu_sim.npu_trans_quant_param(on_npu(scale)) if packs else on_npu(scale)
    y = torch_npu_sim.npu_quant_conv2d(*on_npu((x, w)), given, bias=on_npu(bias), **options)
    if packs:
        scale = torch.tensor([matmul.packed_factor(value) for value in scale.tolist()])
    sums = convolved(
        matmul.values(x, kind),
        matmul.values(w, kind),
        3.0,
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        groups=groups,
    )
    want = sums * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
    assert_equal(y, want.half())
    assert_meta_agrees(torch.ops.npu.npu_quant_conv2d, x, w, given.cpu(), bias=bias, **options)


def test_an_integer_bias_joins_the_sums_of_a_convolution() -> None:
    x, w = codes_of("int8", 1, 2, 4, 4), codes_of("int8", 3, 2, 3, 3)
    scale, bias = torch.rand(3) / 99, torch.randint(-99, 99, (3,), dtype=torch.int32)
    y = torch_npu_sim.npu_quant_conv2d(
        *on_npu((x, w, scale)), bias=on_npu(bias), output_dtype=torch.float16
    )
    sums = torch.nn.functional.conv2d(x.double(), w.double(), bias.double())
    assert_equal(y, (sums * scale.reshape(1, -1, 1, 1)).half())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"input": torch.ones(1, 2, 4, 4)}, TypeError, "input and weight both of int8"),
        ({"input": torch.ones(2, 4, 4, dtype=torch.int8)}, ValueError, r"input of \[n, c, h, w\]"),
        ({"groups": 2}, ValueError, "for groups 2"),
        ({"strides": [0, 1]}, ValueError, r"strides in \[1, 63\]"),
        ({"pads": [0, 256]}, ValueError, r"pads in \[0, 255\]"),
        ({"dilations": [2, 1]}, ValueError, "a kernel that fits"),
        ({"scale": torch.ones(2)}, ValueError, r"scale of \[3\]"),
        ({"scale": torch.ones(3).half()}, TypeError, "scale of float32 or int64"),
        ({"bias": torch.ones(2)}, ValueError, r"bias of \[3\]"),
        ({"bias": torch.ones(3).bfloat16()}, TypeError, "expected bias of float32"),
        ({"offset": torch.ones(3)}, ValueError, "no offset"),
        ({"offset_x": 128}, ValueError, "offset_x in"),
        ({"output_dtype": None}, ValueError, "expected output_dtype"),
        ({"output_dtype": torch.float32}, ValueError, "expected output_dtype of one of"),
    ],
)
def test_a_convolution_refuses_what_the_card_does_not_take(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "input": torch.ones(1, 2, 4, 4, dtype=torch.int8),
        "weight": torch.ones(3, 2, 3, 3, dtype=torch.int8),
        "scale": torch.ones(3),
        "output_dtype": torch.float16,
    }
    with pytest.raises(error, match="npu_quant_conv2d: .*" + text):
        torch_npu_sim.npu_quant_conv2d(**on_npu(call | change))


# --- time


def test_dequantisation_reads_codes_and_scales_and_writes_halves() -> None:
    x, scale = on_npu((torch.ones(64, 128, dtype=torch.int8), torch.ones(128)))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_anti_quant(x, scale)
        torch_npu_sim.npu_quant_max(*on_npu((torch.ones(64, 128), torch.ones(1))))
    anti, most = trace.kernels[0], trace.kernels[-1]
    assert anti.bytes_read == 64 * 128 + 4 * 128
    assert anti.bytes_written == 2 * 64 * 128
    assert most.bytes_written == 64 * 128 + 4
