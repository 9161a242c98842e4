"""torch_npu_sim.trace: kernels, table, trace file."""

import dataclasses
import json

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.report.table import op_totals, provenance_shares


def matmul_trace(size: int = 256) -> torch_npu_sim.Trace:
    """Traces one matmul after a warm-up."""
    x = torch.ones(size, size, device="npu")
    torch.npu.synchronize()
    torch_npu_sim.flush_l2()
    with torch_npu_sim.trace() as trace:
        torch.mm(x, x)
        torch.npu.synchronize()
    return trace


def test_a_kernel_tells_what_it_was():
    (kernel,) = matmul_trace().kernels
    assert kernel.op.startswith("aten::mm")
    assert (kernel.device, kernel.stream) == (0, 0)
    assert kernel.name == "matmul"
    assert kernel.work == "matmul [256, 256] @ [256, 256] fp32"
    assert kernel.flops == 2 * 256**3
    assert kernel.bytes_read == 2 * 256 * 256 * 4
    assert kernel.bytes_written == 256 * 256 * 4


def test_a_pipe_is_busy_no_longer_than_the_kernel():
    (kernel,) = matmul_trace(1024).kernels
    assert kernel.pipes
    assert all(0 < busy <= kernel.alone_us for busy in kernel.pipes.values())


def test_the_bound_is_launch_or_a_pipe_of_the_kernel():
    for size in (8, 4096):
        (kernel,) = matmul_trace(size).kernels
        assert kernel.bound == "launch" or kernel.bound in kernel.pipes


def test_kernels_alone_on_the_card_take_their_own_time():
    (kernel,) = matmul_trace().kernels
    assert kernel.duration_us == pytest.approx(kernel.alone_us, abs=1e-6)


def test_kernels_are_in_the_order_of_their_start():
    x = torch.ones(64, device="npu")
    with torch_npu_sim.trace() as trace:
        for _ in range(10):
            x = x + 1
    starts = [kernel.start_us for kernel in trace.kernels]
    assert starts == sorted(starts)
    assert all(kernel.start_us >= kernel.issued_us >= 0 for kernel in trace.kernels)


def test_two_runs_take_the_same_simulated_time():
    code = matmul_trace
    assert code().kernels == code().kernels


def test_tracing_does_not_change_the_time():
    def elapsed() -> float:
        start, end = (torch.npu.Event(enable_timing=True) for _ in range(2))
        x = torch.ones(256, 256, device="npu")
        torch.npu.synchronize()
        torch_npu_sim.flush_l2()
        start.record()
        torch.mm(x, x)
        end.record()
        torch.npu.synchronize()
        return start.elapsed_time(end)

    plain = elapsed()
    with torch_npu_sim.trace():
        assert elapsed() == plain


def test_traces_nest():
    x = torch.ones(8, 8, device="npu")
    with torch_npu_sim.trace() as outer:
        torch.mm(x, x)
        with torch_npu_sim.trace() as inner:
            torch.mm(x, x)
    assert (len(outer.kernels), len(inner.kernels)) == (2, 1)


