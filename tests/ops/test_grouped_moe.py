"""The fused products of a mixture of experts: with SwiGLU and quantisation, and with routing."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.coded_operands import (
    E2M1,
    E8M0,
    HIFLOAT8,
    Coded,
    assert_near,
    coded,
    mx_scales,
    turned,
)
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import grouped, quant

GROUPS, ROWS = 3, 7
SIZES = [3, 0, 2]
ERRORS = (ValueError, TypeError, IndexError, NotImplementedError)


def swiglu_quant(x: Coded, weight: Coded, **call: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """npu_grouped_matmul_swiglu_quant_v2 with scales and the group list in `call`."""
    scales = call.pop("weight_scale"), call.pop("x_scale"), call.pop("group_list")
    dtypes = {"x_dtype": x.dtype, "weight_dtype": weight.dtype}
    moved = on_npu((x.codes, [weight.codes], *scales))
    results = torch_npu_sim.npu_grouped_matmul_swiglu_quant_v2(*moved, **(dtypes | call))
    meta = (x.codes, [weight.codes], *scales)
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul_swiglu_quant_v2, *meta, **(dtypes | call))
    return results[0], results[1]


@pytest.mark.parametrize("between", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("form", "code"),
    [
        ("int8", torch.int8),
        ("e4m3", torch.float8_e4m3fn),
        ("e4m3", torch.float8_e5m2),
        ("hifloat8", HIFLOAT8),
    ],
)
@pytest.mark.parametrize("kind", [0, 1])
def test_swiglu_is_quantised_by_row(kind: int, form: str, code: Any, between: torch.dtype) -> None:
    k, n = 48, 32
    x, weight = coded(form, ROWS, k), coded(form, GROUPS, k, n)
    of_weight, of_x = torch.rand(GROUPS, n) / 64, torch.rand(ROWS) / 64
    codes, scale = swiglu_quant(
        x,
        weight,
        weight_scale=[of_weight],
        x_scale=of_x,
        group_list=grouped.group_list(SIZES, kind),
        group_list_type=kind,
        quant_dtype=code,
        dequant_dtype=between,
    )
    product = grouped.products_by_rows(
        x.values * of_x.unsqueeze(1), weight.values * of_weight.unsqueeze(1), SIZES
    )
    want = grouped.swiglu(product.to(between))
    largest = 2.0**15 if code == HIFLOAT8 else quant.LARGEST[code]
    step = 1e-4 if between == torch.float32 else 2e-2
    expected = (want.abs().amax(-1) / largest).float()
    torch.testing.assert_close(scale.cpu(), expected, rtol=step, atol=0)
    assert (codes.shape, codes.dtype) == ((ROWS, n // 2), torch.uint8 if code == HIFLOAT8 else code)
    if code == HIFLOAT8:
        return
    # The largest code of a row is exact; the others lie within one step of the format.
    back = codes.cpu().double() * scale.cpu().double().unsqueeze(1)
    bound = want.abs().amax(-1, keepdim=True) * (1 / 64 if code == torch.int8 else 0.15)
    assert ((back - want).abs() <= bound).all()


def test_int8_codes_are_those_of_the_formula() -> None:
    k, n = 32, 32
    x, weight = coded("int8", ROWS, k), coded("int8", GROUPS, k, n)
    of_weight, of_x = torch.rand(GROUPS, n) / 64, torch.rand(ROWS) / 64
    codes, _ = swiglu_quant(
        x,
        weight,
        weight_scale=[of_weight],
        x_scale=of_x,
        group_list=torch.tensor([3, 3, 5]),
        quant_dtype=1,
    )
    product = grouped.products_by_rows(
        x.values * of_x.unsqueeze(1), weight.values * of_weight.unsqueeze(1), SIZES
    )
    want, _ = quant.quantize(grouped.swiglu(product), (-1,), torch.int8)
    assert (codes.cpu().int() - want.int()).abs().max() <= 1
    assert (codes.cpu() == want).float().mean() > 0.98
    assert torch.equal(codes[5:].cpu(), torch.zeros(2, 16, dtype=torch.int8))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("form", "weight_form", "code"),
    [
        ("e4m3", "e4m3", torch.float8_e4m3fn),
        ("e5m2", "e5m2", torch.float8_e5m2),
        ("e2m1", "e2m1", torch.float8_e4m3fn),
        ("e2m1", "e2m1", E2M1),
        ("e4m3", "e2m1", torch.float8_e4m3fn),
    ],
)
@pytest.mark.parametrize("n", [128, 256])
def test_swiglu_is_quantised_in_blocks_of_32(
    n: int, form: str, weight_form: str, code: Any, transposed: bool
) -> None:
    k = 96
    x = coded(form, ROWS, k)
    weight = turned(coded(weight_form, GROUPS, n, k)) if transposed else None
    weight = weight or coded(weight_form, GROUPS, k, n)
    of_x, of_weight = mx_scales(GROUPS, ROWS, n, k)
    codes, scale = swiglu_quant(
        x,
        weight,
        weight_scale=[of_weight],
        x_scale=of_x,
        group_list=torch.tensor(SIZES),
        group_list_type=1,
        dequant_mode=2,
        quant_mode=2,
        quant_dtype=code,
        weight_scale_dtype=E8M0,
        x_scale_dtype=E8M0,
    )
    product = grouped.products_by_rows(
        x.values * grouped.mx_rows(of_x, k), weight.values * grouped.mx_columns(of_weight, k), SIZES
    )
    want = grouped.swiglu(product.float())
    assert scale.dtype == torch.float8_e8m0fnu
    assert scale.shape == (ROWS, -(-n // 128), 2)
    if code == E2M1:
        assert (codes.shape, codes.dtype) == ((ROWS, n // 4), torch.float4_e2m1fn_x2)
        values = quant.decode_e2m1(codes.view(torch.uint8).cpu())
    else:
        assert (codes.shape, codes.dtype) == ((ROWS, n // 2), code)
        values = codes.cpu().float()
    back = quant.mx_dequantize(values, scale.view(torch.uint8).cpu(), -1)
    blocks = want.reshape(ROWS, -1, 32).abs().amax(-1).repeat_interleave(32, -1)
    bound = {torch.float8_e4m3fn: 0.13, torch.float8_e5m2: 0.25, E2M1: 0.34}[code]
    assert ((back - want).abs() <= bound * blocks).all()
    want_scale = quant.mx_quantize(want, -1, None if code == E2M1 else code)[1]
    same = scale.view(torch.uint8).cpu()[: sum(SIZES)] == want_scale[: sum(SIZES)]
    assert same.float().mean() > 0.95


def test_weights_of_the_mx_formats_may_be_a_list() -> None:
    k, n = 64, 128
    x, weight = coded("e4m3", ROWS, k), coded("e4m3", GROUPS, k, n)
    of_x, of_weight = mx_scales(GROUPS, ROWS, n, k)
    options = {
        "dequant_mode": 2,
        "quant_mode": 2,
        "quant_dtype": torch.float8_e4m3fn,
        "weight_scale_dtype": E8M0,
        "x_scale_dtype": E8M0,
    }
    groups = torch.tensor([3, 3, 5])
    one = torch_npu_sim.npu_grouped_matmul_swiglu_quant_v2(
        *on_npu((x.codes, [weight.codes], [of_weight], of_x, groups)), **options
    )
    lists = (x.codes, list(weight.codes), list(of_weight), of_x, groups)
    many = torch_npu_sim.npu_grouped_matmul_swiglu_quant_v2(*on_npu(lists), **options)
    for a, b in zip(one, many, strict=True):
        assert torch.equal(a.view(torch.uint8).cpu(), b.view(torch.uint8).cpu())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"quant_mode": 1}, ValueError, "expected dequant_mode and quant_mode of 0"),
        ({"dequant_mode": 2}, ValueError, "expected dequant_mode and quant_mode of 0"),
        ({"dequant_dtype": torch.int32}, ValueError, "expected dequant_dtype of float32"),
        ({"quant_dtype": E2M1}, ValueError, "expected quant_dtype of int8"),
        ({"quant_dtype": torch.bfloat16}, ValueError, "expected quant_dtype of"),
        ({"group_list_type": 2}, ValueError, "expected group_list_type"),
        ({"smooth_scale": torch.ones(2, 2)}, ValueError, "expected no smooth_scale"),
        ({"bias": torch.ones(2, 4)}, ValueError, "weight_assist_matrix or bias"),
        ({"weight": []}, ValueError, "expected weight of one group or more"),
        ({"weight_scale": []}, ValueError, "as many weight_scale as weight"),
        ({"weight_scale": [torch.ones(2, 3)]}, ValueError, "expected weight_scale of"),
        ({"x_scale": torch.ones(5)}, ValueError, "expected x_scale of"),
        ({"x": torch.ones(4, 9, dtype=torch.int8)}, ValueError, r"expected x of \[m, k\]"),
        ({"x": torch.ones(4, 8)}, TypeError, "expected x and weight of int8"),
        ({"group_list": torch.tensor([2, 9])}, ValueError, "add up to at most 4"),
    ],
)
def test_swiglu_quant_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "x": torch.ones(4, 8, dtype=torch.int8),
        "weight": [torch.ones(2, 8, 4, dtype=torch.int8)],
        "weight_scale": [torch.ones(2, 4)],
        "x_scale": torch.ones(4),
        "group_list": torch.tensor([2, 4]),
    }
    with pytest.raises(error, match="npu_grouped_matmul_swiglu_quant_v2: .*" + text):
        torch_npu_sim.npu_grouped_matmul_swiglu_quant_v2(**on_npu(call | change))


def test_the_older_kernels_are_not_on_this_card() -> None:
    codes, ones = torch.ones(2, 2, dtype=torch.int8), torch.ones(2)
    arguments = on_npu((codes, codes.unsqueeze(0), torch.tensor([2]), ones.view(1, 2), ones))
    with pytest.raises(RuntimeError, match="ERR01007"):
        torch_npu_sim.npu_grouped_matmul_swiglu_quant(*arguments)
    x, weight, groups, scale, _ = arguments
    with pytest.raises(RuntimeError, match="ERR01007"):
        torch_npu_sim.npu_quant_grouped_matmul_dequant(x.half(), weight, scale, groups)


def routed(x: Coded, weight: Coded, groups: torch.Tensor, **call: Any) -> torch.Tensor:
    """npu_grouped_matmul_finalize_routing with the formats of its operands."""
    operator = torch.ops.npu.npu_grouped_matmul_finalize_routing
    options = {"x_dtype": x.dtype, "w_dtype": weight.dtype} | call
    assert_meta_agrees(operator, x.codes, weight.codes, groups, **options)
    y: torch.Tensor = operator(*on_npu((x.codes, weight.codes, groups)), **on_npu(options))
    return y


def routing(tokens: int) -> dict[str, Any]:
    """Logits, and each row's token."""
    return {"logit": torch.rand(ROWS), "row_index": torch.randint(tokens, (ROWS,))}


