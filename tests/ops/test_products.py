"""Grouped products and products with a permutation or an epilogue, against plain ones."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def by_group(x: torch.Tensor, weight: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Each run of rows of x by its own matrix of weight, float64; zeros past the last run."""
    out = torch.zeros(x.shape[0], weight.shape[2], dtype=torch.float64)
    first = 0
    for group, size in enumerate(sizes):
        rows = slice(first, first + size)
        out[rows] = x[rows].double() @ weight[group].double()
        first += size
    return out


def listed(sizes: list[int], kind: int) -> torch.Tensor:
    """The group list of torch_npu: running sums, counts, or pairs."""
    counts = torch.tensor(sizes, dtype=torch.int64)
    if kind == 0:
        return counts.cumsum(0)
    return counts if kind == 1 else torch.stack([torch.arange(len(sizes)), counts], 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("sizes", [[3, 0, 4], [0, 0, 0], [7, 0, 0], [1, 2, 1]])
def test_each_group_of_rows_has_its_matrix(sizes: list[int], kind: int, dtype: torch.dtype) -> None:
    x, weight = torch.randn(7, 8, dtype=dtype) / 3, torch.randn(3, 8, 5, dtype=dtype)
    call = {"group_list": listed(sizes, kind), "group_list_type": kind}
    options = {"split_item": 3, "group_type": 0}
    (y,) = torch_npu_sim.npu_grouped_matmul(*on_npu(([x], [weight])), **on_npu(call), **options)
    assert_equal(y, by_group(x, weight, sizes).to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_grouped_matmul, [x], [weight], **call, **options)


def test_weights_may_be_a_list_and_results_too() -> None:
    x, weights = torch.randn(5, 4), [torch.randn(4, 3) for _ in range(2)]
    parts = torch_npu_sim.npu_grouped_matmul(
        *on_npu(([x], weights)), group_list=torch.tensor([2, 5]).npu(), group_type=0
    )
    assert_equal(parts[0], x[:2] @ weights[0])
    assert_equal(parts[1], x[2:] @ weights[1])


def test_without_a_split_each_x_has_its_matrix() -> None:
    xs = [torch.randn(2, 4), torch.randn(3, 6)]
    weights = [torch.randn(4, 5), torch.randn(6, 7)]
    biases = [torch.randn(5), torch.randn(7)]
    results = torch_npu_sim.npu_grouped_matmul(
        *on_npu((xs, weights)), bias=on_npu(biases), group_type=-1
    )
    for result, x, weight, bias in zip(results, xs, weights, biases, strict=True):
        assert_equal(result, x @ weight + bias)


def test_a_split_of_k_gives_a_product_a_group() -> None:
    x, weight = torch.randn(3, 6), torch.randn(6, 4)
    (y,) = torch_npu_sim.npu_grouped_matmul(
        *on_npu(([x], [weight])),
        group_list=torch.tensor([2, 2, 6]).npu(),
        group_type=2,
        split_item=3,
    )
    zero = torch.zeros(3, 4)
    assert_equal(y, torch.stack([x[:, :2] @ weight[:2], zero, x[:, 2:] @ weight[2:]]))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"group_list": torch.tensor([2, 9])}, ValueError, "add up to at most 4"),
        ({"group_list": torch.tensor([3, 2])}, ValueError, "add up to at most 4"),
        ({"group_list": torch.tensor([1, 2, 3])}, ValueError, "of 2 groups, got 3"),
        ({"group_list": torch.tensor([2.0, 4.0])}, TypeError, "expected group_list of int64"),
        ({"group_list": None}, ValueError, "expected group_list"),
        ({"group_type": 1}, ValueError, "expected group_type"),
        ({"split_item": 4}, ValueError, "expected split_item"),
        ({"weight": [torch.ones(2, 9, 5)]}, ValueError, r"weight of \[k, n\] in group 0"),
        ({"weight": [torch.ones(2, 8, 5).half()]}, TypeError, "of one dtype"),
        ({"x": []}, ValueError, "at least one x"),
        ({"scale": [torch.ones(2, 5)]}, NotImplementedError, "scale is not built yet"),
    ],
)
def test_grouped_products_refuse_what_does_not_fit(
    change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "x": [torch.ones(4, 8)],
        "weight": [torch.ones(2, 8, 5)],
        "group_list": torch.tensor([2, 4]),
        "group_type": 0,
        "split_item": 3,
    }
    call = on_npu(call | change)
    with pytest.raises(error, match="npu_grouped_matmul: .*" + text):
        torch_npu_sim.npu_grouped_matmul(call.pop("x"), call.pop("weight"), **call)


