"""Narrow weights, batches, levels and sums of coded products, against plain products."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import matmul

HIF8, FP4, INT4, E8M0, E4M3 = 290, 296, 285, 293, 24
HALVES = [torch.float16, torch.bfloat16]


def fp8(*shape: int) -> torch.Tensor:
    return torch.randn(shape).to(torch.float8_e4m3fn)


def hif8(*shape: int) -> torch.Tensor:
    """Codes of moderate numbers, 0x08 to 0x57, of either sign."""
    sign = 128 * torch.randint(0, 2, shape, dtype=torch.uint8)
    return torch.randint(0x08, 0x58, shape, dtype=torch.uint8) + sign


def packed(low: torch.Tensor, carrier: torch.dtype) -> torch.Tensor:
    """Codes of four bits two to a byte along the last axis, seen as `carrier`."""
    return (low[..., ::2] | (low[..., 1::2] << 4)).to(torch.uint8).contiguous().view(carrier)


def powers(scale: torch.Tensor, k: int) -> torch.Tensor:
    """E8M0 codes [.., rows, pairs, 2] -> the factor of each of k elements, [.., rows, k]."""
    return matmul.spread(torch.exp2(scale.double() - 127).flatten(-2), -1, 32, k)


def mx_scale(*shape: int) -> torch.Tensor:
    return torch.randint(120, 134, shape, dtype=torch.uint8)


# --- npu_weight_quant_batchmatmul


def weight_of(kind: str, k: int, n: int, swapped: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight as the operator takes it and its values, both [k, n]."""
    stored = (n, k) if swapped else (k, n)
    if kind in ("int4", "fp4"):
        carrier = torch.int32 if kind == "int4" else torch.float32
        data = packed(torch.randint(0, 16, stored), carrier)
    elif kind == "int8":
        data = torch.randint(-128, 128, stored, dtype=torch.int8)
    else:
        data = hif8(*stored) if kind == "hif8" else fp8(*stored)
    value = matmul.values(data, kind)
    return (data.t(), value.t()) if swapped else (data, value)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("group", [0, 32])
@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("m", [0, 1, 3])
def test_integer_weights_take_an_offset_and_a_scale(
    m: int, kind: str, group: int, swapped: bool, dtype: torch.dtype
) -> None:
    k, n = 80, 16
    weight, value = weight_of(kind, k, n, swapped)
    x, bias = torch.randn(m, k, dtype=dtype), torch.randn(n, dtype=dtype)
    shape = (3, n) if group else (n,)
    scale, offset = torch.rand(shape, dtype=dtype), torch.randint(-5, 5, shape).to(dtype)
    options = {"antiquant_offset": offset, "bias": bias, "antiquant_group_size": group}
    y = torch_npu_sim.npu_weight_quant_batchmatmul(*on_npu((x, weight, scale)), **on_npu(options))
    if group:
        scale, offset = (matmul.spread(each, 0, 32, k) for each in (scale, offset))
    rounded = ((value + offset) * scale.double()).to(dtype)
    assert_equal(y, (matmul.product(x, rounded) + bias).to(dtype))
    args = (x, weight, torch.ones(shape, dtype=dtype))
    assert_meta_agrees(torch.ops.npu.npu_weight_quant_batchmatmul, *args, **options)


@pytest.mark.parametrize("kind", ["fp8", "hif8"])
def test_weights_of_eight_bit_floats_have_a_scale_a_channel(kind: str) -> None:
    weight, value = weight_of(kind, 24, 6, False)
    x, scale = torch.randn(3, 24).half(), torch.rand(1, 6).half()
    y = torch_npu_sim.npu_weight_quant_batchmatmul(
        *on_npu((x, weight, scale)), weight_dtype=HIF8 if kind == "hif8" else None
    )
    assert_equal(y, matmul.product(x, (value * scale.double()).half()).half())


