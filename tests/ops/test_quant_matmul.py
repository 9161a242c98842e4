"""npu_quant_matmul and npu_trans_quant_param, against plain products of decoded operands."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import matmul

HIF8, FP4, INT4, E8M0 = 290, 296, 285, 293
OUTS = [torch.float16, torch.bfloat16]
KINDS = ["int8", "e4m3", "e5m2", "hif8"]
SHAPES = [(3, 8, 5), (1, 1, 1), (0, 16, 4), (5, 300, 7), (2, 33, 1)]


def codes(kind: str, *shape: int) -> torch.Tensor:
    if kind == "int8":
        return torch.randint(-128, 128, shape, dtype=torch.int8)
    if kind == "hif8":
        # Codes of moderate numbers, 0x08 to 0x57, of either sign.
        positive = torch.randint(0x08, 0x58, shape, dtype=torch.uint8)
        return positive + 128 * torch.randint(0, 2, shape, dtype=torch.uint8)
    dtype = torch.float8_e4m3fn if kind == "e4m3" else torch.float8_e5m2
    return torch.randn(shape).to(dtype)


def decoded(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    return matmul.values(tensor, kind if kind in ("int8", "hif8") else "fp8")


def dtypes(kind: str) -> dict[str, int]:
    return {"x1_dtype": HIF8, "x2_dtype": HIF8} if kind == "hif8" else {}


def call(*args: Any, **options: Any) -> torch.Tensor:
    result: torch.Tensor = torch_npu_sim.npu_quant_matmul(*on_npu(args), **on_npu(options))
    return result


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_scale_a_token_and_a_scale_a_channel(
    shape: tuple[int, int, int], kind: str, per_channel: bool, out: torch.dtype
) -> None:
    m, k, n = shape
    x1, x2 = codes(kind, m, k), codes(kind, k, n)
    scale, token = torch.rand(n if per_channel else 1) / k, torch.rand(m) / 8
    bias = torch.randn(n)
    options = {"pertoken_scale": token, "bias": bias, "output_dtype": out, **dtypes(kind)}
    y = call(x1, x2, scale, **options)
    want = matmul.product(decoded(kind, x1), decoded(kind, x2), token.unsqueeze(-1), scale) + bias
    assert_equal(y, want.to(out))
    assert_meta_agrees(torch.ops.npu.npu_quant_matmul, x1, x2, scale, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_transposed_operands_and_batches_broadcast(kind: str) -> None:
    x1, x2 = codes(kind, 3, 1, 16, 4).transpose(-1, -2), codes(kind, 2, 6, 16).transpose(-1, -2)
    scale = torch.rand(6) / 16
    token = torch.rand(4)
    options = {"pertoken_scale": token, "output_dtype": torch.bfloat16, **dtypes(kind)}
    y = call(x1, x2, scale, **options)
    want = matmul.product(decoded(kind, x1), decoded(kind, x2), token.unsqueeze(-1), scale)
    assert_equal(y, want.to(torch.bfloat16))
    assert y.shape == (3, 2, 4, 6)


def test_an_integer_bias_joins_the_sums_and_a_float_one_the_result() -> None:
    x1, x2 = codes("int8", 3, 40), codes("int8", 40, 4)
    scale, token = torch.rand(4) / 100, torch.rand(3)
    sums = matmul.product(x1, x2)
    for bias in (torch.randint(-999, 999, (4,), dtype=torch.int32), torch.randn(4).bfloat16()):
        y = call(x1, x2, scale, pertoken_scale=token, bias=bias, output_dtype=torch.bfloat16)
        if bias.dtype == torch.int32:
            want = (sums + bias) * scale * token.unsqueeze(-1)
        else:
            want = sums * scale * token.unsqueeze(-1) + bias
        assert_equal(y, want.to(torch.bfloat16))


def test_a_bias_of_a_batch_of_three_axes() -> None:
    x1, x2 = codes("int8", 2, 3, 8), codes("int8", 8, 4)
    bias = torch.randint(-99, 99, (2, 1, 4), dtype=torch.int32)
    y = call(x1, x2, torch.ones(1), bias=bias, output_dtype=torch.int32)
    assert torch.equal(y.cpu().double(), matmul.product(x1, x2) + bias)
    assert y.dtype == torch.int32


def test_sums_of_int8_are_exact_however_long_k_is() -> None:
    x1 = torch.full((2, 5000), -128, dtype=torch.int8)
    x2 = torch.full((5000, 3), -128, dtype=torch.int8)
    x1[0, 0], x2[0, 0] = 127, 1
    y = call(x1, x2, torch.ones(1), output_dtype=torch.int32)
    assert torch.equal(y.cpu().double(), matmul.product(x1, x2))


def test_without_output_dtype_int8_comes_out_of_the_output_pipe() -> None:
    x1, x2 = codes("int8", 4, 16), codes("int8", 16, 6)
    scale, offset = torch.rand(6) / 300, torch.tensor([1.4, -3.5, 300.0, -300.0, 0.5, 1.5])
    bias = torch.randint(-99, 99, (6,), dtype=torch.int32)
    factors = torch.tensor([matmul.packed_factor(value) for value in scale.tolist()])
    offsets = torch.tensor([matmul.packed_offset(value) for value in offset.tolist()])
    sums = (matmul.product(x1, x2) + bias) * factors
    want = (sums.float().round() + offsets).clamp(-128, 127).to(torch.int8)
    assert_equal(call(x1, x2, scale, offset=offset, bias=bias), want)
    packed = torch_npu_sim.npu_trans_quant_param(*on_npu((scale, offset)))
    assert_equal(call(x1, x2, packed, bias=bias), want)
    assert_meta_agrees(torch.ops.npu.npu_quant_matmul, x1, x2, scale, offset=offset, bias=bias)


@pytest.mark.parametrize("kind", KINDS)
def test_without_token_scales_the_output_pipe_scales_by_nineteen_bits(kind: str) -> None:
    x1, x2, scale = codes(kind, 4, 16), codes(kind, 16, 6), torch.rand(6) / 16
    factors = torch.tensor([matmul.packed_factor(value) for value in scale.tolist()])
    bias = torch.randint(-9, 9, (6,), dtype=torch.int32 if kind == "int8" else torch.float32)
    y = call(x1, x2, scale, bias=bias, output_dtype=torch.float16, **dtypes(kind))
    want = (matmul.product(decoded(kind, x1), decoded(kind, x2)) + bias) * factors
    assert_equal(y, want.half())


def test_bfloat16_of_int8_keeps_the_whole_scale() -> None:
    x1, x2 = codes("int8", 4, 16), codes("int8", 16, 6)
    for scale in (torch.rand(6) / 99, (torch.rand(6) / 99).bfloat16()):
        y = call(x1, x2, scale, bias=torch.ones(6), output_dtype=torch.bfloat16)
        assert_equal(y, (matmul.product(x1, x2) * scale.double() + 1).bfloat16())


def packed(low: torch.Tensor, carrier: torch.dtype) -> torch.Tensor:
    """Codes of four bits two to a byte along the last axis, seen as `carrier`."""
    data = (low[..., ::2] | (low[..., 1::2] << 4)).to(torch.uint8).contiguous()
    return data.view(carrier)


@pytest.mark.parametrize("carrier", [torch.int32, torch.int8])
@pytest.mark.parametrize("transposed", [False, True])
def test_int4_is_packed_by_eight_in_int32_and_by_two_in_bytes(
    transposed: bool, carrier: torch.dtype
) -> None:
    x1 = packed(torch.randint(0, 16, (3, 16)), carrier)
    stored = packed(torch.randint(0, 16, (24, 16) if transposed else (16, 24)), carrier)
    x2 = stored.t() if transposed else stored
    right = matmul.values(stored, "int4")
    scale, token = torch.rand(24) / 20, torch.rand(3)
    kinds = {} if carrier == torch.int32 else {"x1_dtype": INT4, "x2_dtype": INT4}
    options = {"pertoken_scale": token, "output_dtype": torch.float16, **kinds}
    y = call(x1, x2, scale, **options)
    left = matmul.values(x1, "int4")
    want = matmul.product(left, right.t() if transposed else right, token.unsqueeze(-1), scale)
    assert_equal(y, want.half())
    assert_meta_agrees(torch.ops.npu.npu_quant_matmul, x1, x2, scale, **options)


def test_int4_in_groups_of_256_takes_an_offset_off_the_weights() -> None:
    x1 = packed(torch.randint(0, 16, (3, 512)), torch.int32)
    x2 = packed(torch.randint(0, 16, (8, 512)), torch.int32)
    token, scale = torch.rand(3, 1), torch.rand(8, 2).t()
    offset = torch.randint(-4, 4, (2, 8)).half()
    y = call(
        x1,
        x2.t(),
        scale,
        offset=offset,
        pertoken_scale=token,
        output_dtype=torch.bfloat16,
        group_sizes=[0, 0, 256],
    )
    weight = matmul.values(x2, "int4").t() - matmul.spread(offset, 0, 256, 512)
    left = matmul.values(x1, "int4")
    want = matmul.product(left, weight, token, matmul.spread(scale, 0, 256, 512))
    assert_equal(y, want.bfloat16())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("shape", [(130, 256, 140), (3, 100, 5), (128, 384, 128)])
def test_blocks_of_128_have_scales_of_their_own(
    shape: tuple[int, int, int], rows: int, kind: str
) -> None:
    if kind == "int8" and rows == 128:
        pytest.skip("the card multiplies int8 only with a scale a row")
    m, k, n = shape
    x1, x2 = codes(kind, m, k), codes(kind, k, n)
    token, scale = torch.rand(-(-m // rows), -(-k // 128)), torch.rand(-(-k // 128), -(-n // 128))
    options = {
        "pertoken_scale": token / k,
        "group_sizes": [rows, 128, 128],
        "output_dtype": torch.bfloat16,
        **dtypes(kind),
    }
    y = call(x1, x2, scale, **options)
    a_scale = matmul.spread(matmul.spread(token / k, 0, rows, m), 1, 128, k)
    b_scale = matmul.spread(matmul.spread(scale, 0, 128, k), 1, 128, n)
    want = matmul.product(decoded(kind, x1), decoded(kind, x2), a_scale, b_scale)
    assert_equal(y, want.bfloat16())
    assert_meta_agrees(torch.ops.npu.npu_quant_matmul, x1, x2, scale, **options)


def test_group_sizes_follow_from_shapes_that_divide() -> None:
    x1, x2 = codes("e4m3", 4, 256), codes("e4m3", 256, 128)
    token, scale = torch.rand(4, 2), torch.rand(2, 1)
    y = call(x1, x2, scale, pertoken_scale=token, output_dtype=torch.float32)
    want = matmul.product(
        decoded("e4m3", x1),
        decoded("e4m3", x2),
        matmul.spread(token, 1, 128, 256),
        matmul.spread(matmul.spread(scale, 0, 128, 256), 1, 128, 128),
    )
    assert_equal(y, want.float())


def mx_scale(*shape: int) -> torch.Tensor:
    return torch.randint(120, 134, shape, dtype=torch.uint8)


def powers(scale: torch.Tensor, k: int) -> torch.Tensor:
    """[rows, pairs, 2] -> the factor of each of k elements, [rows, k]."""
    return matmul.spread(torch.exp2(scale.double() - 127).flatten(-2), -1, 32, k)


@pytest.mark.parametrize("kind", ["e4m3", "e5m2", "fp4"])
@pytest.mark.parametrize("shape", [(3, 64, 8), (1, 480, 6), (5, 100, 2), (0, 64, 4), (2, 4, 2)])
@pytest.mark.parametrize("transposed", [(False, True), (True, False), (False, False)])
def test_mx_blocks_of_32_share_powers_of_two(
    transposed: tuple[bool, bool], shape: tuple[int, int, int], kind: str
) -> None:
    m, k, n = shape
    if kind == "fp4" and transposed[0] and (m % 2 or m == 0):
        pytest.skip("two codes to a byte along an odd axis, or none")

    def operand(rows: int, swapped: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[rows, k] codes, as they lie in memory or seen from the side, values and scales."""
        stored = (k, rows) if swapped else (rows, k)
        scales = mx_scale(*((-(-k // 64), rows, 2) if swapped else (rows, -(-k // 64), 2)))
        if kind == "fp4":
            data = packed(torch.randint(0, 16, stored), torch.uint8)
            value = matmul.values(data, "fp4")
        else:
            data = codes(kind, *stored)
            value = decoded(kind, data)
        if swapped:
            return data.t(), value.t(), scales.transpose(0, 1)
        return data, value, scales

    x1, left, token = operand(m, transposed[0])
    right, weights, scale = operand(n, not transposed[1])
    kinds = {"x1_dtype": FP4, "x2_dtype": FP4} if kind == "fp4" else {}
    bias = torch.randn(n)
    options = {
        "pertoken_scale": token,
        "scale_dtype": E8M0,
        "pertoken_scale_dtype": E8M0,
        "group_sizes": [1, 1, 32],
        "bias": bias,
        "output_dtype": torch.float32,
        **kinds,
    }
    y = call(x1, right.t(), scale.transpose(0, 1), **options)
    want = matmul.product(left, weights.t(), powers(token, k), powers(scale, k).t())
    assert_equal(y, (want + bias).float())
    assert_meta_agrees(
        torch.ops.npu.npu_quant_matmul, x1, right.t(), scale.transpose(0, 1), **options
    )


def test_mx_scales_at_the_ends_of_their_range_do_not_overflow() -> None:
    x1, x2 = torch.full((1, 64), 2.0).to(torch.float8_e4m3fn), torch.ones(64, 2)
    token = torch.full((1, 1, 2), 254, dtype=torch.uint8)
    scale = torch.zeros(1, 2, 2, dtype=torch.uint8)
    y = call(
        x1,
        x2.to(torch.float8_e4m3fn),
        scale.view(torch.float8_e8m0fnu),
        pertoken_scale=token.view(torch.float8_e8m0fnu),
        output_dtype=torch.float32,
    )
    assert torch.equal(y.cpu(), torch.full((1, 2), 128.0))


def test_an_mx_block_of_nan_spoils_its_row_alone() -> None:
    x1, x2 = codes("e4m3", 2, 64), codes("e4m3", 64, 3)
    token, scale = mx_scale(2, 1, 2), mx_scale(1, 3, 2)
    token[0, 0, 1] = 255
    options = {"scale_dtype": E8M0, "pertoken_scale_dtype": E8M0}
    y = call(x1, x2, scale, pertoken_scale=token, output_dtype=torch.float32, **options).cpu()
    assert y[0].isnan().all()
    assert not y[1].isnan().any()


@pytest.mark.parametrize("carrier", [torch.uint8, torch.float32])
def test_fp8_by_mxfp4(carrier: torch.dtype) -> None:
    x1, stored = codes("e4m3", 3, 128), packed(torch.randint(0, 16, (16, 128)), torch.uint8)
    token, scale = mx_scale(3, 2, 2), mx_scale(16, 2, 2)
    bias = torch.randn(1, 16).bfloat16()
    kind = {"x2_dtype": FP4} if carrier == torch.uint8 else {}
    y = call(
        x1,
        stored.view(carrier).t(),
        scale.transpose(0, 1),
        pertoken_scale=token,
        bias=bias,
        output_dtype=torch.bfloat16,
        scale_dtype=E8M0,
        pertoken_scale_dtype=E8M0,
        **kind,
    )
    weights = matmul.values(stored, "fp4").t()
    want = matmul.product(decoded("e4m3", x1), weights, powers(token, 128), powers(scale, 128).t())
    assert_equal(y, (want + bias).bfloat16())


def test_fp8_by_fp4_with_scales_of_groups_and_of_channels() -> None:
    x1, stored = codes("e4m3", 3, 64), packed(torch.randint(0, 16, (8, 64)), torch.uint8)
    scale = torch.rand(2, 8).bfloat16()
    factors = torch.rand(1, 8)
    y_scale = torch_npu_sim.npu_trans_quant_param(on_npu(factors))
    options = {"x2_dtype": FP4, "group_sizes": [0, 0, 32], "output_dtype": torch.bfloat16}
    y = call(x1, stored.t(), scale, y_scale=y_scale, **options)
    pipe = torch.tensor([matmul.packed_factor(value) for value in factors[0].tolist()])
    weights = matmul.values(stored, "fp4").t()
    want = matmul.product(decoded("e4m3", x1), weights, 1.0, matmul.spread(scale, 0, 32, 64) * pipe)
    assert_equal(y, want.bfloat16())


BASE: dict[str, Any] = {
    "x1": torch.ones(4, 8, dtype=torch.int8),
    "x2": torch.ones(8, 6, dtype=torch.int8),
    "scale": torch.ones(6),
}
FP8 = {"x1": codes("e4m3", 4, 8), "x2": codes("e4m3", 8, 6)}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x2": torch.ones(9, 6, dtype=torch.int8)}, ValueError, "got k of 8 and 9"),
        ({"x1": torch.ones(8, dtype=torch.int8)}, ValueError, "x1 and x2 of 2 to 6 axes"),
        ({"x2": codes("e4m3", 8, 6)}, TypeError, "x1 and x2 of one format"),
        ({"x1": torch.ones(4, 8)}, TypeError, "expected x1 and x2 of int8"),
        ({"scale": torch.ones(5)}, ValueError, r"scale of \[1\] or \[6\]"),
        ({"pertoken_scale": torch.ones(3)}, ValueError, "expected output_dtype"),
        (
            {"pertoken_scale": torch.ones(3), "output_dtype": torch.float16},
            ValueError,
            r"pertoken_scale of \[1\] or \[4\]",
        ),
        ({"output_dtype": torch.float32}, ValueError, "expected output_dtype of one of"),
        ({**FP8}, ValueError, "expected output_dtype of one of"),
        ({"bias": torch.ones(5, dtype=torch.int32)}, ValueError, r"bias of \[6\]"),
        ({"bias": torch.ones(6)}, TypeError, "expected bias of Int"),
        ({"offset": torch.ones(6), "output_dtype": torch.float16}, ValueError, "no offset"),
        ({"offset": torch.ones(6).half()}, TypeError, "expected offset of Float"),
        ({"group_sizes": [1, 1]}, ValueError, r"group_sizes of \[m, n, k\]"),
        ({"group_sizes": [0, 0, 70000]}, ValueError, r"group_sizes in \[0, 65535\]"),
        ({"y_scale": torch.ones(1, 6).long()}, ValueError, "no y_scale"),
        ({"scale": torch.ones(6).half()}, TypeError, "expected scale of"),
        ({**FP8, "scale_dtype": E8M0, "output_dtype": torch.float16}, TypeError, "pertoken_scale"),
        (
            {
                **FP8,
                "scale": mx_scale(1, 6, 2),
                "pertoken_scale": mx_scale(4, 2, 2),
                "scale_dtype": E8M0,
                "pertoken_scale_dtype": E8M0,
                "output_dtype": torch.float16,
            },
            ValueError,
            r"pertoken_scale of \[.., 4, 1, 2\]",
        ),
        (
            {
                **FP8,
                "scale": torch.ones(1, 1),
                "pertoken_scale": torch.ones(4, 1),
                "group_sizes": [1, 64, 64],
                "output_dtype": torch.float16,
            },
            ValueError,
            r"group_sizes of \[1, 128, 128\]",
        ),
        (
            {
                **FP8,
                "x2": codes("e4m3", 6, 8).t(),
                "scale": torch.ones(2, 3),
                "pertoken_scale": torch.ones(4, 2),
                "output_dtype": torch.float16,
            },
            ValueError,
            "x2 and scale transposed alike",
        ),
    ],
)
def test_what_the_card_does_not_take_is_refused(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match="npu_quant_matmul: .*" + text):
        torch_npu_sim.npu_quant_matmul(**on_npu(BASE | change))


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_packed_scale_holds_nineteen_bits_and_an_offset(rounds: int) -> None:
    scale = torch.tensor([1.0, 2.7182817, -0.1, 0.0, 1e-20, 1.0004883, 1.0014648])
    offset = torch.tensor([0.5, 1.5, -2.5, 300.0, -300.0, -1.0, 255.0])
    got = torch_npu_sim.npu_trans_quant_param(*on_npu((scale, offset)), rounds).cpu()
    for value, shift, word in zip(scale.tolist(), offset.tolist(), got.tolist(), strict=True):
        factor = torch.tensor(matmul.packed_factor(value, rounds=bool(rounds)))
        assert word & 0xFFFFFFFF == int(factor.view(torch.int32)) & 0xFFFFFFFF
        assert (word >> 37) & 0x1FF == matmul.packed_offset(shift) & 0x1FF
        assert (word >> 46) == 1


def test_a_packed_scale_and_its_offset_broadcast() -> None:
    one, four = torch.ones(1), torch.ones(4)
    for scale, offset in ((one, four), (four, one), (four, None), (four.unsqueeze(0), None)):
        got = torch_npu_sim.npu_trans_quant_param(*on_npu((scale, offset)))
        assert got.shape[-1] == 4
        assert got.dtype == torch.int64
        assert_meta_agrees(torch.ops.npu.npu_trans_quant_param, scale, offset)
    with pytest.raises(ValueError, match="npu_trans_quant_param: expected round_mode"):
        torch_npu_sim.npu_trans_quant_param(on_npu(one), None, 2)
    with pytest.raises(ValueError, match="npu_trans_quant_param: expected offset of"):
        torch_npu_sim.npu_trans_quant_param(*on_npu((four, torch.ones(3))))
    with pytest.raises(TypeError, match="npu_trans_quant_param: expected scale of float32"):
        torch_npu_sim.npu_trans_quant_param(on_npu(one.half()))


def kernels(*args: Any, **options: Any) -> list[Any]:
    moved = on_npu((args, options))
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_quant_matmul(*moved[0], **moved[1])
    return list(trace.kernels)


def test_time_counts_operands_scales_and_result() -> None:
    m, k, n = 64, 256, 128
    x1, x2 = codes("int8", m, k), codes("int8", k, n)
    (kernel,) = kernels(
        x1, x2, torch.ones(n), pertoken_scale=torch.ones(m), output_dtype=torch.bfloat16
    )
    assert kernel.bytes_read == m * k + k * n + 4 * (n + m)
    assert kernel.bytes_written == 2 * m * n


def test_a_scale_in_fp32_is_packed_by_a_kernel_before_the_product() -> None:
    x1, x2 = codes("int8", 4, 16), codes("int8", 16, 8)
    assert len(kernels(x1, x2, torch.ones(8))) == 2
    assert len(kernels(x1, x2, torch.ones(8).long())) == 1


def test_mxfp4_reads_half_of_what_mxfp8_reads() -> None:
    m, k, n = 64, 512, 64
    scales = {"pertoken_scale": mx_scale(m, k // 64, 2), "output_dtype": torch.bfloat16}
    both = {"scale_dtype": E8M0, "pertoken_scale_dtype": E8M0}
    fp8 = kernels(
        codes("e4m3", m, k), codes("e4m3", k, n), mx_scale(k // 64, n, 2), **scales, **both
    )
    halves = packed(torch.randint(0, 16, (m, k)), torch.uint8)
    right = packed(torch.randint(0, 16, (k, n)), torch.uint8)
    kinds = {"x1_dtype": FP4, "x2_dtype": FP4}
    fp4 = kernels(halves, right, mx_scale(k // 64, n, 2), **scales, **both, **kinds)
    of_scales = (m + n) * (k // 32)
    assert fp8[0].bytes_read == (m + n) * k + of_scales
    assert fp4[0].bytes_read == (m + n) * k // 2 + of_scales
