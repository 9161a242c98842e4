"""npu_grouped_matmul in all its forms, against plain products of the decoded operands."""

from typing import Any

import pytest
import torch

from torch_npu_sim.testing.coded_operands import (
    E8M0,
    assert_near,
    by_rows,
    coded,
    e8m0,
    grouped_matmul,
    mx_scales,
    turned,
)
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees
from torch_npu_sim.testing.reference import grouped

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
SIZES = [[3, 0, 4], [0, 0, 0], [7, 0, 0], [1, 2, 1]]
ROWS, GROUPS = 7, 3


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_each_group_of_rows_has_its_matrix(sizes: list[int], kind: int, dtype: torch.dtype) -> None:
    if kind == 2 and sizes[1] == 0 and sizes[2] > 0:
        sizes = [3, 4, 0]
    x, weight = torch.randn(7, 8, dtype=dtype) / 3, torch.randn(3, 8, 5, dtype=dtype)
    call = by_rows(sizes, kind)
    (y,) = grouped_matmul([x], [weight], **call)
    assert_equal(y, grouped.products_by_rows(x, weight, sizes).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x], [weight], **call)


def test_rows_lie_in_the_order_of_pairs() -> None:
    x, weight = torch.randn(5, 4), torch.randn(3, 4, 2)
    pairs = torch.tensor([[2, 3], [0, 2], [1, 0]])
    (y,) = grouped_matmul(
        [x], [weight], group_list=pairs, group_list_type=2, group_type=0, split_item=3
    )
    assert_equal(y, torch.cat([x[:3] @ weight[2], x[3:] @ weight[0]]))


def test_weights_may_be_a_list_and_results_too() -> None:
    x, weights = torch.randn(5, 4), [torch.randn(4, 3) for _ in range(2)]
    parts = grouped_matmul([x], weights, group_list=torch.tensor([2, 5]), group_type=0)
    assert_equal(parts[0], x[:2] @ weights[0])
    assert_equal(parts[1], x[2:] @ weights[1])


def test_without_a_split_each_x_has_its_matrix() -> None:
    xs = [torch.randn(2, 4), torch.randn(3, 6)]
    weights = [torch.randn(4, 5), torch.randn(6, 7)]
    biases = [torch.randn(5), torch.randn(7)]
    results = grouped_matmul(xs, weights, bias=biases, group_type=-1)
    for result, x, weight, bias in zip(results, xs, weights, biases, strict=True):
        assert_equal(result, x @ weight + bias)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [0, 1])
def test_a_split_of_k_gives_a_product_a_group(kind: int, dtype: torch.dtype) -> None:
    x, weight, sizes = torch.randn(3, 6, dtype=dtype), torch.randn(6, 4, dtype=dtype), [2, 0, 4]
    call = by_rows(sizes, kind, group_type=2)
    (y,) = grouped_matmul([x], [weight], **call)
    assert_equal(y, grouped.products_by_k(x, weight, sizes).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x], [weight], **call)


@pytest.mark.parametrize("group_type", [0, 2])
def test_a_wider_result_is_not_rounded_on_the_way(group_type: int) -> None:
    x, weight = torch.randn(4, 64).bfloat16(), torch.randn(64, 8).bfloat16()
    call = by_rows([4] if group_type == 0 else [64], group_type=group_type)
    weights = weight.unsqueeze(0) if group_type == 0 else weight
    (y,) = grouped_matmul([x], [weights], output_dtype=torch.float32, **call)
    assert_near(y.reshape(4, 8), x.double() @ weight.double())


def test_a_list_of_ints_holds_running_sums() -> None:
    x, weights = torch.randn(5, 4), [torch.randn(4, 3) for _ in range(2)]
    biases = [torch.randn(3) for _ in range(2)]
    parts = grouped_matmul([x], weights, bias=biases, group_list=[2, 5])
    assert_equal(parts[0], x[:2] @ weights[0] + biases[0])
    assert_equal(parts[1], x[2:] @ weights[1] + biases[1])
    (whole,) = grouped_matmul([x], weights, group_list=[2, 5], split_item=3)
    assert_equal(whole, torch.cat([x[:2] @ weights[0], x[2:] @ weights[1]]))
    operator = torch.ops.npu.npu_grouped_matmul.List
    assert_meta_agrees(operator, [x], weights, group_list=[2, 5])
    with pytest.raises(ValueError, match=r"npu_grouped_matmul: expected no per_token_scale"):
        grouped_matmul([x], weights, group_list=[2, 5], act_type=1)