@pytest.mark.parametrize("swapped", [False, True])
def test_fp4_weights_share_powers_of_two_by_32(swapped: bool) -> None:
    k, n = 96, 16
    weight, value = weight_of("fp4", k, n, swapped)
    x, scale = torch.randn(5, k).bfloat16(), mx_scale(3, n)
    y = torch_npu_sim.npu_weight_quant_batchmatmul(
        *on_npu((x, weight)), on_npu(scale).view(torch.float8_e8m0fnu), antiquant_group_size=32
    )
    factors = matmul.spread(torch.exp2(scale.double() - 127), 0, 32, k)
    assert_equal(y, matmul.product(x, value, 1.0, factors).bfloat16())


def test_int8_weights_of_one_scale_and_a_wide_bias() -> None:
    weight, value = weight_of("int8", 8, 4, True)
    x, bias = torch.randn(2, 8).bfloat16(), torch.randn(1, 4)
    scale = torch.full((1, 1), 0.3).bfloat16()
    y = torch_npu_sim.npu_weight_quant_batchmatmul(*on_npu((x, weight, scale)), bias=on_npu(bias))
    rounded = (value * scale.double()).bfloat16()
    assert_equal(y, (matmul.product(x, rounded) + bias).bfloat16())


WEIGHT: dict[str, Any] = {
    "x": torch.ones(2, 64).half(),
    "weight": torch.ones(64, 8, dtype=torch.int8),
    "antiquant_scale": torch.ones(8).half(),
}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": torch.ones(2, 64)}, TypeError, "expected x of float16"),
        ({"x": torch.ones(2, 63).half()}, ValueError, r"weight of \[63, n\]"),
        ({"x": torch.ones(1, 2, 64).half()}, ValueError, r"x of \[m, k\]"),
        ({"weight": torch.ones(64, 8).bool()}, TypeError, "expected weight of int8"),
        ({"antiquant_scale": torch.ones(8)}, TypeError, "antiquant_scale of x's dtype"),
        ({"antiquant_scale": torch.ones(7).half()}, ValueError, "expected antiquant_scale of"),
        ({"antiquant_group_size": 48}, ValueError, "antiquant_group_size of 0 or a multiple"),
        ({"antiquant_group_size": 64}, ValueError, "antiquant_group_size of 0 or a multiple"),
        ({"antiquant_group_size": 32}, ValueError, r"antiquant_scale of \[2, 8\]"),
        ({"antiquant_offset": torch.ones(1).half()}, ValueError, "antiquant_offset of"),
        ({"antiquant_offset": torch.ones(8)}, TypeError, "antiquant_offset only"),
        ({"quant_scale": torch.ones(8)}, ValueError, "no quant_scale"),
        ({"bias": torch.ones(8)}, TypeError, "expected bias of x's dtype"),
        ({"bias": torch.ones(7).half()}, ValueError, r"bias of \[8\]"),
        ({"inner_precise": 2}, ValueError, "inner_precise of 0 or 1"),
    ],
)
def test_weight_products_refuse_what_the_card_does_not_take(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_weight_quant_batchmatmul: .*" + text):
        torch_npu_sim.npu_weight_quant_batchmatmul(**on_npu(WEIGHT | change))


def test_int4_weights_read_half_the_bytes_of_int8_ones() -> None:
    def bytes_read(kind: str) -> int:
        weight, _ = weight_of(kind, 512, 512, True)
        args = on_npu((torch.ones(1, 512).half(), weight, torch.ones(512).half()))
        with torch_npu_sim.trace() as trace:
            torch_npu_sim.npu_weight_quant_batchmatmul(*args)
        return int(trace.kernels[-1].bytes_read)

    assert bytes_read("int8") == 512 * 512 + 2 * (512 + 512)
    assert bytes_read("int4") == 512 * 512 // 2 + 2 * (512 + 512)


# --- npu_convert_weight_to_int4pack, npu_weight_quant_preprocess


@pytest.mark.parametrize("shape", [(3, 16), (2, 5, 8)])
def test_eight_int4_become_one_int32(shape: tuple[int, ...]) -> None:
    weight = torch.randint(-8, 8, shape, dtype=torch.int32)
    y = torch_npu_sim.npu_convert_weight_to_int4pack(on_npu(weight))
    assert y.dtype == torch.int32
    assert torch.equal(matmul.values(y.cpu(), "int4"), weight.double())
    assert_meta_agrees(torch.ops.npu.npu_convert_weight_to_int4pack, weight)


def test_eight_fp4_become_one_float32_and_other_numbers_zero() -> None:
    exact = torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]])
    weight = torch.cat([exact, -exact, torch.tensor([[1.25, 5.0, 7.9, 0.75, 8.0, 0.3, -2.5, 9.0]])])
    y = torch_npu_sim.npu_convert_weight_to_int4pack(on_npu(weight))
    assert (y.dtype, y.shape) == (torch.float32, (3, 1))
    want = torch.cat([exact, -exact, torch.tensor([[1.0, 4.0, 6.0, 0.0, 0.0, 0.0, -2.0, 0.0]])])
    assert torch.equal(matmul.values(y.cpu(), "fp4"), want.double())


