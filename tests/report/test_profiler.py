"""torch.profiler on npu: kernels appear as device events, with simulated durations."""

import json
import re

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import torch_npu_sim


@pytest.fixture
def profiled():
    """A profile and a trace of the same two operators."""
    x = torch.ones(512, 512, device="npu")
    torch.npu.synchronize()
    activities = [ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]
    with profile(activities=activities) as profiler, torch_npu_sim.trace() as trace:
        torch.mm(x, x)
        torch.relu(x)
        torch.npu.synchronize()
    return profiler, trace


def device_events(profiler):
    """The events that ran on npu."""
    kind = torch.autograd.DeviceType.PrivateUse1
    return [event for event in profiler.events() if event.device_type == kind]


def test_the_profiler_knows_the_device():
    assert ProfilerActivity.PrivateUse1 in torch.profiler.supported_activities()


def test_every_kernel_is_a_device_event(profiled):
    profiler, trace = profiled
    assert [e.name for e in device_events(profiler)] == [k.name for k in trace.kernels]


def test_durations_are_simulated(profiled):
    profiler, trace = profiled
    for event, kernel in zip(device_events(profiler), trace.kernels, strict=True):
        assert event.time_range.elapsed_us() == pytest.approx(kernel.duration_us, abs=0.002)


def test_kernels_keep_their_spacing(profiled):
    profiler, trace = profiled
    first, second = device_events(profiler)
    spacing = second.time_range.start - first.time_range.start
    expected = trace.kernels[1].start_us - trace.kernels[0].start_us
    assert spacing == pytest.approx(expected, abs=0.002)


def test_the_time_of_a_kernel_is_its_operator_s(profiled):
    profiler, trace = profiled
    rows = {row.key: row for row in profiler.key_averages()}
    assert rows["aten::mm"].device_time_total == pytest.approx(
        trace.kernels[0].duration_us, abs=0.002
    )


def test_the_exported_trace_is_json_with_the_kernels(profiled, tmp_path):
    profiler, trace = profiled
    path = tmp_path / "profile.json"
    profiler.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") == "kernel"]
    assert [event["name"] for event in kernels] == [kernel.name for kernel in trace.kernels]
    assert kernels[0]["args"]["bound"] == trace.kernels[0].bound


def test_the_table_of_averages_has_the_kernels_and_their_time(profiled):
    profiler, trace = profiled
    table = profiler.key_averages().table(sort_by="self_device_time_total")
    whole = sum(kernel.duration_us for kernel in trace.kernels)
    total = re.search(r"Self NPU time total: ([\d.]+)us", table)
    assert total is not None
    assert float(total[1]) == pytest.approx(whole, abs=0.005)
    for kernel in trace.kernels:
        assert any(line.split()[:1] == [kernel.name] for line in table.splitlines())


def test_the_device_can_be_profiled_alone():
    x = torch.ones(512, 512, device="npu")
    with profile(activities=[ProfilerActivity.PrivateUse1]) as profiler:
        torch.mm(x, x)
        torch.npu.synchronize()
    assert [event.name for event in device_events(profiler)] == ["matmul"]
    assert [event.name for event in profiler.events()] == ["matmul"]


def test_a_profile_of_the_cpu_alone_has_no_device_events():
    x = torch.ones(4, device="npu")
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        x + 1
    assert device_events(profiler) == []


def test_a_second_profile_starts_empty(profiled):
    x = torch.ones(4, device="npu")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]) as profiler:
        x + 1
    assert len(device_events(profiler)) == 1
