"""Each kernel that Inductor generates is on the simulated clock, once, with its work."""

from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.utils import counters

import torch_npu_sim
from torch_npu_sim import Kernel

Launches = Callable[..., list[Kernel]]


def eager_kernels(function: Callable[..., Any], *args: Any) -> list[Kernel]:
    with torch_npu_sim.trace() as trace:
        function(*args)
    return trace.kernels


def chain(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x * row + x).exp() / torch.sqrt(x * x + 1)


def test_a_chain_is_one_kernel_with_the_instructions_of_its_operators(
    npu: Any, launches: Launches
) -> None:
    x, row = torch.randn(64, 128, device=npu), torch.randn(128, device=npu)
    (kernel,) = launches(torch.compile(chain), x, row)
    assert kernel.op.startswith("inductor::fused_") and kernel.name == "vector"
    assert kernel.flops == sum(each.flops for each in eager_kernels(chain, x, row))


def test_a_kernel_reads_each_operand_once_and_writes_its_results_only(
    npu: Any, launches: Launches
) -> None:
    x, row = torch.randn(64, 128, device=npu), torch.randn(128, device=npu)
    (kernel,) = launches(torch.compile(chain), x, row)
    assert kernel.bytes_read == 4 * (64 * 128 + 128)
    assert kernel.bytes_written == 4 * 64 * 128


def test_a_slice_counts_what_it_reaches(npu: Any, launches: Launches) -> None:
    x = torch.randn(64, 128, device=npu)
    (kernel,) = launches(torch.compile(lambda x: x[:, :32] * 2), x)
    assert (kernel.bytes_read, kernel.bytes_written) == (4 * 64 * 32, 4 * 64 * 32)


def test_fusion_saves_the_launches_and_the_traffic_of_intermediates(
    npu: Any, launches: Launches
) -> None:
    x, row = torch.randn(1024, 1024, device=npu), torch.randn(1024, device=npu)
    kernels = launches(torch.compile(chain), x, row)
    eager = eager_kernels(chain, x, row)
    assert sum(k.duration_us for k in kernels) < 0.5 * sum(k.duration_us for k in eager)


def test_a_reduction_is_row_wise_at_every_size(npu: Any, launches: Launches) -> None:
    compiled = torch.compile(lambda x: (x * x).sum(-1), dynamic=True)
    for rows, columns in ((6, 40), (9, 130)):
        (kernel,) = launches(compiled, torch.randn(rows, columns, device=npu))
        assert kernel.work == f"row {rows}x{columns} fp32"
        assert (kernel.bytes_read, kernel.bytes_written) == (4 * rows * columns, 4 * rows)


def test_a_softmax_is_one_kernel(npu: Any, launches: Launches) -> None:
    (kernel,) = launches(torch.compile(lambda x: x.softmax(-1)), torch.randn(6, 40, device=npu))
    assert kernel.work == "row 6x40 fp32"
    assert (kernel.bytes_read, kernel.bytes_written) == (4 * 6 * 40, 4 * 6 * 40)


def test_bfloat16_is_computed_in_float32_with_its_converts(npu: Any, launches: Launches) -> None:
    x = torch.randn(64, 128, device=npu, dtype=torch.bfloat16)
    (kernel,) = launches(torch.compile(lambda x: x + 1), x)
    assert kernel.work == "vector 8192 elements fp32"
    assert kernel.flops == 3 * 8192  # widen, add, narrow
    assert (kernel.bytes_read, kernel.bytes_written) == (2 * 8192, 2 * 8192)


def test_gathered_pieces_move_whole_transactions(npu: Any, launches: Launches) -> None:
    chip = {name: value for name, value, *_ in torch_npu_sim._C.chip_parameters()}
    transaction, l2 = int(chip["transaction_bytes"]), int(chip["l2_bytes"])
    rows = l2 // (8 * 4) + 1  # a table of rows of 8 floats that does not fit L2
    table = torch.empty(rows, 8, device=npu)
    index = torch.zeros(100, dtype=torch.int64, device=npu)
    compiled = torch.compile(lambda t, i: torch.nn.functional.embedding(i, t) * 2)
    (kernel,) = launches(compiled, table, index)
    assert kernel.bytes_read == 100 * max(transaction, 32) + 100 * 8
    assert kernel.bytes_written == 100 * 32


def test_library_calls_keep_their_own_work(npu: Any, launches: Launches) -> None:
    a, b = torch.randn(32, 64, device=npu), torch.randn(64, 16, device=npu)
    product, fused = launches(torch.compile(lambda a, b: torch.relu(a @ b) * 2), a, b)
    (eager, *_) = eager_kernels(torch.matmul, a, b)
    assert product.work == eager.work and product.duration_us == eager.duration_us
    assert fused.op.startswith("inductor::")


def test_two_runs_take_the_same_simulated_time(npu: Any, launches: Launches) -> None:
    x, row = torch.randn(64, 128, device=npu), torch.randn(128, device=npu)
    compiled = torch.compile(chain)
    one, two = launches(compiled, x, row), launches(compiled, x, row)
    assert [k.duration_us for k in one] == [k.duration_us for k in two]


def test_kernels_run_on_the_streams_that_the_program_names(npu: Any, launches: Launches) -> None:
    side = torch.npu.Stream()

    def fork(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        side.wait_stream(torch.npu.current_stream())
        with torch.npu.stream(side):
            z = y + 1
        torch.npu.current_stream().wait_stream(side)
        return z + 1

    x = torch.randn(1000, device=npu)
    compiled = torch.compile(fork, fullgraph=True)
    first, middle, last = launches(compiled, x)
    assert torch.equal(compiled(x), fork(x))
    assert (first.stream, middle.stream, last.stream) == (0, side.npu_stream, 0)
    assert middle.start_us >= first.start_us + first.duration_us
    assert last.start_us >= middle.start_us + middle.duration_us


def test_kernels_run_on_the_stream_around_the_call(npu: Any, launches: Launches) -> None:
    x = torch.randn(1000, device=npu)
    compiled = torch.compile(lambda x: x + 1)
    side = torch.npu.Stream()
    with torch.npu.stream(side):
        (kernel,) = launches(compiled, x)
    assert kernel.stream == side.npu_stream


def test_each_card_has_its_own_kernels(launches: Launches) -> None:
    def across(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + 1).to("npu:1") + y + 1

    x, y = torch.ones(1000, device="npu:0"), torch.ones(1000, device="npu:1")
    compiled = torch.compile(across)
    kernels = launches(compiled, x, y)
    assert torch.equal(compiled(x, y), across(x, y))
    generated = [k.device for k in kernels if k.op.startswith("inductor::")]
    assert generated == [0, 1]


def test_intermediates_are_not_allocated(npu: Any) -> None:
    x = torch.randn(512, 512, device=npu)
    compiled = torch.compile(lambda x: (x + 1).exp().sum(-1))
    compiled(x)
    before = torch.npu.memory_allocated()
    torch.npu.reset_peak_memory_stats()
    y = compiled(x)
    assert torch.npu.max_memory_allocated() - before == y.nbytes
    del y
    assert torch.npu.memory_allocated() == before


def test_code_from_the_cache_is_recorded_too(npu: Any, launches: Launches) -> None:
    x = torch.ones(87, device=npu)
    first = launches(torch.compile(lambda x: x + 1), x)
    torch._dynamo.reset()
    counters.clear()
    second = launches(torch.compile(lambda x: x + 1), x)
    hits = (
        counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
    )
    assert hits > 0
    assert [(k.op, k.work) for k in second] == [(k.op, k.work) for k in first] != []
