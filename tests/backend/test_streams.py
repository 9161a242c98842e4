"""Streams and events through tensors: order, priority, lent memory, threads."""

import threading

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def default_streams():
    """Leaves every default stream current and the device idle."""
    torch.npu.synchronize()
    yield
    torch.npu.set_stream(torch.npu.default_stream())
    torch.npu.synchronize()


def kernels_by_stream(work) -> dict[int, list["torch_npu_sim.Kernel"]]:
    """Returns the kernels of `work` by their stream."""
    with torch_npu_sim.trace() as trace:
        work()
    found: dict[int, list[torch_npu_sim.Kernel]] = {}
    for kernel in trace.kernels:
        found.setdefault(kernel.stream, []).append(kernel)
    return found


def test_an_urgent_stream_s_kernel_is_served_first():
    x = torch.ones(4096, 4096, device="npu")
    normal, urgent = torch.npu.Stream(priority=0), torch.npu.Stream(priority=-1)
    torch.npu.synchronize()

    def work() -> None:
        for stream in (normal, urgent):
            with torch.npu.stream(stream):
                torch.mm(x, x)

    found = kernels_by_stream(work)
    (first,), (second,) = found[normal.npu_stream], found[urgent.npu_stream]
    assert second.issued_us > first.issued_us
    assert second.end_us < first.end_us
    assert second.duration_us == pytest.approx(second.alone_us)


def test_generic_streams_take_a_priority():
    assert torch.Stream(device="npu", priority=-1) != torch.Stream(device="npu", priority=0)


@pytest.mark.parametrize("generic", [True, False])
def test_wait_stream_orders_what_comes_after(generic):
    x = torch.ones(2048, 2048, device="npu")
    make = (lambda: torch.Stream(device="npu")) if generic else torch.npu.Stream
    first, second = make(), make()
    torch.npu.synchronize()

    def work() -> None:
        with first:
            x @ x
        second.wait_stream(first)
        with second:
            x + 1

    found = kernels_by_stream(work)
    assert found[second.stream_id][0].start_us >= found[first.stream_id][-1].end_us


def test_backward_runs_on_the_stream_of_its_forward():
    x = torch.ones(64, 64, device="npu", requires_grad=True)
    stream = torch.npu.Stream()
    with torch.npu.stream(stream):
        y = (x @ x).sum()
    found = kernels_by_stream(y.backward)
    assert {kernel.op for kernel in found[stream.npu_stream]} >= {"aten::mm"}


def test_memory_of_a_stream_is_reused_on_it_only():
    stream = torch.npu.Stream()
    x = torch.empty(1 << 22, device="npu")
    address = x.data_ptr()
    del x
    with torch.npu.stream(stream):
        assert torch.empty(1 << 22, device="npu").data_ptr() != address
    assert torch.empty(1 << 22, device="npu").data_ptr() == address


def test_recorded_memory_is_reused_once_the_stream_has_passed():
    stream = torch.npu.Stream()
    x = torch.ones(4096, 4096, device="npu")
    torch.npu.synchronize()
    with torch.npu.stream(stream):
        x @ x
    x.record_stream(stream)
    address = x.data_ptr()
    del x
    assert torch.empty(4096, 4096, device="npu").data_ptr() != address
    stream.synchronize()
    again = [torch.empty(4096, 4096, device="npu") for _ in range(2)]
    assert address in {tensor.data_ptr() for tensor in again}


def test_record_stream_takes_a_stream_of_another_device():
    x = torch.ones(4, device="npu:0")
    x.record_stream(torch.npu.Stream(device="npu:1"))
    del x
    assert torch.ones(4, device="npu:0").sum().item() == 4


def test_elapsed_time_adds_up():
    x = torch.ones(1024, 1024, device="npu")
    events = [torch.npu.Event(enable_timing=True) for _ in range(3)]
    for event in events:
        event.record()
        x @ x
    torch.npu.synchronize()
    first, second, third = events
    whole = first.elapsed_time(third)
    assert whole == pytest.approx(first.elapsed_time(second) + second.elapsed_time(third))
    assert first.elapsed_time(second) > 0
    assert third.elapsed_time(first) == -whole


def test_an_event_recorded_again_moves():
    x = torch.ones(1024, 1024, device="npu")
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record()
    end.record()
    torch.npu.synchronize()
    before = start.elapsed_time(end)
    x @ x
    end.record()
    torch.npu.synchronize()
    assert start.elapsed_time(end) > before


def test_an_event_of_one_device_orders_another_device():
    x, y = torch.ones(4096, 4096, device="npu:0"), torch.ones(8, device="npu:1")
    torch.npu.synchronize(0)
    torch.npu.synchronize(1)
    with torch_npu_sim.trace() as trace:
        x @ x
        event = torch.npu.current_stream(0).record_event()
        torch.npu.current_stream(1).wait_event(event)
        y + 1
    (product,) = (kernel for kernel in trace.kernels if kernel.device == 0)
    (added,) = (kernel for kernel in trace.kernels if kernel.device == 1)
    assert added.start_us >= product.end_us


def test_a_stream_context_holds_for_its_thread_only():
    stream = torch.npu.Stream()
    inside, outside = threading.Event(), threading.Event()
    seen = []

    def work() -> None:
        with torch.npu.stream(stream):
            inside.set()
            outside.wait()
            seen.append(torch.npu.current_stream())

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    seen.append(torch.npu.current_stream())
    outside.set()
    thread.join()
    assert seen == [torch.npu.default_stream(), stream]


def test_a_stream_made_in_one_thread_works_in_another():
    stream = torch.npu.Stream()
    results = []

    def work() -> None:
        with torch.npu.stream(stream):
            results.append(torch.ones(8, device="npu").sum())
        stream.synchronize()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].item() == 8


def test_the_pool_of_a_priority_has_32_streams():
    handles = {torch.npu.Stream(priority=-1).npu_stream for _ in range(100)}
    assert len(handles) == 32
    assert handles.isdisjoint({torch.npu.Stream(priority=0).npu_stream for _ in range(100)})
