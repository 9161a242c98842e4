"""A trace as a Chrome trace file."""

import json
import os
from typing import TYPE_CHECKING, Any

from torch_npu_sim import _C

if TYPE_CHECKING:
    from torch_npu_sim.report.kernel import Kernel
    from torch_npu_sim.report.trace import Trace

__all__ = ["chrome_events", "write_chrome"]


def _metadata(name: str, pid: int, tid: int, value: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": value}


def _tracks(trace: "Trace") -> list[dict[str, Any]]:
    """Names a process for each card and a thread for each stream that ran anything."""
    streams = sorted({(kernel.device, kernel.stream) for kernel in trace.kernels})
    devices = {device for device, _ in streams} | {sample.device for sample in trace.memory}
    events = []
    for device in sorted(devices):
        events.append(_metadata("process_name", device, 0, {"name": f"npu:{device}"}))
        events.append(_metadata("process_sort_index", device, 0, {"sort_index": device}))
    for device, stream in streams:
        label = "stream 0 (default)" if stream == 0 else f"stream {stream}"
        events.append(_metadata("thread_name", device, stream, {"name": label}))
        events.append(_metadata("thread_sort_index", device, stream, {"sort_index": stream}))
    return events


def _span(kernel: "Kernel") -> dict[str, Any]:
    return {
        "ph": "X",
        "name": kernel.name,
        "cat": "kernel",
        "pid": kernel.device,
        "tid": kernel.stream,
        "ts": kernel.start_us,
        "dur": kernel.duration_us,
        "args": {
            "op": kernel.op,
            "work": kernel.work,
            "bound": kernel.bound,
            "bytes_read": kernel.bytes_read,
            "bytes_written": kernel.bytes_written,
            "flops": kernel.flops,
            "energy_j": kernel.energy_j,
            "issued_us": kernel.issued_us,
            "alone_us": kernel.alone_us,
            "busy_us": kernel.pipes,
            "provenance": kernel.provenance,
        },
    }


def chrome_events(trace: "Trace") -> list[dict[str, Any]]:
    """Returns the events of the file: tracks, kernels, and a memory counter for each card."""
    counters = [
        {
            "ph": "C",
            "name": "memory",
            "pid": sample.device,
            "tid": 0,
            "ts": sample.at_us,
            "args": {"allocated": sample.allocated_bytes, "reserved": sample.reserved_bytes},
        }
        for sample in trace.memory
    ]
    return [*_tracks(trace), *(_span(kernel) for kernel in trace.kernels), *counters]


def write_chrome(trace: "Trace", path: str | os.PathLike[str]) -> None:
    """Writes the trace to `path` as JSON."""
    content = {
        "traceEvents": chrome_events(trace),
        "displayTimeUnit": "ns",
        "otherData": {
            "chip": _C.chip()["name"],
            "time": "simulated",
            "total_us": trace.total_us,
            "host_us": trace.host_us,
        },
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False)