def test_packing_refuses_what_does_not_fit() -> None:
    weight = torch.ones(4, 16, dtype=torch.int32, device="npu")
    name = "npu_convert_weight_to_int4pack: "
    for bad, error, text in (
        (weight.t(), ValueError, "contiguous"),
        (weight[0], ValueError, "2 or 3 axes"),
        (weight.long(), TypeError, "int32"),
        (torch.ones(4, 12, dtype=torch.int32, device="npu"), ValueError, "divisible by 8"),
    ):
        with pytest.raises(error, match=name + ".*" + text):
            torch_npu_sim.npu_convert_weight_to_int4pack(bad)


def test_a_preprocessed_weight_keeps_its_values_and_strides() -> None:
    weight = torch.randint(0, 256, (64, 128), dtype=torch.uint8).t()
    scale = mx_scale(64, 4, 2).transpose(0, 1)
    formats = {"x_dtype": E4M3, "weight_dtype": FP4, "weight_scale_dtype": E8M0}
    formats |= {"x_scale_dtype": E8M0, "k_group_size": 32}
    args = on_npu((weight, scale))
    new, new_scale, offset, bias = torch_npu_sim.npu_weight_quant_preprocess(*args, **formats)
    assert new.stride() == (1, 128)
    assert new_scale.stride() == args[1].stride()
    assert torch.equal(new.cpu(), weight)
    assert torch.equal(new_scale.cpu(), scale)
    assert offset is None
    assert bias is None
    with pytest.raises(ValueError, match="npu_weight_quant_preprocess: expected x_dtype"):
        torch_npu_sim.npu_weight_quant_preprocess(*args, **formats | {"x_dtype": 23})
    with pytest.raises(ValueError, match="transposed in memory"):
        torch_npu_sim.npu_weight_quant_preprocess(args[0].t(), args[1], **formats)


# --- npu_transpose_quant_batchmatmul


@pytest.mark.parametrize("out", HALVES)
@pytest.mark.parametrize("shape", [(3, 2, 64, 5), (1, 1, 8, 1), (0, 2, 16, 4)])
def test_batches_lead_the_product_and_follow_the_rows(
    shape: tuple[int, int, int, int], out: torch.dtype
) -> None:
    m, b, k, n = shape
    x1, x2 = fp8(m, b, k), fp8(b, k, n)
    token, scale = torch.rand(m), torch.rand(n)
    options = {"x1_scale": token, "x2_scale": scale, "perm_x1": [1, 0, 2]}
    dtype = out
    y = torch_npu_sim.npu_transpose_quant_batchmatmul(*on_npu((x1, x2)), dtype, **on_npu(options))
    left = x1.double().transpose(0, 1)
    want = matmul.product(left, x2.double(), token.unsqueeze(-1), scale).transpose(0, 1)
    assert_equal(y, want.to(out).contiguous())
    assert_meta_agrees(torch.ops.npu.npu_transpose_quant_batchmatmul, x1, x2, dtype, **options)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("groups", [[0, 0, 32], [1, 1, 32]])