# Scales of x and weight, and what they multiply: names of the modes as CANN has them.
def float_scales(mode: str, m: int, n: int, k: int) -> tuple[dict[str, Any], Any, Any]:
    """Arguments, and factors that broadcast against x [m, k] and weight [groups, k, n]."""
    column = torch.rand(GROUPS, n) + 0.5
    tensor = torch.rand(GROUPS) + 0.5
    token = torch.rand(m) + 0.5
    if mode == "column":
        return {"scale": [column]}, 1, column.unsqueeze(1)
    if mode == "tensor":
        return {"scale": [tensor]}, 1, tensor.view(-1, 1, 1)
    if mode == "token column":
        call = {"scale": [column], "per_token_scale": [token]}
        return call, token.unsqueeze(1), column.unsqueeze(1)
    if mode == "token tensor":
        call = {"scale": [tensor.view(-1, 1)], "per_token_scale": [token]}
        return call, token.unsqueeze(1), tensor.view(-1, 1, 1)
    if mode == "group column":
        call = {"scale": [column], "per_token_scale": [tensor]}
        return call, 1, (column * tensor.unsqueeze(1)).unsqueeze(1)
    rows = torch.rand(m, -(-k // 128)) + 0.5
    blocks = torch.rand(GROUPS, -(-k // 128), -(-n // 128)) + 0.5
    call = {"scale": [blocks], "per_token_scale": [rows]}
    return call, grouped.blocks_of_rows(rows, k), grouped.blocks_of_columns(blocks, k, n)


@pytest.mark.parametrize("out", FLOATS)
@pytest.mark.parametrize("form", ["int8", "e4m3", "e5m2", "hifloat8"])
@pytest.mark.parametrize(
    "mode", ["column", "tensor", "token column", "token tensor", "group column", "block"]
)
def test_codes_of_8_bits_are_scaled_after_their_product(
    mode: str, form: str, out: torch.dtype
) -> None:
    if form == "int8" and mode in ("group column", "block"):
        pytest.skip("the card has no such int8 product")
    m, n, k, sizes = ROWS, 130, 200, [3, 0, 4]
    x, weight = coded(form, m, k), coded(form, GROUPS, k, n)
    scales, of_x, of_weight = float_scales(mode, m, n, k)
    dtypes = {"x_dtype": x.dtype, "weight_dtype": weight.dtype, "output_dtype": out}
    call = by_rows(sizes) | scales | dtypes
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    want = grouped.products_by_rows(x.values * of_x, weight.values * of_weight, sizes)
    assert y.dtype == out
    assert_near(y, want)
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x.codes], [weight.codes], **call)


def test_int8_sums_are_exact() -> None:
    k = 40_000
    x = torch.full((1, k), 127, dtype=torch.int8)
    x[0, -1] = 1
    weight = torch.full((1, k, 1), 127, dtype=torch.int8)
    scale = [torch.full((1, 1), 2.0**-20)]
    (y,) = grouped_matmul([x], [weight], scale=scale, **by_rows([1], output_dtype=torch.float32))
    assert y.item() == torch.tensor((127 * (k - 1) + 1) * 127.0 * 2.0**-20).item()


def test_a_packed_scale_holds_the_upper_19_bits_of_fp32() -> None:
    x, weight = coded("int8", 4, 16), coded("int8", 1, 16, 8)
    scale = torch.rand(1, 8) + 0.5
    bits = scale.view(torch.int32).long() & 0xFFFFFFFF
    call = by_rows([4], output_dtype=torch.bfloat16)
    (y,) = grouped_matmul([x.codes], [weight.codes], scale=[bits | (1 << 46)], **call)
    kept = (scale.view(torch.int32) & -8192).view(torch.float32)
    assert_near(y, grouped.products_by_rows(x.values, weight.values * kept.unsqueeze(1), [4]))


@pytest.mark.parametrize("kind", [torch.int32, torch.bfloat16, torch.float32])
def test_int8_takes_a_bias_before_its_scale_or_after(kind: torch.dtype) -> None:
    sizes = [3, 0, 4]
    x, weight = coded("int8", ROWS, 32), coded("int8", GROUPS, 32, 8)
    bias = torch.randint(-900, 900, (GROUPS, 8)).to(kind)
    scale, token = torch.rand(GROUPS, 8) + 0.5, torch.rand(ROWS) + 0.5
    call = by_rows(sizes, output_dtype=torch.bfloat16, scale=[scale], per_token_scale=[token])
    (y,) = grouped_matmul([x.codes], [weight.codes], bias=[bias], **call)
    group = torch.tensor([0, 0, 0, 2, 2, 2, 2])
    want = grouped.products_by_rows(x.values, weight.values, sizes)
    if kind == torch.int32:
        want = want + bias[group]
    want = want * scale[group] * token.unsqueeze(1)
    assert_near(y, want if kind == torch.int32 else want + bias[group].double())


@pytest.mark.parametrize(
    ("act_type", "function"),
    [
        (1, torch.relu),
        (2, lambda y: torch.nn.functional.gelu(y, approximate="tanh")),
        (4, lambda y: y * torch.sigmoid(1.702 * y)),
        (5, torch.nn.functional.silu),
    ],
)
def test_an_activation_follows_an_int8_product(act_type: int, function: Any) -> None:
    x, weight = coded("int8", 4, 16), coded("int8", 1, 16, 8)
    scale = [torch.full((1, 8), 1e-3)]
    call = by_rows([4], output_dtype=torch.float16, scale=scale)
    (y,) = grouped_matmul([x.codes], [weight.codes], act_type=act_type, **call)
    want = grouped.products_by_rows(x.values, weight.values, [4]) * 1e-3
    assert_near(y, function(want))


@pytest.mark.parametrize("k", [32, 100, 192])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("form", "weight_form"),
    [("e4m3", "e4m3"), ("e5m2", "e4m3"), ("e2m1", "e2m1"), ("e4m3", "e2m1")],
)
@pytest.mark.parametrize("out", [torch.float32, torch.bfloat16])
def test_mx_blocks_of_32_share_a_power_of_two(
    out: torch.dtype, form: str, weight_form: str, transposed: bool, k: int
) -> None:
    n, sizes = 6, [3, 0, 4]
    x = coded(form, ROWS, k)
    weight = turned(coded(weight_form, GROUPS, n, k)) if transposed else None
    weight = weight or coded(weight_form, GROUPS, k, n)
    of_x, of_weight = mx_scales(GROUPS, ROWS, n, k)
    mixed = form != weight_form and weight_form == "e2m1"
    call = by_rows(
        sizes,
        per_token_scale=[of_x],
        per_token_scale_dtype=E8M0,
        x_dtype=x.dtype,
        weight_dtype=weight.dtype,
        output_dtype=out,
        tuning_config=[0],
    )
    call |= {"antiquant_scale": [of_weight]} if mixed else {"scale": [of_weight]}
    if not mixed:
        call["scale_dtype"] = E8M0
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    want = grouped.products_by_rows(
        x.values * grouped.mx_rows(of_x, k),
        weight.values * grouped.mx_columns(of_weight, k),
        sizes,
    )
    assert_near(y, want)
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x.codes], [weight.codes], **call)


