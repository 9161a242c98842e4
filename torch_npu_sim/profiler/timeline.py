"""trace_view.json: the host's operators, the card's kernels, and when the card computed.

Processes, names and arguments are those that Ascend/pytorch and msprof write; times are text, as
there, because a float of the wall clock's microseconds has no digits left after the point.
"""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from torch_npu_sim.profiler.core import task_type
from torch_npu_sim.profiler.kernel_tables import busy_spans, kernel_name
from torch_npu_sim.profiler.recording import HostOperator, Recording, Task
from torch_npu_sim.profiler.table import timestamp

__all__ = ["write_trace_view"]

Event = dict[str, Any]

_HARDWARE_INDEX, _OVERLAP_INDEX = 13, 19  # in the order that the viewer shows
_COMPUTING, _FREE = 0, 3


def write_trace_view(folder: Path, recording: Recording) -> None:
    """Writes trace_view.json, a list of events that Perfetto and MindStudio Insight open."""
    kinds = (_host, _card_ranges, _hardware, _overlap, _memory)
    parts = (events(recording) for events in kinds)
    # Event by event, since json.dump takes the slow way of the standard library.
    texts = (json.dumps(event, allow_nan=False) for event in chain.from_iterable(parts))
    with open(folder / "trace_view.json", "w", encoding="utf-8") as file:
        file.write("[" + next(texts, ""))
        file.writelines(",\n" + text for text in texts)
        file.write("]\n")


def _process(pid: int, name: str, label: str, index: int) -> Iterator[Event]:
    for kind, value in (
        ("process_name", {"name": name}),
        ("process_labels", {"labels": label}),
        ("process_sort_index", {"sort_index": index}),
    ):
        yield {"ph": "M", "name": kind, "pid": pid, "tid": 0, "args": value}


def _thread(pid: int, tid: int, name: str) -> Iterator[Event]:
    for kind, value in (
        ("thread_name", {"name": name}),
        ("thread_sort_index", {"sort_index": tid}),
    ):
        yield {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": value}


def _pid(index: int, device: int) -> int:
    return os.getpid() << 10 | index << 5 | device


def _host(recording: Recording) -> Iterator[Event]:
    pid = os.getpid()
    if recording.operators:
        yield from _process(pid, "Python", "CPU", 0)
    for thread in sorted({each.thread for each in recording.operators}):
        yield from _thread(pid, thread, f"Thread {thread}")
    for each in recording.operators:
        yield {
            "ph": "X",
            "name": each.name,
            "pid": pid,
            "tid": each.thread,
            "ts": timestamp(each.start_ns),
            "dur": each.duration_ns / 1000,
            "cat": each.kind,
            "args": dict(_host_arguments(each)),
        }


def _host_arguments(operator: HostOperator) -> Iterator[tuple[str, Any]]:
    if operator.sequence >= 0:
        yield "Sequence number", operator.sequence
    if operator.shapes:
        yield "Input Dims", ";".join(",".join(map(str, shape)) for shape in operator.shapes)
        yield "Input type", ";".join(operator.dtypes)
    if operator.stack:
        yield "Call stack", ";\r\n".join(operator.stack)
    if operator.flops:
        yield "flops", operator.flops


def _hardware(recording: Recording) -> Iterator[Event]:
    for device in recording.devices:
        pid = _pid(_HARDWARE_INDEX, device)
        yield from _process(pid, "Ascend Hardware", f"NPU {device}", _HARDWARE_INDEX)
        tasks = [task for task in recording.tasks if task.kernel.device == device]
        for stream in sorted({task.kernel.stream for task in tasks}):
            yield from _thread(pid, stream, f"Stream {stream}")
        for task in tasks:
            yield _task(task, recording, pid)
            yield from _flow(task, recording, pid)


def _card_ranges(recording: Recording) -> Iterator[Event]:
    for each in recording.card_ranges():
        yield {
            "ph": "X",
            "name": each.message,
            "pid": _pid(_HARDWARE_INDEX, each.device),
            "tid": each.stream,
            "ts": timestamp(recording.wall_ns(each.begin_us)),
            "dur": each.end_us - each.begin_us,
            "cat": "mstx",
        }


def _task(task: Task, recording: Recording, pid: int) -> Event:
    kernel = task.kernel
    return {
        "ph": "X",
        "name": kernel_name(kernel),
        "pid": pid,
        "tid": kernel.stream,
        "ts": timestamp(recording.wall_ns(kernel.start_us)),
        "dur": kernel.duration_us,
        "cat": "kernel",
        "args": {
            "Task Type": task_type(kernel),
            "Stream Id": kernel.stream,
            "Task Id": task.number,
            "op": kernel.op,
            "work": kernel.work,
            "bound": kernel.bound,
            "flops": kernel.flops,
            "bytes_read": kernel.bytes_read,
            "bytes_written": kernel.bytes_written,
            "busy_us": kernel.pipes,
        },
    }


def _flow(task: Task, recording: Recording, pid: int) -> Iterator[Event]:
    if task.operator is None:
        return
    begin = timestamp(recording.wall_ns(task.kernel.start_us))
    common = {"bp": "e", "name": "torch_to_npu", "id": f"{pid}-{task.number}", "cat": "async_npu"}
    host = {"pid": os.getpid(), "tid": task.operator.thread}
    yield {"ph": "s", **common, **host, "ts": timestamp(task.operator.start_ns)}
    yield {"ph": "f", **common, "pid": pid, "tid": task.kernel.stream, "ts": begin}


def _overlap(recording: Recording) -> Iterator[Event]:
    for device in recording.devices:
        pid = _pid(_OVERLAP_INDEX, device)
        spans = busy_spans(kernel for kernel in recording.kernels if kernel.device == device)
        gaps = [(end, begin) for (_, end), (begin, _) in zip(spans, spans[1:], strict=False)]
        yield from _process(pid, "Overlap Analysis", f"NPU {device}", _OVERLAP_INDEX)
        for tid, name, parts in ((_COMPUTING, "Computing", spans), (_FREE, "Free", gaps)):
            yield from _thread(pid, tid, name)
            yield from _spans(pid, tid, name, recording, parts)


def _spans(
    pid: int, tid: int, name: str, recording: Recording, spans: Iterable[tuple[float, float]]
) -> Iterator[Event]:
    for begin, end in spans:
        at = timestamp(recording.wall_ns(begin))
        yield {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": at, "dur": end - begin}


def _memory(recording: Recording) -> Iterator[Event]:
    for event in recording.memory:
        yield {
            "ph": "C",
            "name": "memory",
            "pid": _pid(_HARDWARE_INDEX, event.device),
            "tid": 0,
            "ts": timestamp(recording.wall_ns(event.at_us)),
            "args": {"allocated": event.allocated, "reserved": event.reserved},
        }
