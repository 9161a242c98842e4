"""Calls of npu_grouped_matmul: what is refused, its work, and generated ones."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.coded_operands import (
    E8M0,
    assert_near,
    by_rows,
    coded,
    e8m0,
    grouped_matmul,
    mx_scales,
)
from torch_npu_sim.testing.comparison import on_npu
from torch_npu_sim.testing.reference import grouped

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
SIZES = [[3, 0, 4], [0, 0, 0], [7, 0, 0], [1, 2, 1]]


def wide_call() -> dict[str, Any]:
    return {
        "x": [torch.ones(4, 8)],
        "weight": [torch.ones(2, 8, 5)],
        "group_list": torch.tensor([2, 4]),
        "group_type": 0,
        "split_item": 3,
    }


def int8_call() -> dict[str, Any]:
    return wide_call() | {
        "x": [torch.ones(4, 8, dtype=torch.int8)],
        "weight": [torch.ones(2, 8, 5, dtype=torch.int8)],
        "scale": [torch.ones(2, 5)],
        "output_dtype": torch.bfloat16,
    }


def refused(call: dict[str, Any], error: type[Exception], text: str) -> None:
    call = on_npu(call)
    with pytest.raises(error, match="npu_grouped_matmul: .*" + text):
        torch_npu_sim.npu_grouped_matmul(call.pop("x"), call.pop("weight"), **call)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"group_list": torch.tensor([2, 9])}, ValueError, "add up to at most 4"),
        ({"group_list": torch.tensor([3, 2])}, ValueError, "add up to at most 4"),
        ({"group_list": torch.tensor([1, 2, 3])}, ValueError, "of 2 groups, got 3"),
        ({"group_list": torch.tensor([2.0, 4.0])}, TypeError, "expected group_list of int64"),
        ({"group_list": None}, ValueError, "expected group_list"),
        ({"group_type": 1}, ValueError, "expected group_type"),
        ({"group_type": None}, ValueError, "expected group_type .*, got None"),
        ({"group_type": 2}, ValueError, "for group_type 2"),
        ({"split_item": 4}, ValueError, "expected split_item"),
        ({"group_list_type": 3}, ValueError, "expected group_list_type"),
        ({"group_list_type": 2, "split_item": 0}, ValueError, "expected split_item of 2 or 3"),
        ({"act_type": 1}, ValueError, "expected act_type 1 only with"),
        ({"act_type": 3}, ValueError, "expected act_type of"),
        ({"offset": [torch.ones(2, 5)]}, ValueError, "expected no offset"),
        ({"activation_input": [torch.ones(2)]}, ValueError, "expected no activation_input"),
        ({"output_dtype": torch.int32}, ValueError, "expected output_dtype"),
        ({"weight": [torch.ones(2, 9, 5)]}, ValueError, r"weight of \[k, n\] in group 0"),
        ({"weight": [torch.ones(2, 8, 5).half()]}, TypeError, "of one dtype"),
        ({"weight": [torch.ones(5)]}, ValueError, r"one weight of \[groups, k, n\]"),
        ({"x": []}, ValueError, "at least one x"),
        ({"scale": [torch.ones(2, 5)]}, ValueError, "expected no scale"),
        ({"bias": [torch.ones(2, 4)]}, ValueError, r"expected bias of \[5\] a group"),
    ],
)
def test_grouped_products_refuse_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    refused(wide_call() | change, error, text)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"output_dtype": None}, ValueError, "expected output_dtype"),
        ({"scale": None}, ValueError, "expected scale with x and weight of int8 and int8"),
        ({"scale": [torch.ones(2, 4)]}, ValueError, r"expected scale of \[2, 5\] \(a column\)"),
        ({"scale": [torch.ones(3, 5)]}, ValueError, r"expected scale of \[2, ..\]"),
        ({"scale": [torch.ones(2, 5).double()]}, TypeError, "expected scale of float32"),
        ({"per_token_scale": [torch.ones(3)]}, ValueError, "expected per_token_scale of"),
        ({"per_token_scale": [torch.ones(2)]}, ValueError, r"per_token_scale of \[4\], one a row"),
        ({"per_token_scale": [torch.ones(4).half()]}, TypeError, "per_token_scale of float32"),
        ({"antiquant_offset": [torch.ones(2, 5)]}, ValueError, "expected no antiquant_offset"),
        ({"weight": [torch.ones(2, 8, 5)]}, TypeError, "expected x and weight of int8"),
        ({"x": [torch.ones(4, 8, dtype=torch.uint8)]}, TypeError, "expected x of a floating"),
        ({"x": [torch.ones(4, 8, dtype=torch.int64)]}, TypeError, "expected x of a floating"),
        ({"x": [torch.ones(4, 1, dtype=torch.int32)]}, TypeError, "expected x and weight of"),
        ({"scale_dtype": E8M0}, TypeError, "expected scale of float32 with x of int8"),
        ({"group_type": 2}, ValueError, "for group_type 2"),
    ],
)
def test_quantised_products_refuse_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    refused(int8_call() | change, error, text)


def test_fp8_takes_no_bias_and_fp4_only_mx_scales() -> None:
    x, weight = coded("e4m3", 4, 64), coded("e4m3", 2, 64, 8)
    call = int8_call() | {"x": [x.codes], "weight": [weight.codes], "scale": [torch.ones(2, 8)]}
    refused(call | {"bias": [torch.ones(2, 8)]}, ValueError, "expected no bias")
    x, weight = coded("e2m1", 4, 64), coded("e2m1", 2, 64, 8)
    call |= {"x": [x.codes], "weight": [weight.codes], "x_dtype": 296, "weight_dtype": 296}
    refused(call, TypeError, "of float8_e8m0fnu with a weight of float4")
    tiny = {"x": [coded("e2m1", 4, 2).codes], "weight": [coded("e2m1", 2, 2, 8).codes]}
    refused(call | tiny, ValueError, "expected k other than 2")


def test_runs_of_k_need_elements_of_it() -> None:
    call = wide_call() | {
        "x": [torch.ones(4, 0).bfloat16()],
        "weight": [torch.ones(2, 0, 5, dtype=torch.int8)],
        "antiquant_scale": [torch.ones(2, 2, 5).bfloat16()],
    }
    refused(call, ValueError, "antiquant_scale with groups that divide k of 0")


def kernel(x: Any, weight: Any, **call: Any) -> Any:
    """The kernel that one call records."""
    with torch_npu_sim.trace() as trace:
        grouped_matmul(x, weight, **call)
    return trace.kernels[-1]


def test_groups_without_rows_cost_nothing() -> None:
    x, weight = torch.randn(256, 512), torch.randn(32, 512, 512)

    def bytes_read(sizes: list[int]) -> int:
        return int(kernel([x], [weight], **by_rows(sizes)).bytes_read)

    assert bytes_read([128, 128] + [0] * 30) * 8 < bytes_read([8] * 32)


def test_codes_of_four_bits_are_read_as_such() -> None:
    m, n, k = 16, 1024, 1024

    def weight_bytes(form: str, **call: Any) -> int:
        x = coded("bf16", m, k)
        weight = coded(form, 1, k, n)
        call |= by_rows([m], weight_dtype=weight.dtype)
        if form != "bf16":
            call |= {"antiquant_scale": [torch.ones(1, n).bfloat16()]}
        return int(kernel([x.codes], [weight.codes], **call).bytes_read) - m * k * 2

    assert weight_bytes("bf16") == n * k * 2
    assert weight_bytes("int8") == n * k
    assert weight_bytes("int4") == n * k // 2


def test_scales_of_the_mx_formats_are_read_too() -> None:
    m, n, k = 64, 256, 1024
    x, weight = coded("e4m3", m, k), coded("e4m3", 1, k, n)
    of_x, of_weight = mx_scales(1, m, n, k)
    call = by_rows(
        [m],
        scale=[of_weight],
        per_token_scale=[of_x],
        scale_dtype=E8M0,
        per_token_scale_dtype=E8M0,
        output_dtype=torch.bfloat16,
    )
    read = int(kernel([x.codes], [weight.codes], **call).bytes_read)
    assert read == (m + n) * k * 33 // 32


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(-1, 5), max_size=5),
    extra=st.integers(0, 3),
    kind=st.integers(-1, 3),
    k=st.integers(0, 4),
    group_type=st.integers(-1, 2),
    split_item=st.integers(-1, 4),
)
def test_any_grouped_product_is_right_or_refused(
    sizes: list[int], extra: int, kind: int, k: int, group_type: int, split_item: int
) -> None:
    x, weight = torch.randn(max(sum(sizes), 0) + extra, k), torch.randn(len(sizes), k, 2)
    try:
        results = grouped_matmul(
            [x],
            [weight],
            group_list=grouped.group_list(sizes, kind),
            group_list_type=kind,
            group_type=group_type,
            split_item=split_item,
        )
    except ValueError as error:
        assert "npu_grouped_matmul: expected" in str(error)  # noqa: PT017
        return
    if kind == 2:  # groups without rows stand last
        order = sorted(range(len(sizes)), key=lambda group: sizes[group] == 0)
        sizes, weight = [sizes[group] for group in order], weight[order]
    want = grouped.products_by_rows(x, weight, sizes)
    whole = torch.cat([result.cpu() for result in results])
    assert torch.allclose(whole, want[: whole.shape[0]].float(), atol=1e-5)


FORMS = st.sampled_from(["int8", "int4", "e4m3", "hifloat8", "e2m1", "bf16", "fp16", "fp32"])
SCALES = st.sampled_from(["none", "column", "tensor", "run", "block", "mx", "wrong"])
ERRORS = (ValueError, TypeError, IndexError, NotImplementedError)


def any_scale(kind: str, groups: int, n: int, k: int, dtype: torch.dtype) -> Any:
    shapes = {"column": (groups, n), "tensor": (groups,), "run": (groups, 2, n)}
    if kind == "none":
        return None
    if kind == "mx":
        return [e8m0(groups, -(-k // 64), n)]
    if kind == "block":
        return [torch.ones(groups, -(-k // 128), -(-n // 128)).to(dtype)]
    return [torch.ones(shapes.get(kind, (n,))).to(dtype)]


@settings(max_examples=250, deadline=None)
@given(
    form=FORMS,
    weight_form=FORMS,
    scale=SCALES,
    fine=SCALES,
    token=st.sampled_from(["none", "token", "run", "mx"]),
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    k=st.sampled_from([0, 8, 64, 136]),
    out=st.sampled_from([None, torch.float32, torch.bfloat16, torch.int8]),
)
def test_any_quantised_product_is_right_or_refused(
    form: str,
    weight_form: str,
    scale: str,
    fine: str,
    token: str,
    sizes: list[int],
    k: int,
    out: torch.dtype | None,
) -> None:
    m, n, groups = sum(sizes), 8, len(sizes)
    x, weight = coded(form, m, k), coded(weight_form, groups, k, n)
    tokens = {"none": None, "token": [torch.ones(m)], "run": [torch.ones(m, -(-k // 128))]}
    call = by_rows(
        sizes,
        scale=any_scale(scale, groups, n, k, torch.float32),
        antiquant_scale=any_scale(fine, groups, n, k, torch.bfloat16),
        per_token_scale=[e8m0(m, -(-k // 64))] if token == "mx" else tokens[token],
        scale_dtype=E8M0 if scale == "mx" else None,
        per_token_scale_dtype=E8M0 if token == "mx" else None,
        x_dtype=x.dtype,
        weight_dtype=weight.dtype,
        output_dtype=out,
    )
    try:
        (y,) = grouped_matmul([x.codes], [weight.codes], **call)
    except ERRORS as error:
        assert "npu_grouped_matmul: expected" in str(error)  # noqa: PT017
        return
    if "mx" in (scale, fine, token):  # random factors: shape and dtype alone
        assert y.shape == (m, n)
        return
    assert_near(y, grouped.products_by_rows(x.values, weight.values, sizes))