def test_mx_scales_may_lie_block_by_block() -> None:
    x, weight = coded("e4m3", ROWS, 64), turned(coded("e2m1", GROUPS, 8, 64))
    of_x, of_weight = mx_scales(GROUPS, ROWS, 8, 64)
    flat = of_weight.transpose(-1, -2).flatten(1, 2)
    call = by_rows(
        [3, 0, 4],
        antiquant_scale=[flat],
        per_token_scale=[of_x.flatten(1)],
        per_token_scale_dtype=E8M0,
        weight_dtype=weight.dtype,
        output_dtype=torch.float16,
    )
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    want = grouped.products_by_rows(
        x.values * grouped.mx_rows(of_x, 64),
        weight.values * grouped.mx_columns(of_weight, 64),
        [3, 0, 4],
    )
    assert_near(y, want)


def test_codes_know_their_formats_where_torch_has_them() -> None:
    x, weight = coded("e2m1", ROWS, 64), coded("e2m1", GROUPS, 64, 8)
    of_x, of_weight = mx_scales(GROUPS, ROWS, 8, 64)
    native = torch.float4_e2m1fn_x2
    call = by_rows(
        [3, 0, 4],
        scale=[of_weight.view(torch.float8_e8m0fnu)],
        per_token_scale=[of_x.view(torch.float8_e8m0fnu)],
        output_dtype=torch.float32,
    )
    (y,) = grouped_matmul([x.codes.view(native)], [weight.codes.view(native)], **call)
    want = grouped.products_by_rows(
        x.values * grouped.mx_rows(of_x, 64),
        weight.values * grouped.mx_columns(of_weight, 64),
        [3, 0, 4],
    )
    assert_near(y, want)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("form", ["int8", "int4", "e4m3", "hifloat8"])