def test_views_launch_nothing_but_cost_the_host():
    x = torch.ones(8, 8, device="npu")
    with torch_npu_sim.trace() as trace:
        x.t().view(64 // 8, 8)[1:]
    assert trace.kernels == []
    assert trace.host_us > 0


def test_the_total_covers_host_and_kernels():
    trace = matmul_trace(2048)
    assert trace.total_us >= trace.host_us
    assert trace.total_us >= max(kernel.end_us for kernel in trace.kernels)


def test_memory_samples_follow_allocation_and_release():
    with torch_npu_sim.trace() as trace:
        before = torch.npu.memory_allocated()
        x = torch.empty(1 << 20, device="npu")
        del x
    levels = [sample.allocated_bytes - before for sample in trace.memory if sample.device == 0]
    assert 4 << 20 in levels
    assert levels[-1] == 0


def test_a_trace_cannot_be_read_before_its_end():
    with torch_npu_sim.trace() as trace, pytest.raises(RuntimeError, match="ended"):
        _ = trace.kernels


def test_a_trace_cannot_begin_twice():
    with torch_npu_sim.trace() as trace:
        pass
    with pytest.raises(RuntimeError, match="new trace"), trace:
        pass


def test_the_trace_ends_when_the_block_raises():
    with pytest.raises(KeyError), torch_npu_sim.trace() as trace:
        torch.ones(1, device="npu")
        raise KeyError
    assert len(trace.kernels) == 1


def test_totals_add_up_and_the_costliest_stands_first():
    x = torch.ones(512, 512, device="npu")
    with torch_npu_sim.trace() as trace:
        for _ in range(3):
            torch.mm(x, x)
        x + 1
    totals = op_totals(trace.kernels)
    assert sum(total.calls for total in totals) == len(trace.kernels)
    assert sum(total.total_us for total in totals) == pytest.approx(trace.device_us)
    assert [t.total_us for t in totals] == sorted((t.total_us for t in totals), reverse=True)
    assert totals[0].op.startswith("aten::mm")
    assert totals[0].calls == 3


def test_the_bound_of_an_operator_is_that_of_most_of_its_time():
    (kernel,) = matmul_trace().kernels
    long = dataclasses.replace(kernel, duration_us=10.0, bound="hibl")
    short = [dataclasses.replace(kernel, duration_us=4.0, bound="cube")] * 2
    (total,) = op_totals([*short, long])
    assert total.bound == "hibl"


def test_provenance_shares_add_up_to_one():
    x = torch.ones(64, 64, device="npu")
    with torch_npu_sim.trace() as trace:
        torch.mm(x, x).sum().item()
    assert sum(provenance_shares(trace.kernels).values()) == pytest.approx(1.0)


def test_the_table_lists_operators_shares_and_provenance():
    trace = matmul_trace()
    text = trace.table()
    assert "aten::mm" in text
    assert "100.0%" in text
    assert torch_npu_sim.get_chip().name in text
    assert trace.kernels[0].provenance in text


def test_the_table_sums_up_what_it_leaves_out():
    x = torch.ones(64, 64, device="npu")
    with torch_npu_sim.trace() as trace:
        torch.mm(x, x)
        (x + 1).exp().sum()
    assert "3 more" in trace.table(top=1)


def test_the_table_names_operators_whose_time_is_doubtful():
    trace = matmul_trace()
    assert "bytes alone" not in trace.table()
    trace._kernels = [dataclasses.replace(trace.kernels[0], provenance="undescribed")]
    assert "bytes alone, as nobody has described them: aten::mm" in trace.table()


def test_an_operator_the_card_lacks_is_named_as_work_of_the_host():
    x = torch.randn(16, 16, device="npu")
    with torch_npu_sim.trace() as trace:
        torch.linalg.eigh(x + x.mT)
    assert "timed as work of the host" in trace.table()


def test_the_table_of_an_empty_trace_says_so():
    with torch_npu_sim.trace() as trace:
        pass
    assert "no kernel ran" in trace.table()


@pytest.fixture
def chrome(tmp_path):
    """The events of a trace file of two devices and two streams."""
    path = tmp_path / "trace.json"
    stream = torch.npu.Stream()
    with torch_npu_sim.trace() as trace:
        for device in ("npu:0", "npu:1"):
            torch.ones(64, 64, device=device) + 1
        with torch.npu.stream(stream):
            torch.ones(64, 64, device="npu")
    trace.to_chrome(path)
    return trace, json.loads(path.read_text())["traceEvents"]


def test_the_trace_file_has_every_kernel_with_numeric_times(chrome):
    trace, events = chrome
    spans = [event for event in events if event["ph"] == "X"]
    assert [(s["ts"], s["dur"], s["name"]) for s in spans] == [
        (k.start_us, k.duration_us, k.name) for k in trace.kernels
    ]
    assert all(isinstance(s["ts"], float) and isinstance(s["dur"], float) for s in spans)
    assert all({"bytes_read", "bytes_written", "flops", "bound"} <= set(s["args"]) for s in spans)


def test_the_trace_file_names_a_track_for_each_stream_and_a_process_for_each_device(chrome):
    trace, events = chrome
    tracks = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert tracks == {(kernel.device, kernel.stream) for kernel in trace.kernels}
    assert len(tracks) == 3
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert processes == {0: "npu:0", 1: "npu:1"}


def test_the_trace_file_has_a_memory_counter(chrome):
    trace, events = chrome
    counters = [e for e in events if e["ph"] == "C"]
    assert [c["args"]["allocated"] for c in counters] == [s.allocated_bytes for s in trace.memory]
    assert counters