@pytest.mark.parametrize("token_scale", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("form", ["int8", "e4m3", "hifloat8"])
def test_rows_are_added_to_their_tokens(
    form: str, with_bias: bool, shared: bool, token_scale: bool
) -> None:
    k, n, tokens = 32, 8, 4
    x, weight = coded(form, ROWS, k), coded(form, GROUPS, k, n)
    scale, of_x = torch.rand(GROUPS, n) + 0.5, torch.rand(ROWS) + 0.5
    call = routing(tokens) | {"scale": scale, "output_bs": tokens}
    product = grouped.products_by_rows(x.values, weight.values * scale.unsqueeze(1), SIZES)
    if token_scale:
        call["pertoken_scale"] = of_x
        product = product * of_x.unsqueeze(1)
    if with_bias:
        bias = torch.randn(GROUPS, n).bfloat16()
        call["bias"] = bias
        product[: sum(SIZES)] += bias[torch.tensor([0, 0, 0, 2, 2])].double()
    expert = torch.randn(2, n).bfloat16() if shared else None
    if shared:
        call |= {"shared_input": expert, "shared_input_weight": 0.5, "shared_input_offset": 1}
    y = routed(x, weight, torch.tensor(SIZES), **call)
    rows = slice(sum(SIZES))
    want = grouped.finalize_routing(
        product[rows], call["logit"][rows], call["row_index"][rows], tokens, expert, 0.5, 1
    )
    assert_near(y, want)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("form", ["e4m3", "e2m1"])
def test_rows_of_the_mx_formats_are_added_to_their_tokens(form: str, transposed: bool) -> None:
    k, n = 96, 8
    x = coded(form, ROWS, k)
    weight = turned(coded(form, GROUPS, n, k)) if transposed else coded(form, GROUPS, k, n)
    of_x, of_weight = mx_scales(GROUPS, ROWS, n, k)
    call = routing(ROWS) | {
        "scale": of_weight,
        "pertoken_scale": of_x,
        "scale_dtype": E8M0,
        "pertoken_scale_dtype": E8M0,
        "group_list_type": 0,
    }
    y = routed(x, weight, torch.tensor([3, 3, 5]), **call)
    product = grouped.products_by_rows(
        x.values * grouped.mx_rows(of_x, k), weight.values * grouped.mx_columns(of_weight, k), SIZES
    )
    rows = slice(sum(SIZES))
    want = grouped.finalize_routing(
        product[rows], call["logit"][rows], call["row_index"][rows], ROWS
    )
    assert_near(y, want)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"scale": None}, ValueError, "expected scale, got None"),
        ({"scale": torch.ones(2, 3)}, ValueError, "expected scale of"),
        ({"bias": torch.ones(2, 4)}, TypeError, "expected bias of bfloat16"),
        ({"bias": torch.ones(3, 4).bfloat16()}, ValueError, r"expected bias of \[2, 4\]"),
        ({"offset": torch.ones(2, 1, 4)}, ValueError, "expected no offset"),
        ({"logit": None}, ValueError, r"expected logit of \[4\]"),
        ({"logit": torch.ones(4).half()}, TypeError, "expected logit of float32"),
        ({"row_index": torch.zeros(3).long()}, ValueError, r"expected row_index of \[4\]"),
        ({"row_index": torch.zeros(4)}, TypeError, "expected row_index of int64"),
        ({"row_index": torch.full((4,), 4)}, IndexError, "expected row_index from 0 to 3"),
        ({"row_index": torch.full((4,), -1)}, IndexError, "expected row_index from 0 to 3"),
        ({"shared_input": torch.ones(5, 4).bfloat16()}, ValueError, "expected shared_input of"),
        ({"shared_input": torch.ones(2, 4)}, TypeError, "expected shared_input of bfloat16"),
        ({"shared_input_offset": -1}, ValueError, "shared_input_offset from 0"),
        ({"output_bs": -1}, ValueError, "expected output_bs"),
        ({"group_list_type": 2}, ValueError, "expected group_list_type"),
        ({"dtype": torch.bfloat16}, ValueError, "expected dtype of float32"),
        ({"w": torch.ones(2, 8, 4)}, TypeError, "expected x and weight of int8"),
        ({"w": torch.ones(2, 9, 4, dtype=torch.int8)}, ValueError, r"expected x of \[m, k\]"),
        ({"w": torch.ones(8, 4, dtype=torch.int8)}, ValueError, r"expected x of \[m, k\]"),
        ({"x": torch.ones(4, 8)}, TypeError, "expected x and weight of int8"),
    ],
)
def test_finalize_routing_refuses_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "x": torch.ones(4, 8, dtype=torch.int8),
        "w": torch.ones(2, 8, 4, dtype=torch.int8),
        "group_list": torch.tensor([2, 2]),
        "scale": torch.ones(2, 4),
        "logit": torch.ones(4),
        "row_index": torch.arange(4),
    }
    with pytest.raises(error, match="npu_grouped_matmul_finalize_routing: .*" + text):
        torch_npu_sim.npu_grouped_matmul_finalize_routing(**on_npu(call | change))


