"""torch.npu: streams by handle, streams in step, and events to reset."""

import pytest
import torch

import torch_npu_sim


def issued_us(stream: torch.Stream) -> tuple[float, float]:
    """When a long kernel ends, and when the host launches the third kernel on `stream`."""
    x = torch.zeros(2048, 2048, device="npu")
    torch.npu.synchronize()
    with torch.npu.stream(stream), torch_npu_sim.trace() as trace:
        x @ x
        x + 1
        x + 2
        torch.npu.synchronize()
    first, _, third = trace.kernels
    return first.end_us, third.issued_us


def test_an_external_stream_is_the_stream_of_the_handle() -> None:
    stream = torch.npu.Stream()
    same = torch.npu.ExternalStream(stream.npu_stream, device="npu:0")
    assert same == stream
    assert isinstance(same, torch.npu.Stream)
    with torch.npu.stream(same):
        assert torch.npu.current_stream() == stream


def test_an_external_stream_is_of_the_device_that_is_named() -> None:
    stream = torch.npu.Stream(2)
    assert torch.npu.ExternalStream(stream.npu_stream, device=2) == stream
    assert torch.npu.ExternalStream(stream.npu_stream).device == torch.device("npu:0")


def test_a_handle_without_a_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a stream index from 0 to"):
        torch.npu.ExternalStream(12345)


def test_the_host_runs_ahead_of_an_ordinary_stream() -> None:
    end, third = issued_us(torch.npu.Stream())
    assert third < end


def test_the_host_keeps_step_with_a_sync_launch_stream() -> None:
    end, third = issued_us(torch.npu.SyncLaunchStream())
    assert third >= end


def test_a_sync_launch_stream_is_a_stream() -> None:
    stream = torch.npu.SyncLaunchStream("npu:1")
    assert stream.device == torch.device("npu:1")
    assert stream.priority == 0
    assert stream.query()
    stream.wait_stream(torch.npu.default_stream(1))
    stream.record_event().synchronize()
    assert "SyncLaunchStream" in repr(stream)


def test_streams_from_the_pools_are_never_sync_launch_streams() -> None:
    own = {torch.npu.SyncLaunchStream().npu_stream for _ in range(40)}
    others = {torch.npu.Stream(priority=p).npu_stream for p in (0, -1) for _ in range(40)}
    assert not own & others


def test_a_stream_waits_for_an_external_event() -> None:
    slow, fast = torch.npu.Stream(), torch.npu.Stream()
    x = torch.zeros(2048, 2048, device="npu")
    torch.npu.synchronize()
    event = torch.npu.ExternalEvent()
    with torch_npu_sim.trace() as trace:
        with torch.npu.stream(slow):
            x @ x
            event.record(slow)
        event.wait(fast)
        event.reset(fast)
        with torch.npu.stream(fast):
            x + 1
        torch.npu.synchronize()
    product, addition = trace.kernels
    assert addition.start_us >= product.end_us


def test_an_external_event_that_is_not_recorded_cannot_be_waited_for() -> None:
    event = torch.npu.ExternalEvent()
    with pytest.raises(RuntimeError, match="for ever; call record"):
        event.wait()
    event.record()
    event.wait()
    event.reset()
    with pytest.raises(RuntimeError, match="for ever; call record"):
        event.wait()
