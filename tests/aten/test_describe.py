"""What an operator's call asks of the machine: shapes -> Work, seen in a trace."""

from collections.abc import Callable

import pytest
import torch

import torch_npu_sim
from torch_npu_sim import _C
from torch_npu_sim.report.kernel import Kernel

F = torch.nn.functional


def kernels_of(call: Callable[[], object]) -> list[Kernel]:
    """The kernels that `call` launches, in order."""
    with torch_npu_sim.trace() as trace:
        call()
    return list(trace.kernels)


def kernel_of(call: Callable[[], object]) -> Kernel:
    """The only kernel that `call` launches."""
    kernels = kernels_of(call)
    assert len(kernels) == 1, [(kernel.op, kernel.work) for kernel in kernels]
    return kernels[0]


def on_npu(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random numbers on the card."""
    return torch.rand(shape).to(dtype).to("npu")


# element-wise ------------------------------------------------------------------------------------


def test_an_element_wise_kernel_reads_its_operands_and_writes_its_result() -> None:
    a, b = on_npu(6, 7), on_npu(6, 7)
    kernel = kernel_of(lambda: a + b)
    assert kernel.work == "vector 42 elements fp32"
    assert (kernel.bytes_read, kernel.bytes_written) == (336, 168)


def test_a_broadcast_operand_counts_its_own_elements() -> None:
    a, row = on_npu(6, 8), on_npu(8)
    assert kernel_of(lambda: a * row).bytes_read == (48 + 8) * 4


def test_an_expanded_operand_counts_its_storage_once() -> None:
    a, column = on_npu(6, 8), on_npu(6, 1)
    expanded = column.expand(6, 8)
    assert kernel_of(lambda: a * expanded).bytes_read == (48 + 6) * 4


def test_an_operand_that_comes_twice_is_read_once() -> None:
    a = on_npu(6, 8)
    assert kernel_of(lambda: a * a).bytes_read == 48 * 4


def test_an_in_place_kernel_reads_and_writes_its_operand() -> None:
    a, b = on_npu(6, 8), on_npu(6, 8)
    kernel = kernel_of(lambda: a.add_(b))
    assert (kernel.bytes_read, kernel.bytes_written) == (2 * 48 * 4, 48 * 4)


def test_an_out_argument_is_written_only() -> None:
    a, b, out = on_npu(6, 8), on_npu(6, 8), on_npu(6, 8)
    kernel = kernel_of(lambda: torch.add(a, b, out=out))
    assert (kernel.bytes_read, kernel.bytes_written) == (2 * 48 * 4, 48 * 4)


def test_a_fill_reads_nothing() -> None:
    a = on_npu(6, 8)
    kernel = kernel_of(lambda: a.fill_(3))
    assert (kernel.bytes_read, kernel.bytes_written) == (0, 48 * 4)


def test_a_comparison_computes_in_the_format_of_its_operands() -> None:
    a, b = on_npu(6, 8, dtype=torch.bfloat16), on_npu(6, 8, dtype=torch.bfloat16)
    kernel = kernel_of(lambda: a < b)
    assert (kernel.work, kernel.bytes_written) == ("vector 48 elements bf16", 48)


def test_exp_keeps_the_vector_unit_busy_longer_than_add() -> None:
    a = on_npu(1024, 1024)
    add, exp, tanh = (kernel_of(call) for call in (lambda: a + 1, a.exp, a.tanh))
    assert add.pipes["vector"] < exp.pipes["vector"] < tanh.pipes["vector"]


def test_a_square_costs_less_than_a_general_power() -> None:
    a = on_npu(1024, 1024)
    square, general = kernel_of(lambda: a.pow(2)), kernel_of(lambda: a.pow(2.5))
    assert square.pipes["vector"] < general.pipes["vector"]


# products ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "work"),
    [
        (lambda: on_npu(3, 5) @ on_npu(5, 7), "matmul [3, 5] @ [5, 7] fp32"),
        (lambda: on_npu(3, 5) @ on_npu(5), "matmul [3, 5] @ [5, 1] fp32"),
        (lambda: torch.bmm(on_npu(2, 3, 5), on_npu(2, 5, 7)), "matmul 2 x [3, 5] @ [5, 7] fp32"),
        (lambda: torch.addmm(on_npu(7), on_npu(3, 5), on_npu(5, 7)), "matmul [3, 5] @ [5, 7] fp32"),
        (
            lambda: torch.addbmm(on_npu(3, 7), on_npu(2, 3, 5), on_npu(2, 5, 7)),
            "matmul [3, 10] @ [10, 7] fp32",
        ),
        (lambda: torch.dot(on_npu(9), on_npu(9)), "row 1x9 fp32"),
        (lambda: torch.outer(on_npu(3), on_npu(5)), "vector 15 elements fp32"),
        (lambda: F.linear(on_npu(2, 3, 5), on_npu(7, 5)), "matmul [6, 5] @ [5, 7] fp32"),
    ],
)
def test_products_are_described_by_their_shapes(call: Callable[[], object], work: str) -> None:
    assert kernels_of(call)[-1].work == work


def test_the_flops_of_a_product_are_two_for_each_multiply_add() -> None:
    a, b = on_npu(32, 48, dtype=torch.bfloat16), on_npu(48, 16, dtype=torch.bfloat16)
    assert kernel_of(lambda: a @ b).flops == 2 * 32 * 48 * 16


def test_a_grouped_product_counts_all_rows_once() -> None:
    a = on_npu(64, 32, dtype=torch.bfloat16)
    b = on_npu(4, 32, 16, dtype=torch.bfloat16)
    offsets = torch.tensor([8, 24, 40, 64], dtype=torch.int32, device="npu")
    kernel = kernel_of(lambda: torch._grouped_mm(a, b, offs=offsets))
    assert kernel.work == "grouped_matmul 4 groups, [64, 32] @ [32, 16] bf16"


def test_a_convolution_backward_is_one_kernel_for_each_wanted_gradient() -> None:
    x = on_npu(2, 4, 9, 9).requires_grad_()
    weight = on_npu(6, 4, 3, 3).requires_grad_()
    y = F.conv2d(x, weight)
    both = [k.work for k in kernels_of(lambda: torch.autograd.grad(y.sum(), (x, weight)))]
    expected = "convolution b2 c4x6 p81x49 k9 fp32"
    assert f"{expected} input grad" in both
    assert f"{expected} weight grad" in both


def test_a_convolution_backward_leaves_out_an_unwanted_gradient() -> None:
    x = on_npu(2, 4, 9, 9)
    weight = on_npu(6, 4, 3, 3).requires_grad_()
    y = F.conv2d(x, weight)
    works = [k.work for k in kernels_of(lambda: torch.autograd.grad(y.sum(), (weight,)))]
    assert not any(work.endswith("input grad") for work in works)
    assert any(work.endswith("weight grad") for work in works)


def test_a_transposed_convolution_is_the_gradient_of_the_one_that_leads_back() -> None:
    x, weight = on_npu(2, 6, 7, 7), on_npu(6, 4, 3, 3)
    kernel = kernel_of(lambda: F.conv_transpose2d(x, weight))
    assert kernel.work == "convolution b2 c4x6 p81x49 k9 fp32 input grad"


def test_attention_is_one_kernel_and_says_whether_it_is_causal() -> None:
    q, k, v = (on_npu(2, 4, 16, 8) for _ in range(3))
    kernel = kernel_of(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    assert kernel.work == "attention b2 h4/4 16x16 d8/8 fp32 causal"


# rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "work"),
    [
        (lambda x: x.sum(), "row 1x240 fp32"),
        (lambda x: x.sum(1), "row 60x4 fp32"),
        (lambda x: x.amax((0, 2)), "row 4x60 fp32"),
        (lambda x: x.max(2), "row 24x10 fp32"),
        (lambda x: x.argmax(-1), "row 24x10 fp32"),
        (lambda x: x.var(0), "row 40x6 fp32"),
        (lambda x: x.cumsum(1), "row 60x4 fp32"),
        (lambda x: x.softmax(-1), "row 24x10 fp32"),
        (lambda x: x.log_softmax(0), "row 40x6 fp32"),
        (lambda x: F.layer_norm(x, (4, 10)), "row 6x40 fp32"),
        (lambda x: F.group_norm(x, 2), "row 12x20 fp32"),
        (lambda x: F.batch_norm(x, None, None, training=True), "row 4x60 fp32"),
        (lambda x: torch.linalg.vector_norm(x, dim=2), "row 24x10 fp32"),
        (lambda x: x.sort(1), "sort 60x4 fp32"),
        (lambda x: x.topk(3), "sort 24x10 top 3 fp32"),
        (lambda x: x.kthvalue(2, dim=0), "sort 40x6 top 2 fp32"),
    ],
)
def test_rows_and_columns_follow_the_axis(
    call: Callable[[torch.Tensor], object], work: str
) -> None:
    x = on_npu(6, 4, 10)
    assert kernel_of(lambda: call(x)).work == work


# computed places ---------------------------------------------------------------------------------


def test_an_embedding_reads_whole_rows() -> None:
    table = on_npu(100, 16)
    tokens = torch.tensor([[1, 5], [7, 5]], device="npu")
    assert kernel_of(lambda: F.embedding(tokens, table)).work == "gather 4 x 64 B"


@pytest.mark.parametrize(
    ("call", "work"),
    [
        (lambda x, i: x[i], "gather 3 x 160 B"),
        (lambda x, i: x[:, i], "gather 18 x 40 B"),
        (lambda x, i: x[i, i], "gather 3 x 40 B"),
        (lambda x, i: x.index_select(1, i), "gather 18 x 40 B"),
        (lambda x, i: x[:, 0, :4].gather(1, i.expand(6, 3)), "gather 18 x 4 B"),
        (lambda x, i: x.index_add_(0, i, on_npu(3, 4, 10)), "gather 3 x 160 B added"),
        (lambda x, i: x.index_put_((i,), on_npu(3, 4, 10)), "gather 3 x 160 B scattered"),
    ],
)
def test_pieces_are_as_long_as_they_are_contiguous(
    call: Callable[[torch.Tensor, torch.Tensor], object], work: str
) -> None:
    x, i = on_npu(6, 4, 10), torch.tensor([0, 2, 3], device="npu")
    assert kernels_of(lambda: call(x, i))[-1].work == work


# copies ------------------------------------------------------------------------------------------


def test_a_copy_to_the_card_and_back_names_its_route() -> None:
    x = torch.rand(8, 4)
    up = kernel_of(lambda: x.to("npu"))
    y = x.to("npu")
    down = kernel_of(y.cpu)
    assert up.work == "copy_h2d 128 B"
    assert down.work == "copy_d2h 128 B"


def test_a_dense_copy_runs_through_and_a_strided_one_breaks() -> None:
    x = on_npu(8, 16)
    assert kernel_of(x.clone).work == "copy 512 B"
    part = x[:, :4]
    assert kernel_of(part.contiguous).work == "copy 128 B, runs of 16 B"


def test_a_transposition_moves_in_pieces_of_a_tile_edge() -> None:
    x = on_npu(1024, 1024)
    turned = x.t()
    assert kernel_of(turned.contiguous).work == "copy 4194304 B, runs of 512 B"


def test_a_change_of_dtype_is_element_wise() -> None:
    x = on_npu(8, 16)
    kernel = kernel_of(lambda: x.to(torch.bfloat16))
    assert (kernel.name, kernel.bytes_read, kernel.bytes_written) == ("vector", 512, 256)


def test_a_concatenation_breaks_at_its_parts() -> None:
    parts = [on_npu(4, 3), on_npu(4, 5)]
    assert kernel_of(lambda: torch.cat(parts, 1)).work == "copy 128 B, runs of 12 B"


def test_a_view_launches_nothing() -> None:
    x = on_npu(8, 16)
    assert kernels_of(lambda: x.view(16, 8).t()[2:].unsqueeze(0).expand(3, -1, -1)) == []


# lists, and what the card lacks ------------------------------------------------------------------


def test_a_foreach_call_is_one_kernel_over_all_tensors() -> None:
    tensors = [on_npu(3, 5), on_npu(7), on_npu(2, 2)]
    kernel = kernel_of(lambda: torch._foreach_mul_(tensors, 2.0))
    assert (kernel.work, kernel.bytes_written) == ("vector 26 elements fp32", 26 * 4)


def test_a_fused_adamw_step_reads_four_lists_and_writes_three() -> None:
    parameter = on_npu(16, 16).requires_grad_()
    parameter.grad = on_npu(16, 16)
    optimizer = torch.optim.AdamW([parameter], fused=True)
    optimizer.step()
    kernel = kernels_of(optimizer.step)[-1]
    assert kernel.op == "aten::_fused_adamw_"
    assert (kernel.bytes_read // 1024, kernel.bytes_written) == (4, 3 * 1024)


def test_an_operator_that_the_card_lacks_goes_through_the_host() -> None:
    x = on_npu(8, 8)
    before = _C.fallback_ops().get("aten::digamma.out", 0) + _C.fallback_ops().get(
        "aten::digamma", 0
    )
    kernel = kernel_of(lambda: torch.digamma(x))
    assert kernel.work == "host 256 B to host, 256 B back"
    after = _C.fallback_ops().get("aten::digamma.out", 0) + _C.fallback_ops().get(
        "aten::digamma", 0
    )
    assert after == before + 1