@pytest.mark.parametrize("runs", [0, 4])
@pytest.mark.parametrize("offset", [False, True])
def test_weights_are_dequantised_to_the_dtype_of_x(
    offset: bool, runs: int, form: str, kind: str
) -> None:
    k, n, sizes = 32, 8, [3, 0, 4]
    x, weight = coded(kind, ROWS, k), coded(form, GROUPS, k, n)
    dtype = x.codes.dtype
    shape = (GROUPS, runs, n) if runs else (GROUPS, n)
    scale, shift = (torch.rand(shape) + 0.5).to(dtype), torch.rand(shape).to(dtype)
    bias = torch.randn(GROUPS, n)
    call = by_rows(sizes, antiquant_scale=[scale], bias=[bias], weight_dtype=weight.dtype) | (
        {"antiquant_offset": [shift]} if offset else {}
    )
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)

    def spread(each: torch.Tensor) -> torch.Tensor:
        each = each.double().reshape(GROUPS, -1, n)
        return each.repeat_interleave(k // each.shape[1], 1)

    wide = (weight.values + (spread(shift) if offset else 0)) * spread(scale)
    want = grouped.products_by_rows(x.values, wide.to(dtype), sizes)
    want += bias[torch.tensor([0, 0, 0, 2, 2, 2, 2])].double()
    assert y.dtype == dtype
    assert_near(y, want)
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x.codes], [weight.codes], **call)


def test_weights_of_fp4_may_lie_in_float32_beside_mx_scales() -> None:
    k, n, sizes = 64, 16, [3, 0, 4]
    x, weight = coded("bf16", ROWS, k), coded("e2m1", GROUPS, k, n)
    _, of_weight = mx_scales(GROUPS, ROWS, n, k)
    flat = of_weight.transpose(-1, -2).flatten(1, 2)
    call = by_rows(sizes, antiquant_scale=[flat])
    (y,) = grouped_matmul([x.codes], [weight.codes.view(torch.float32)], **call)
    wide = weight.values * grouped.mx_columns(of_weight, k)
    assert_near(y, grouped.products_by_rows(x.values, wide, sizes))


def test_lists_of_quantised_weights_have_lists_of_scales() -> None:
    xs = [coded("bf16", 2, 16), coded("bf16", 3, 8)]
    weights = [coded("int8", 16, 4), coded("int8", 8, 6)]
    scales = [(torch.rand(4) + 0.5).bfloat16(), (torch.rand(6) + 0.5).bfloat16()]
    results = grouped_matmul(
        [x.codes for x in xs], [w.codes for w in weights], antiquant_scale=scales, group_type=-1
    )
    for y, x, weight, scale in zip(results, xs, weights, scales, strict=True):
        wide = (weight.values * scale.double()).bfloat16()
        assert_near(y, x.values @ wide.double())


