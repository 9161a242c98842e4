"""Products fused with an exchange between cards, for a card alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_npu_sim
from torch_npu_sim.testing.comparison import assert_equal, assert_meta_agrees, on_npu

OPS = torch.ops.npu
HALVES = [torch.float16, torch.bfloat16]
PRODUCTS = [
    "npu_all_gather_base_mm",
    "npu_all_to_all_matmul",
    "npu_matmul_all_to_all",
    "npu_mm_reduce_scatter_base",
]


def product(x: torch.Tensor, weight: torch.Tensor, *added: torch.Tensor) -> torch.Tensor:
    """Multiplies and adds in float64, rounded once."""
    total = x.double() @ weight.double()
    for term in added:
        total = total + term.double()
    return total.to(x.dtype)


def by_expert(x: torch.Tensor, weight: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Multiplies counts[e] rows by the matrix weight[e], in float64, rounded once."""
    parts = x.double().split(counts)
    rows = [part @ matrix for part, matrix in zip(parts, weight.double(), strict=True)]
    return torch.cat(rows).to(x.dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("m", [0, 1, 5])
def test_a_card_alone_keeps_its_product(m: int, name: str, dtype: torch.dtype) -> None:
    x, weight, bias = (t.to(dtype) for t in (torch.randn(m, 8), torch.randn(8, 3), torch.randn(3)))
    op = getattr(OPS, name)
    found = op(*on_npu((x, weight)), "group", 1, bias=bias.npu())
    y, *rest = found if isinstance(found, tuple) else (found,)
    assert_equal(y, product(x, weight, bias))
    for gathered in rest:
        assert_equal(gathered, x)
    assert_meta_agrees(op, x, weight, "group", 1, bias=bias)


def test_what_was_exchanged_is_given_only_on_request() -> None:
    x, weight = torch.randn(2, 4).half().npu(), torch.randn(4, 3).half().npu()
    _, gathered = torch_npu_sim.npu_all_gather_base_mm(x, weight, "", 1, gather_output=False)
    assert gathered.shape == (0,)
    _, received = torch_npu_sim.npu_all_to_all_matmul(x, weight, "", 1, all2all_out_flag=False)
    assert received is None


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 8)])
def test_a_sum_over_one_card_is_the_product(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight = torch.randn(shape).to(dtype), torch.randn(8, 5).to(dtype)
    bias, x3 = torch.randn(5).to(dtype), torch.randn(*shape[:-1], 5).to(dtype)
    y = torch_npu_sim.npu_mm_all_reduce_base(*on_npu((x, weight)), "", bias=bias.npu(), x3=x3.npu())
    assert_equal(y, product(x, weight, bias, x3))
    assert_meta_agrees(OPS.npu_mm_all_reduce_base, x, weight, "", bias=bias, x3=x3)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0, 0]])
def test_rows_meet_the_matrix_of_their_expert(counts: list[int], turned: bool) -> None:
    x, weight = torch.randn(sum(counts), 8).bfloat16(), torch.randn(3, 8, 4).bfloat16()
    shared_x, shared = torch.randn(2, 6).bfloat16(), torch.randn(6, 3).bfloat16()
    args = (x, weight.transpose(1, 2).contiguous() if turned else weight)
    options: dict[str, Any] = {
        "mm_x": shared_x,
        "mm_weight": shared.t().contiguous() if turned else shared,
        "trans_gmm_weight": turned,
        "trans_mm_weight": turned,
    }
    y, mm_y, rows = OPS.npu_alltoallv_gmm(
        *on_npu(args), "", 1, counts, counts, permute_out_flag=True, **on_npu(options)
    )
    assert_equal(y, by_expert(x, weight, counts))
    assert_equal(mm_y, product(shared_x, shared))
    assert_equal(rows, x)
    y, mm_y = OPS.npu_gmm_alltoallv(*on_npu(args), "", 1, counts, counts, **on_npu(options))
    assert_equal(y, by_expert(x, weight, counts))
    assert_equal(mm_y, product(shared_x, shared))
    assert_meta_agrees(OPS.npu_gmm_alltoallv, *args, "", 1, counts, counts, **options)


def test_what_nobody_asked_for_is_none() -> None:
    x, weight = torch.randn(2, 4).half().npu(), torch.randn(1, 4, 4).half().npu()
    _, mm_y, rows = torch_npu_sim.npu_alltoallv_gmm(x, weight, "", 1, [2], [2])
    assert (mm_y, rows) == (None, None)


X, W = torch.ones(4, 8).half(), torch.ones(8, 3).half()