def test_batches_of_mx_blocks(groups: list[int], swapped: bool) -> None:
    m, b, k, n = 3, 2, 128, 5
    x1, x2 = fp8(m, b, k), fp8(b, n, k)
    token, scale = mx_scale(m, b, k // 64, 2), mx_scale(b, n, k // 64, 2)
    right, right_scale = (x2, scale) if swapped else (x2.mT, scale.transpose(1, 2))
    options = {
        "x1_scale": token.view(torch.float8_e8m0fnu),
        "x2_scale": right_scale.contiguous().view(torch.float8_e8m0fnu),
        "group_sizes": groups,
        "perm_x2": [0, 2, 1] if swapped else [0, 1, 2],
    }
    y = torch_npu_sim.npu_transpose_quant_batchmatmul(
        *on_npu((x1, right)), torch.bfloat16, **on_npu(options)
    )
    left = (x1.double() * powers(token, k)).transpose(0, 1)
    want = left @ (x2.double() * powers(scale, k)).mT
    assert_equal(y, want.transpose(0, 1).bfloat16().contiguous())


@pytest.mark.parametrize("packs", [False, True])
def test_batches_of_hifloat8_may_answer_hifloat8(packs: bool) -> None:
    x1, x2, scale = hif8(3, 2, 16), hif8(2, 16, 4), torch.rand(4)
    x2_scale = on_npu(scale)
    if packs:
        x2_scale = torch_npu_sim.npu_trans_quant_param(x2_scale)
        scale = torch.tensor([matmul.packed_factor(value) for value in scale.tolist()])
    kinds = {"x1_dtype": HIF8, "x2_dtype": HIF8}
    y = torch_npu_sim.npu_transpose_quant_batchmatmul(
        *on_npu((x1, x2)), HIF8, x2_scale=x2_scale, **kinds
    )
    left = matmul.values(x1, "hif8").transpose(0, 1)
    want = matmul.product(left, matmul.values(x2, "hif8"), 1.0, scale).transpose(0, 1)
    table = matmul.hifloat8_values()
    table = table[table.isfinite()]
    nearest = (want.unsqueeze(-1) - table).abs().amin(-1)
    got = matmul.values(y.cpu(), "hif8")
    torch.testing.assert_close((got - want).abs(), nearest, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"perm_x1": [0, 1, 2]}, ValueError, "expected perm_x1"),
        ({"perm_x2": [1, 0, 2]}, ValueError, "expected perm_x2"),
        ({"perm_y": [0, 1, 2]}, ValueError, "expected perm_y"),
        ({"batch_split_factor": 2}, ValueError, "batch_split_factor of 1"),
        ({"bias": torch.ones(5)}, ValueError, "no bias"),
        ({"x2": fp8(2, 9, 5)}, ValueError, r"x1 of \[m, b, k\] and x2 of \[b, k, n\]"),
        ({"x2_scale": torch.ones(4)}, ValueError, r"x2_scale of \[5\]"),
        ({"x1_scale": None}, ValueError, r"x1_scale of \[3\]"),
        ({"x1": torch.ones(3, 2, 8, dtype=torch.int8)}, TypeError, "x1 and x2 of fp8"),
        ({"x1_scale": torch.ones(3).half()}, TypeError, "of float32"),
        ({"dtype": torch.float32}, ValueError, "expected dtype of one of"),
    ],
)
def test_transposed_products_refuse_what_the_card_does_not_take(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call = {"x1": fp8(3, 2, 8), "x2": fp8(2, 8, 5), "dtype": torch.float16}
    call |= {"x1_scale": torch.ones(3), "x2_scale": torch.ones(5)}
    with pytest.raises(error, match="npu_transpose_quant_batchmatmul: .*" + text):
        torch_npu_sim.npu_transpose_quant_batchmatmul(**on_npu(call | change))


# --- npu_dual_level_quant_matmul


@pytest.mark.parametrize("shape", [(3, 1024, 5), (1, 640, 2), (0, 64, 4)])
def test_two_levels_of_scales(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    x1, x2 = (packed(torch.randint(0, 16, (rows, k)), torch.int8) for rows in (m, n))
    first, second = torch.rand(m, -(-k // 512)), torch.rand(-(-k // 512), n)
    token, scale = mx_scale(m, -(-k // 64), 2), mx_scale(n, -(-k // 64), 2)
    bias = torch.randn(n)
    args = (x1, x2, first, second, token, scale)
    y = torch_npu_sim.npu_dual_level_quant_matmul(
        *on_npu(args), bias=on_npu(bias), output_dtype=torch.bfloat16
    )
    left = matmul.values(x1, "fp4") * powers(token, k) * matmul.spread(first, 1, 512, k)
    right = (matmul.values(x2, "fp4") * powers(scale, k)).t() * matmul.spread(second, 0, 512, k)
    assert_equal(y, (left @ right + bias).bfloat16())
    assert_meta_agrees(torch.ops.npu.npu_dual_level_quant_matmul, *args, bias=bias)
    with pytest.raises(ValueError, match="npu_dual_level_quant_matmul: expected x2_level0_scale"):
        torch_npu_sim.npu_dual_level_quant_matmul(*on_npu((x1, x2, first, first, token, scale)))
    with pytest.raises(ValueError, match="npu_dual_level_quant_matmul: expected output_dtype"):
        torch_npu_sim.npu_dual_level_quant_matmul(*on_npu(args), output_dtype=torch.int8)


# --- npu_add_quant_matmul


def test_a_product_of_mx_blocks_joins_its_accumulator() -> None:
    m, k, n = 5, 100, 6
    x1, x2 = fp8(k, m), fp8(k, n)
    token, scale = mx_scale(2, m, 2), mx_scale(2, n, 2)
    start = torch.randn(m, n)
    options = {"group_sizes": [1, 1, 32], "x1_scale_dtype": E8M0, "x2_scale_dtype": E8M0}
    total = on_npu(start)
    version = total._version
    args = (x1.t(), x2, scale)
    token_view = token.transpose(0, 1)
    result = torch_npu_sim.npu_add_quant_matmul_(
        total, *on_npu(args), x1_scale=on_npu(token_view), **options
    )
    left = (x1.t().double() * powers(token_view, k)) @ (
        x2.double() * powers(scale.transpose(0, 1), k).t()
    )
    assert result is total
    assert total._version > version
    torch.testing.assert_close(total.cpu(), (left + start).float(), rtol=1e-5, atol=1e-5)
    op = torch.ops.npu.npu_add_quant_matmul
    fresh = op(on_npu(start), *on_npu(args), x1_scale=on_npu(token_view), **options)
    assert torch.equal(fresh.cpu(), total.cpu())
    assert_meta_agrees(op, start, *args, x1_scale=token_view, **options)


def test_a_product_of_hifloat8_tensors_joins_its_accumulator() -> None:
    x1, x2, start = hif8(3, 16), hif8(16, 4), torch.randn(3, 4)
    x1_scale = torch.rand(1)
    scales = {"x1_scale": x1_scale, "x1_dtype": HIF8, "x2_dtype": HIF8}
    y = torch_npu_sim.npu_add_quant_matmul(
        *on_npu((start, x1, x2, torch.full((1,), 0.5))), **on_npu(scales)
    )
    left, right = matmul.values(x1, "hif8"), matmul.values(x2, "hif8")
    assert_equal(y, (start + matmul.product(left, right, x1_scale, 0.5)).float())


def test_accumulated_products_refuse_what_the_card_does_not_take() -> None:
    total, x1, x2 = on_npu((torch.zeros(3, 4), fp8(3, 8), fp8(8, 4)))
    one = torch.ones(1, device="npu")
    op = torch_npu_sim.npu_add_quant_matmul
    with pytest.raises(TypeError, match="npu_add_quant_matmul: expected x1 and x2 of hifloat8"):
        op(total, x1, x2, one, x1_scale=one)
    with pytest.raises(ValueError, match="npu_add_quant_matmul: expected x1_scale, got None"):
        op(total, x1, x2, one)
    with pytest.raises(ValueError, match="npu_add_quant_matmul: expected input of"):
        op(total.t(), x1, x2, one, x1_scale=one)
    with pytest.raises(TypeError, match="npu_add_quant_matmul: expected input of float32"):
        op(total.half(), x1, x2, one, x1_scale=one)
    with pytest.raises(TypeError, match="npu_add_quant_matmul: .*both of float8_e8m0fnu"):
        op(total, x1, x2, one, x1_scale=one, x1_scale_dtype=E8M0)


# --- the packing of codes


@pytest.mark.parametrize("n", [1, 2])
def test_codes_are_packed_along_the_last_axis_unless_it_is_strided(n: int) -> None:
    stored = packed(torch.randint(0, 16, (8 * n, 64)), torch.int32)
    x = torch.randn(2, 64).half()
    scale = torch.ones(8 * n).half()
    y = torch_npu_sim.npu_weight_quant_batchmatmul(*on_npu((x, stored.t(), scale)))
    assert_equal(y, matmul.product(x, matmul.values(stored, "int4").t()).half())
    narrow = packed(torch.randint(0, 16, (64, 8)), torch.int32)
    y = torch_npu_sim.npu_weight_quant_batchmatmul(*on_npu((x, narrow, torch.ones(8).half())))
    assert_equal(y, matmul.product(x, matmul.values(narrow, "int4")).half())


# --- time


def bytes_of(op: str, *args: Any, **options: Any) -> tuple[int, int]:
    """Bytes that the one kernel of a call reads and writes."""
    moved = on_npu((args, options))
    with torch_npu_sim.trace() as trace:
        getattr(torch_npu_sim, op)(*moved[0], **moved[1])
    (kernel,) = trace.kernels
    return int(kernel.bytes_read), int(kernel.bytes_written)


def test_two_levels_of_scales_are_read_beside_half_bytes() -> None:
    m, k, n = 64, 1024, 32
    x1, x2 = (torch.zeros(rows, k // 2, dtype=torch.int8) for rows in (m, n))
    scales = (torch.ones(m, 2), torch.ones(2, n), mx_scale(m, 16, 2), mx_scale(n, 16, 2))
    read, written = bytes_of("npu_dual_level_quant_matmul", x1, x2, *scales)
    assert read == (m + n) * (k // 2 + k // 32) + 4 * 2 * (m + n)
    assert written == 2 * m * n


def test_each_batch_reads_its_own_weight() -> None:
    m, b, k, n = 16, 4, 64, 32
    scales = {"x1_scale": torch.ones(m), "x2_scale": torch.ones(n)}
    call = (fp8(m, b, k), fp8(b, k, n), torch.float16)
    read, written = bytes_of("npu_transpose_quant_batchmatmul", *call, **scales)
    assert read == b * k * (m + n) + 4 * (m + n)
    assert written == 2 * m * b * n


def test_an_accumulator_is_read_and_written() -> None:
    m, k, n = 16, 32, 8
    options = {"x1_scale": torch.ones(1), "x1_dtype": HIF8, "x2_dtype": HIF8}
    call = (torch.zeros(m, n), hif8(m, k), hif8(k, n), torch.ones(1))
    read, written = bytes_of("npu_add_quant_matmul", *call, **options)
    assert read == k * (m + n) + 4 * m * n + 8
    assert written == 4 * m * n