def test_groups_without_rows_cost_nothing() -> None:
    x, weight = torch.randn(256, 512).npu(), torch.randn(32, 512, 512).npu()

    def bytes_read(sizes: list[int]) -> int:
        with torch_npu_sim.trace() as trace:
            torch_npu_sim.npu_grouped_matmul(
                [x],
                [weight],
                group_list=listed(sizes, 1).npu(),
                group_list_type=1,
                group_type=0,
                split_item=3,
            )
        return int(trace.kernels[-1].bytes_read)

    assert bytes_read([128, 128] + [0] * 30) * 8 < bytes_read([8] * 32)


@settings(max_examples=250, deadline=None)
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
        results = torch_npu_sim.npu_grouped_matmul(
            *on_npu(([x], [weight])),
            group_list=listed(sizes, kind).npu(),
            group_list_type=kind,
            group_type=group_type,
            split_item=split_item,
        )
    except ValueError as error:
        assert "npu_grouped_matmul: expected" in str(error)  # noqa: PT017
        return
    want = by_group(x, weight, sizes)
    whole = torch.cat([result.cpu() for result in results])
    assert torch.allclose(whole, want[: whole.shape[0]].float(), atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["", "add", "mul", "gelu_erf", "gelu_tanh", "16cast32"])
def test_the_epilogue_works_on_the_product_before_it_is_rounded(
    kind: str, dtype: torch.dtype
) -> None:
    x1, x2, x3 = (torch.randn(s, dtype=dtype) / 2 for s in ((4, 8), (8, 5), (4, 5)))
    third = x3 if kind in ("add", "mul") else None
    y = torch_npu_sim.npu_fused_matmul(*on_npu((x1, x2)), x3=on_npu(third), fused_op_type=kind)
    want = x1.double() @ x2.double()
    if kind == "add":
        want = want + x3
    if kind == "mul":
        want = want * x3
    if kind.startswith("gelu"):
        approximate = "tanh" if kind == "gelu_tanh" else "none"
        want = torch.nn.functional.gelu(want, approximate=approximate)
    assert_equal(y, want.to(torch.float32 if kind == "16cast32" else dtype))
    assert_meta_agrees(torch.ops.npu.npu_fused_matmul, x1, x2, x3=third, fused_op_type=kind)


def test_an_epilogue_without_its_operand_is_refused() -> None:
    x = torch.ones(2, 2, device="npu")
    with pytest.raises(ValueError, match="npu_fused_matmul: expected x3 with"):
        torch_npu_sim.npu_fused_matmul(x, x, fused_op_type="add")
    with pytest.raises(ValueError, match="npu_fused_matmul: expected fused_op_type"):
        torch_npu_sim.npu_fused_matmul(x, x, fused_op_type="tanh")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("perm_x1", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("perm_x2", [(0, 1, 2), (0, 2, 1)])
def test_batches_are_permuted_before_and_after(
    perm_x1: tuple[int, ...], perm_x2: tuple[int, ...], dtype: torch.dtype
) -> None:
    a, b = torch.randn(2, 3, 8, dtype=dtype), torch.randn(2, 8, 5, dtype=dtype)
    x = a.permute(perm_x1).contiguous()
    weight = b.permute(perm_x2).contiguous()
    options = {"perm_x1": perm_x1, "perm_x2": perm_x2, "perm_y": (1, 0, 2)}
    y = torch_npu_sim.npu_transpose_batchmatmul(*on_npu((x, weight)), **options)
    want = (a.double() @ b.double()).transpose(0, 1)
    assert_equal(y, want.to(dtype))
    assert_meta_agrees(torch.ops.npu.npu_transpose_batchmatmul, x, weight, **options)
    split = torch_npu_sim.npu_transpose_batchmatmul(
        *on_npu((x, weight)), **options, batch_split_factor=2
    )
    assert_equal(split, want.reshape(3, 2, 5).transpose(0, 1).to(dtype))


def test_permutations_that_the_card_lacks_are_refused() -> None:
    x = torch.ones(2, 2, 2, device="npu")
    with pytest.raises(ValueError, match="npu_transpose_batchmatmul: expected perm_x1"):
        torch_npu_sim.npu_transpose_batchmatmul(x, x, perm_x1=(2, 1, 0))