def test_the_fused_products_read_the_weights_of_active_groups_alone() -> None:
    k, n = 256, 512
    x, weight = coded("int8", 64, k), coded("int8", 8, k, n)
    scales = {"weight_scale": [torch.ones(8, n)], "x_scale": torch.ones(64)}

    def weight_bytes(sizes: list[int]) -> int:
        groups = torch.tensor(sizes)
        with torch_npu_sim.trace() as trace:
            swiglu_quant(x, weight, group_list=groups, group_list_type=1, **scales)
        return int(trace.kernels[-2].bytes_read) - sum(sizes) * k

    assert weight_bytes([64] + [0] * 7) == k * n
    assert weight_bytes([8] * 8) == 8 * k * n


@settings(max_examples=200, deadline=None)
@given(
    form=st.sampled_from(["int8", "int4", "e4m3", "hifloat8", "e2m1", "bf16"]),
    weight_form=st.sampled_from(["int8", "e4m3", "hifloat8", "e2m1", "bf16"]),
    scale=st.sampled_from(["column", "tensor", "mx", "wrong"]),
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    k=st.sampled_from([0, 8, 64]),
    modes=st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, 2])),
    code=st.sampled_from([1, 23, 24, HIFLOAT8, E2M1]),
    tokens=st.integers(0, 4),
)
def test_any_fused_product_is_right_or_refused(
    form: str,
    weight_form: str,
    scale: str,
    sizes: list[int],
    k: int,
    modes: tuple[int, int],
    code: int,
    tokens: int,
) -> None:
    m, n, groups = sum(sizes), 64, len(sizes)
    x, weight = coded(form, m, k), coded(weight_form, groups, k, n)
    of_x, of_weight = torch.ones(m), torch.ones(groups, n)
    dtype = E8M0 if scale == "mx" else None
    if scale == "mx":
        of_x, of_weight = mx_scales(groups, m, n, k)
    elif scale != "column":
        of_weight = torch.ones(groups) if scale == "tensor" else torch.ones(n + 1)
    groups_of_rows = torch.tensor(sizes)
    try:
        codes, _ = torch_npu_sim.npu_grouped_matmul_swiglu_quant_v2(
            *on_npu((x.codes, [weight.codes], [of_weight], of_x, groups_of_rows)),
            group_list_type=1,
            dequant_mode=modes[0],
            quant_mode=modes[1],
            quant_dtype=code,
            x_dtype=x.dtype,
            weight_dtype=weight.dtype,
            weight_scale_dtype=dtype,
            x_scale_dtype=dtype,
        )
        assert codes.shape == (m, n // 4 if code == E2M1 else n // 2)
    except ERRORS as error:
        assert "npu_grouped_matmul_swiglu_quant_v2: expected" in str(error)  # noqa: PT017
    index = torch.randint(max(tokens, 1), (m,))
    try:
        y = torch_npu_sim.npu_grouped_matmul_finalize_routing(
            *on_npu((x.codes, weight.codes, groups_of_rows)),
            **on_npu({"scale": of_weight, "pertoken_scale": of_x, "row_index": index}),
            logit=on_npu(torch.ones(m)),
            output_bs=tokens,
            x_dtype=x.dtype,
            w_dtype=weight.dtype,
            scale_dtype=dtype,
            pertoken_scale_dtype=dtype,
        )
    except ERRORS as error:
        assert "npu_grouped_matmul_finalize_routing: expected" in str(error)  # noqa: PT017
        return
    if scale == "mx":
        return
    product = grouped.products_by_rows(x.values, weight.values, sizes)
    want = grouped.finalize_routing(product, torch.ones(m), index, tokens or m)
    assert_near(y, want)
