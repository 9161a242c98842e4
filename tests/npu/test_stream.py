"""torch.npu: streams."""

import threading

import pytest
import torch

import torch_npu_sim


@pytest.fixture(autouse=True)
def default_streams():
    """Leaves the default stream of device 0 current."""
    yield
    torch.npu.set_device(0)
    torch.npu.set_stream(torch.npu.default_stream(0))


def work(stream: torch.Stream, size: int = 512) -> None:
    """Queues a matmul on the stream."""
    with torch.npu.stream(stream):
        x = torch.ones(size, size, device="npu")
        torch.mm(x, x)


def test_the_current_stream_is_the_default_stream_until_set():
    assert torch.npu.current_stream() == torch.npu.default_stream()
    assert torch.npu.default_stream().npu_stream == 0


def test_a_new_stream_is_not_the_default_one():
    stream = torch.npu.Stream()
    assert stream != torch.npu.default_stream()
    assert stream.npu_stream != 0


def test_streams_are_torch_streams_of_the_device():
    stream = torch.npu.Stream(device="npu:1")
    assert isinstance(stream, torch.Stream)
    assert stream.device == torch.device("npu", 1)


@pytest.mark.parametrize(("asked", "got"), [(0, 0), (-1, -1), (5, 0), (-7, -1)])
def test_priorities_are_clamped_to_the_range(asked, got):
    assert torch.npu.Stream(priority=asked).priority == got


def test_the_priority_range_is_as_torch_states_it():
    assert torch.npu.Stream.priority_range() == (0, -1)


def test_the_context_makes_a_stream_current_and_restores():
    stream = torch.npu.Stream()
    with torch.npu.stream(stream) as entered:
        assert entered is stream
        assert torch.npu.current_stream() == stream
        assert torch.accelerator.current_stream() == stream
    assert torch.npu.current_stream() == torch.npu.default_stream()


def test_the_context_of_none_changes_nothing():
    with torch.npu.stream(None):
        assert torch.npu.current_stream() == torch.npu.default_stream()


def test_the_context_of_another_device_s_stream_moves_there_and_back():
    stream = torch.npu.Stream(device=1)
    with torch.npu.stream(stream):
        assert torch.npu.current_device() == 1
        assert torch.npu.current_stream() == stream
    assert torch.npu.current_device() == 0
    assert torch.npu.current_stream(1) == torch.npu.default_stream(1)


def test_a_torch_stream_works_where_an_npu_stream_does():
    stream = torch.Stream(device="npu:0")
    with torch.npu.stream(stream):
        assert torch.npu.current_stream() == stream


def test_a_stream_is_a_context_manager_itself():
    stream = torch.npu.Stream()
    with stream:
        assert torch.npu.current_stream() == stream


def test_equal_streams_have_equal_hashes():
    one, other = torch.npu.default_stream(), torch.npu.current_stream()
    assert one == other
    assert hash(one) == hash(other)


def test_the_pool_hands_out_its_streams_again():
    handles = [torch.npu.Stream().npu_stream for _ in range(65)]
    assert len(set(handles)) == 32


def test_the_current_stream_is_a_thread_s_own():
    seen = []
    with torch.npu.stream(torch.npu.Stream()):
        thread = threading.Thread(target=lambda: seen.append(torch.npu.current_stream()))
        thread.start()
        thread.join()
    assert seen == [torch.npu.default_stream()]


def test_a_stream_is_busy_until_the_host_waited():
    stream = torch.npu.Stream()
    work(stream, 4096)
    assert not stream.query()
    stream.synchronize()
    assert stream.query()


def test_wait_stream_orders_kernels_of_two_streams():
    first, second = torch.npu.Stream(), torch.npu.Stream()
    torch.npu.synchronize()
    with torch_npu_sim.trace() as trace:
        work(first, 2048)
        second.wait_stream(first)
        work(second, 64)
    ends = [kernel.end_us for kernel in trace.kernels if kernel.stream == first.npu_stream]
    starts = [kernel.start_us for kernel in trace.kernels if kernel.stream == second.npu_stream]
    assert min(starts) >= max(ends)


def test_streams_without_order_overlap():
    first, second = torch.npu.Stream(), torch.npu.Stream()
    x = torch.ones(2048, 2048, device="npu")
    torch.npu.synchronize()
    with torch_npu_sim.trace() as trace:
        for stream in (first, second):
            with torch.npu.stream(stream):
                torch.mm(x, x)
    one, other = (kernel for kernel in trace.kernels if kernel.op.startswith("aten::mm"))
    assert other.start_us < one.end_us


def test_synchronize_moves_the_host_to_the_end_of_the_work():
    with torch_npu_sim.trace() as trace:
        work(torch.npu.current_stream(), 2048)
        torch.npu.synchronize()
    assert trace.host_us >= max(kernel.end_us for kernel in trace.kernels)


def test_record_stream_keeps_a_block_from_reuse():
    stream = torch.npu.Stream()
    x = torch.ones(1 << 20, device="npu")
    pointer = x.data_ptr()
    work(stream, 4096)
    x.record_stream(stream)
    del x
    assert torch.ones(1 << 20, device="npu").data_ptr() != pointer


def test_set_stream_refuses_what_is_no_stream():
    with pytest.raises(TypeError, match="expected a torch.Stream, got int"):
        torch.npu.set_stream(3)


@pytest.fixture
def sync_debug_mode():
    """Sets the mode, and the default one afterwards."""
    yield torch.npu.set_sync_debug_mode
    torch.npu.set_sync_debug_mode("default")


WAITS = [
    pytest.param(lambda x: x[0].item(), id="item"),
    pytest.param(lambda x: x.cpu(), id="cpu"),
    pytest.param(lambda x: x.nonzero(), id="nonzero"),
    pytest.param(lambda x: torch.npu.current_stream().synchronize(), id="synchronize"),
]


@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_for_a_stream_can_warn_or_raise(sync_debug_mode, wait):
    x = torch.ones(4, device="npu")
    sync_debug_mode("warn")
    assert torch.npu.get_sync_debug_mode() == 1
    with pytest.warns(UserWarning, match="called a synchronizing NPU operation"):
        wait(x)
    sync_debug_mode(2)
    with pytest.raises(RuntimeError, match="called a synchronizing NPU operation"):
        wait(x)
    sync_debug_mode("default")
    assert torch.npu.get_sync_debug_mode() == 0
    wait(x)


def test_what_does_not_wait_does_not_warn(sync_debug_mode, recwarn):
    x = torch.ones(4, device="npu")
    sync_debug_mode("error")
    (x + 1).to("cpu", non_blocking=True)
    assert not recwarn.list


@pytest.mark.parametrize("mode", ["loud", 3, None])
def test_another_sync_debug_mode_is_refused(mode):
    with pytest.raises(ValueError, match="expected 'default', 'warn' or 'error'"):
        torch.npu.set_sync_debug_mode(mode)