@pytest.mark.parametrize(
    ("name", "args", "options", "error", "text"),
    [
        ("npu_all_gather_base_mm", (X, W, "g", 2), {}, NotImplementedError, "world_size of 2"),
        ("npu_mm_reduce_scatter_base", (X, W, "g", 0), {}, ValueError, "world_size of 1 or more"),
        ("npu_matmul_all_to_all", (X, W.t(), "g", 1), {}, ValueError, r"\[m, k\] and \[k, n\]"),
        ("npu_all_to_all_matmul", (X.float(), W, "g", 1), {}, TypeError, "operands of float16"),
        (
            "npu_all_to_all_matmul",
            (X, W, "g", 1),
            {"all2all_axes": [-1, -2]},
            ValueError,
            "all2all_axes of None or",
        ),
        (
            "npu_mm_reduce_scatter_base",
            (X, W, "g", 1),
            {"reduce_op": "max"},
            ValueError,
            "reduce_op of 'sum'",
        ),
        ("npu_all_gather_base_mm", (X, W, "g", 1), {"gather_index": 1}, ValueError, "gather_index"),
        ("npu_all_gather_base_mm", (X, W, "g", 1), {"bias": W[0, :2]}, ValueError, "bias of"),
        (
            "npu_all_gather_base_mm",
            (X, W, "g", 1),
            {"x2_scale": torch.ones(3)},
            NotImplementedError,
            "a quantised product",
        ),
        ("npu_mm_all_reduce_base", (X, W, "g"), {}, NotImplementedError, "the group hcom='g' is"),
        ("npu_mm_all_reduce_base", (X, W, ""), {"x3": X}, ValueError, "expected x3 of"),
    ],
)
def test_products_refuse_what_does_not_fit(
    name: str, args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"{name}: .*{text}"):
        getattr(OPS, name)(*on_npu(args), **on_npu(options))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"ep_world_size": 8}, NotImplementedError, "ep_world_size of 8"),
        ({"send_counts": [4, 1]}, ValueError, "send_counts of 0 or more that add up to the 4"),
        ({"send_counts": [5, -1]}, ValueError, "send_counts of 0 or more"),
        ({"recv_counts": [1, 3]}, ValueError, "recv_counts equal to send_counts"),
        ({"recv_counts": [4]}, ValueError, "recv_counts of 2 numbers"),
        ({"gmm_weight": torch.ones(2, 7, 3).half()}, ValueError, "gmm_weight of three axes"),
        ({"gmm_weight": torch.ones(2, 8, 3)}, TypeError, "gmm_x and gmm_weight of float16"),
        ({"mm_x": X}, ValueError, "mm_x and mm_weight both or neither"),
        ({"send_counts_tensor": torch.ones(2)}, ValueError, "no send_counts_tensor"),
    ],
)
@pytest.mark.parametrize("name", ["npu_alltoallv_gmm", "npu_gmm_alltoallv"])
def test_products_by_expert_refuse_what_does_not_fit(
    name: str, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    call: dict[str, Any] = {
        "gmm_x": X,
        "gmm_weight": torch.ones(2, 8, 3).half(),
        "hcom": "",
        "ep_world_size": 1,
        "send_counts": [3, 1],
        "recv_counts": [3, 1],
    }
    with pytest.raises(error, match=f"{name}: .*{text}"):
        getattr(OPS, name)(**on_npu(call | change))


def test_a_card_alone_pays_for_the_product_only() -> None:
    x, weight = torch.randn(64, 32).half().npu(), torch.randn(32, 16).half().npu()
    experts = torch.randn(2, 32, 16).half().npu()
    with torch_npu_sim.trace() as trace:
        torch_npu_sim.npu_mm_all_reduce_base(x, weight, "")
        torch_npu_sim.npu_alltoallv_gmm(x, experts, "", 1, [60, 4], [60, 4])
    assert [kernel.flops for kernel in trace.kernels] == [2 * 64 * 32 * 16] * 2


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(0, 5),
    counts=st.lists(st.integers(-1, 4), max_size=3),
    experts=st.integers(0, 3),
    world=st.integers(-1, 2),
    wide=st.integers(0, 3),
)
def test_any_product_by_expert_is_right_or_refused(
    rows: int, counts: list[int], experts: int, world: int, wide: int
) -> None:
    x, weight = torch.randn(rows, wide).half(), torch.randn(experts, wide, 2).half()
    try:
        y, _ = OPS.npu_gmm_alltoallv(*on_npu((x, weight)), "", world, counts, counts)
    except (ValueError, NotImplementedError) as error:
        assert "npu_gmm_alltoallv: " in str(error)  # noqa: PT017
        return
    want = by_expert(x, weight, counts) if experts else torch.empty(0, 2).half()
    assert_equal(y, want)