@pytest.mark.parametrize("out", [torch.float16, torch.bfloat16])
def test_int8_by_int4_refines_a_scale_of_runs_by_one_of_columns(out: torch.dtype) -> None:
    k, n, sizes = 256, 16, [3, 0, 4]
    x, weight = coded("int8", ROWS, k), coded("int4", GROUPS, k, n)
    fine = (torch.rand(GROUPS, 2, n) + 0.5).half()
    column, token, bias = torch.rand(GROUPS, n), torch.rand(ROWS), torch.randn(GROUPS, n)
    call = by_rows(
        sizes,
        antiquant_scale=[fine],
        scale=[column],
        per_token_scale=[token],
        bias=[bias],
        output_dtype=out,
    )
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    wide = weight.values * fine.double().repeat_interleave(128, 1) * column.unsqueeze(1)
    want = grouped.products_by_rows(x.values * token.unsqueeze(1), wide, sizes)
    assert_near(y, want + bias[torch.tensor([0, 0, 0, 2, 2, 2, 2])].double())
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x.codes], [weight.codes], **call)


def test_int8_by_int4_in_halves_needs_what_its_shift_leaves_out() -> None:
    k, n, sizes = 512, 16, [3, 0, 4]
    x, weight = coded("int8", ROWS, k), coded("int4", GROUPS, k, n)
    scale = ((torch.rand(GROUPS, 2, n) + 0.5) / 64).half().float()
    packed = scale.view(torch.int32).long()
    wide = weight.values * scale.double().repeat_interleave(256, 1)
    bias, token = (8 * wide.sum(1)).float(), torch.rand(ROWS)
    call = by_rows(
        sizes,
        scale=[packed],
        per_token_scale=[token],
        bias=[bias],
        output_dtype=torch.bfloat16,
    )
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    assert_near(y, grouped.products_by_rows(x.values * token.unsqueeze(1), wide, sizes))
    call.pop("bias")
    with pytest.raises(ValueError, match="npu_grouped_matmul: expected bias of 8 "):
        grouped_matmul([x.codes], [weight.codes], **call)


@pytest.mark.parametrize("turned_scale", [False, True])
@pytest.mark.parametrize("mode", ["tensor", "column", "row column", "mx", "block"])
def test_a_split_of_k_scales_each_group(mode: str, turned_scale: bool) -> None:
    m, n, sizes = 5, 130, [130, 0, 65]
    k = sum(sizes)
    x, weight = turned(coded("e4m3", k, m)), coded("e4m3", k, n)
    starts = [0, 130, 130]
    of_x, of_weight = torch.ones(m, k).double(), torch.ones(k, n).double()
    call: dict[str, Any] = {}
    if mode in ("mx", "block"):
        run = 64 if mode == "mx" else 128
        runs = k // run + 3
        if mode == "mx":
            a, b = e8m0(runs, m), e8m0(runs, n)
            call = {"scale_dtype": E8M0, "per_token_scale_dtype": E8M0}
        else:
            a, b = torch.rand(runs, m) + 0.5, torch.rand(runs, 2) + 0.5
        for group, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            own = slice(start // run + group, start // run + group - (-size // run))
            part = slice(start, start + size)
            if mode == "mx":
                of_x[:, part] = grouped.mx_rows(a[own].transpose(0, 1), size)
                of_weight[part] = grouped.mx_columns(b[own], size)
            elif size:
                of_x[:, part] = grouped.blocks_of_rows(a[own].t(), size)
                of_weight[part] = grouped.blocks_of_columns(b[own], size, n)
        call |= {"per_token_scale": [a.transpose(0, 1) if turned_scale else a], "scale": [b]}
    else:
        b = torch.rand(3, n) + 0.5 if "column" in mode else torch.rand(3) + 0.5
        a = torch.rand(3, m) + 0.5 if "row" in mode else torch.rand(3, 1) + 0.5
        call = {"per_token_scale": [a], "scale": [b]}
        for group, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            of_x[:, start : start + size] = a[group].unsqueeze(1).double()
            of_weight[start : start + size] = b[group].double()
    call = by_rows(sizes, group_type=2, output_dtype=torch.float32, **call)
    (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    assert_near(y, grouped.products_by_k(x.values * of_x, weight.values * of_weight, sizes))
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x.codes], [weight.codes], **call)
