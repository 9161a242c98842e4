"""Products over groups of K that are added to gradients, against plain sums."""

from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.coded_operands import E8M0, HIFLOAT8, assert_near, coded, e8m0, turned
from torch_npu_sim.testing.comparison import assert_meta_agrees, on_npu
from torch_npu_sim.testing.reference import grouped

SIZES = [70, 0, 30]
M, N, K, GROUPS = 6, 8, 110, 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("folded", [False, True])
def test_products_of_groups_are_added(folded: bool, kind: int, dtype: torch.dtype) -> None:
    x, weight = torch.randn(K, M).to(dtype), torch.randn(K, N).to(dtype)
    sums = torch.randn(GROUPS, M, N)
    given = sums.flatten(0, 1) if folded else sums
    groups = grouped.group_list(SIZES, kind)
    want = grouped.add_by_k(sums, x.t(), weight, SIZES).reshape(given.shape)
    options = {"group_list_type": kind}
    moved = on_npu((given, x, weight, groups))
    y = torch_npu_sim.npu_grouped_matmul_add(*moved, **options)
    assert_near(y, want)
    assert torch.equal(moved[0].cpu(), given)
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul_add, given, x, weight, groups, **options)
    again = torch_npu_sim.npu_grouped_matmul_add_(*moved, **options)
    assert again.data_ptr() == moved[0].data_ptr()
    assert torch.equal(moved[0].cpu(), y.cpu())


def test_codes_of_the_mx_formats_are_added() -> None:
    x, weight = turned(coded("e4m3", K, M)), coded("e5m2", K, N)
    runs = K // 64 + GROUPS
    of_x, of_weight = e8m0(runs, M), e8m0(runs, N)
    wide_x, wide = torch.zeros(M, K).double(), torch.zeros(K, N).double()
    for group, (start, size) in enumerate(zip([0, 70, 70], SIZES, strict=True)):
        own = slice(start // 64 + group, start // 64 + group - (-size // 64))
        part = slice(start, start + size)
        wide_x[:, part] = x.values[:, part] * grouped.mx_rows(of_x[own].transpose(0, 1), size)
        wide[part] = weight.values[part] * grouped.mx_columns(of_weight[own], size)
    sums, groups = torch.randn(GROUPS, M, N), torch.tensor([70, 70, 100])
    call = {"x1_scale_dtype": E8M0, "x2_scale_dtype": E8M0}
    arguments = (sums, x.codes, weight.codes, of_weight, groups)
    y = torch_npu_sim.npu_add_quant_gmm(
        *on_npu(arguments), x1_scale=on_npu(of_x).transpose(0, 1), **call
    )
    want = grouped.add_by_k(sums, wide_x, wide, SIZES)
    assert_near(y, want)
    assert_meta_agrees(torch.ops.npu.npu_add_quant_gmm, *arguments, x1_scale=of_x, **call)


@pytest.mark.parametrize("by_column", [False, True])
def test_codes_of_hifloat8_are_added_in_place(by_column: bool) -> None:
    x, weight = turned(coded("hifloat8", K, M)), coded("hifloat8", K, N)
    of_x = torch.rand(GROUPS) + 0.5
    of_weight = torch.rand(GROUPS, N) + 0.5 if by_column else torch.rand(GROUPS) + 0.5
    sums = torch.randn(GROUPS, M, N)
    moved = on_npu((sums, x.codes, weight.codes, of_weight, torch.tensor(SIZES)))
    torch_npu_sim.npu_add_quant_gmm_(
        *moved,
        x1_scale=on_npu(of_x),
        group_list_type=1,
        x1_dtype=HIFLOAT8,
        x2_dtype=HIFLOAT8,
    )
    factor = of_x.view(-1, 1, 1) * of_weight.reshape(GROUPS, 1, -1)
    products = grouped.products_by_k(x.values, weight.values, SIZES) * factor
    assert_near(moved[0], (sums.double() + products).float())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"transpose_x": False}, ValueError, "expected transpose_x"),
        ({"group_type": 0}, ValueError, "group_type 2"),
        ({"group_list_type": 2}, ValueError, "expected group_list_type"),
        ({"x": torch.ones(8, 2)}, TypeError, "expected x and weight both of float16"),
        ({"x": torch.ones(7, 2).half()}, ValueError, r"expected x of \[k, m\]"),
        ({"input": torch.ones(2, 2, 3).half()}, TypeError, "expected input of float32"),
        ({"input": torch.ones(2, 3, 3)}, ValueError, r"expected input of \[2, 2, 3\]"),
        ({"group_list": torch.tensor([4, 9])}, ValueError, "add up to at most 8"),
        ({"group_list": torch.tensor([4, 8]).int()}, TypeError, "expected group_list of int64"),
        ({"group_list": torch.tensor([[4, 8]])}, ValueError, "expected group_list of one axis"),
    ],
)
def test_added_products_refuse_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "input": torch.ones(2, 2, 3),
        "x": torch.ones(8, 2).half(),
        "weight": torch.ones(8, 3).half(),
        "group_list": torch.tensor([4, 8]),
    }
    with pytest.raises(error, match="npu_grouped_matmul_add: .*" + text):
        torch_npu_sim.npu_grouped_matmul_add(**on_npu(call | change))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"group_sizes": [1, 1, 32]}, ValueError, "expected no group_sizes"),
        ({"x1_dtype": None}, TypeError, "expected x1 of a floating dtype"),
        ({"x1_dtype": 24}, TypeError, "expected x1 and x2 of float8"),
        ({"x2_scale": torch.ones(2, 4)}, ValueError, r"expected x2_scale of \[2, 3\]"),
        ({"x2_scale_dtype": E8M0}, TypeError, "expected x1 and x2 of float8"),
        ({"x2": torch.ones(7, 3, dtype=torch.uint8)}, ValueError, r"expected x1 of \[m, k\]"),
        ({"input": torch.ones(2, 3, 3)}, ValueError, r"expected input of \[2, 2, 3\]"),
    ],
)
def test_added_codes_refuse_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "input": torch.ones(2, 2, 3),
        "x1": torch.ones(2, 8, dtype=torch.uint8),
        "x2": torch.ones(8, 3, dtype=torch.uint8),
        "x2_scale": torch.ones(2, 3),
        "group_list": torch.tensor([4, 8]),
        "x1_scale": torch.ones(2),
        "x1_dtype": HIFLOAT8,
        "x2_dtype": HIFLOAT8,
    }
    with pytest.raises(error, match="npu_add_quant_gmm: .*" + text):
        torch_npu_sim.npu_add_quant_gmm(**on_npu(call | change))


def test_only_the_groups_with_rows_count() -> None:
    x, weight = torch.ones(K, M).half(), torch.ones(K, N).half()
    sums, groups = torch.ones(GROUPS, M, N), torch.tensor([70, 70, 100])
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_grouped_matmul_add(*on_npu((sums, x, weight, groups)))
    product, accumulation = trace.kernels[-2:]
    assert product.bytes_read == (M + N) * sum(SIZES) * 2
    assert product.bytes_written == 2 * M * N * 4  # of the two groups with rows
    assert accumulation.bytes_read == sums.numel() * 4
