"""torch.npu: events."""

import pytest
import torch

import torch_npu_sim


def spend(size: int = 1024) -> None:
    """Queues a matmul on the current stream."""
    x = torch.ones(size, size, device="npu")
    torch.mm(x, x)


def measure(size: int = 1024) -> float:
    """Returns the simulated milliseconds of a matmul."""
    x = torch.ones(size, size, device="npu")
    torch.npu.synchronize()
    torch_npu_sim.flush_l2()
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record()
    torch.mm(x, x)
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def test_an_event_is_a_torch_event_of_npu():
    event = torch.npu.Event()
    assert isinstance(event, torch.Event)
    assert event.device.type == "npu"


def test_elapsed_time_is_positive_and_the_same_in_every_run():
    assert measure() == measure() > 0


def test_elapsed_time_grows_with_the_work():
    assert measure(4096) > 4 * measure(1024)


def test_elapsed_time_covers_the_kernel():
    with torch_npu_sim.trace() as trace:
        elapsed = measure(2048)
    (kernel,) = (kernel for kernel in trace.kernels if kernel.op.startswith("aten::mm"))
    assert elapsed * 1000 >= kernel.duration_us


def test_an_event_is_reached_when_the_host_waited():
    event = torch.npu.Event()
    spend(4096)
    event.record()
    assert not event.query()
    event.synchronize()
    assert event.query()


def test_an_unrecorded_event_is_reached_and_blocks_nobody():
    event = torch.npu.Event()
    assert event.query()
    event.synchronize()
    event.wait()


def test_a_stream_records_an_event_and_returns_it():
    stream = torch.npu.Stream()
    event = torch.npu.Event()
    assert stream.record_event(event) is event
    assert isinstance(stream.record_event(), torch.npu.Event)


def test_wait_orders_another_stream_behind_the_event():
    first, second = torch.npu.Stream(), torch.npu.Stream()
    torch.npu.synchronize()
    with torch_npu_sim.trace() as trace:
        with torch.npu.stream(first):
            spend(2048)
            event = first.record_event()
        second.wait_event(event)
        with torch.npu.stream(second):
            spend(64)
    end = max(kernel.end_us for kernel in trace.kernels if kernel.stream == first.npu_stream)
    start = min(kernel.start_us for kernel in trace.kernels if kernel.stream == second.npu_stream)
    assert start >= end


def test_elapsed_time_of_an_unrecorded_event_is_refused():
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record()
    with pytest.raises(ValueError, match="recorded"):
        start.elapsed_time(end)


def test_elapsed_time_without_timing_is_refused():
    start, end = torch.npu.Event(), torch.npu.Event()
    start.record()
    end.record()
    torch.npu.synchronize()
    with pytest.raises(ValueError, match="(?i)timing"):
        start.elapsed_time(end)


def test_elapsed_time_before_the_end_is_reached_is_refused():
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record()
    spend(4096)
    end.record()
    with pytest.raises(ValueError, match="completed|reached"):
        start.elapsed_time(end)


def test_generic_torch_events_work_on_npu():
    start = torch.Event(device="npu", enable_timing=True)
    end = torch.Event(device="npu", enable_timing=True)
    start.record()
    spend()
    end.record()
    torch.accelerator.synchronize()
    assert start.elapsed_time(end) > 0


def test_an_event_cannot_go_to_another_process():
    with pytest.raises(NotImplementedError, match="ipc_handle"):
        torch.npu.Event(interprocess=True).ipc_handle()
