"""Tables of the card's kernels: kernel_details, op_statistic, task_time, l2_cache and steps.

Columns are those of Ascend/pytorch's parsers (prof_view and prof_common_func/_csv_headers.py) and
of msprof's op_summary, op_statistic and task_time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

from torch_npu_sim import _C
from torch_npu_sim.profiler.core import is_on_core, task_type
from torch_npu_sim.profiler.counters import block_count, counter_headers, counters
from torch_npu_sim.profiler.experimental_config import _ExperimentalConfig
from torch_npu_sim.profiler.operands import OPERAND_HEADERS, operands
from torch_npu_sim.profiler.recording import Recording, Step, Task
from torch_npu_sim.profiler.table import NOT_AVAILABLE, fixed, timestamp, write_table
from torch_npu_sim.report import Kernel

__all__ = [
    "busy_spans",
    "kernel_name",
    "write_api_statistic",
    "write_kernel_details",
    "write_l2_cache",
    "write_op_statistic",
    "write_step_trace_time",
    "write_task_time",
]

_BASE_HEADERS = [
    *("Device_id", "Name", "Type", "Accelerator Core"),
    *("Start Time(us)", "Duration(us)", "Wait Time(us)", "Block Num"),
]
_ALL_HEADERS = [
    *("Device_id", "Model ID", "Task ID", "Stream ID", "Name", "Type", "OP State"),
    *("Accelerator Core", "Start Time(us)", "Duration(us)", "Wait Time(us)"),
    *("Block Num", "Mix Block Num", "HF32 Eligible", *OPERAND_HEADERS, "Context ID"),
]

Span = tuple[float, float]


# CANN's names of what tools look for; elsewhere a type is the operator's bare name.
_TYPES = {
    "matmul": "MatMul",
    "grouped_matmul": "GroupedMatmul",
    "convolution": "Conv",
    "attention": "FlashAttentionScore",
}
_BACKWARD_TYPES = {"input_grad": "ConvBackpropInput", "weight_grad": "ConvBackpropFilter"}


def kernel_type(kernel: Kernel) -> str:
    """Returns the type of a kernel: "MatMul", or "fill_" of "aten::fill_.Scalar"."""
    if kernel.name == "attention" and kernel.fields.get("backward"):
        return "FlashAttentionScoreGrad"
    backward = _BACKWARD_TYPES.get(str(kernel.fields.get("pass")))
    return backward or _TYPES.get(kernel.name) or _bare_name(kernel)


def kernel_name(kernel: Kernel) -> str:
    """Returns the operator and the kind of kernel: "mm_matmul"."""
    return f"{_bare_name(kernel)}_{kernel.name}"


def _bare_name(kernel: Kernel) -> str:
    """Returns "mm" of "aten::mm"."""
    return kernel.op.rpartition("::")[2].partition(".")[0]


def write_kernel_details(folder: Path, recording: Recording, config: _ExperimentalConfig) -> None:
    """Writes kernel_details.csv: a row for each kernel on the cores.

    Level1 and Level2 have all columns and those of `aic_metrics`; Level0 the first ones.
    """
    full = config.reads_counters
    headers = [*_ALL_HEADERS, *counter_headers(config.aic_metrics)] if full else _BASE_HEADERS
    steps = ["Step Id"] if recording.steps else []
    rows = (
        _kernel_row(task, recording) | (_full_row(task, config) if full else {})
        for task in recording.tasks
        if is_on_core(task.kernel)
    )
    write_table(folder / "kernel_details.csv", [*steps, *headers], rows)


def _kernel_row(task: Task, recording: Recording) -> dict[str, Any]:
    kernel = task.kernel
    blocks = block_count(kernel)
    row: dict[str, Any] = {
        "Device_id": kernel.device,
        "Name": kernel_name(kernel),
        "Type": kernel_type(kernel),
        "Accelerator Core": task_type(kernel),
        "Start Time(us)": timestamp(recording.wall_ns(kernel.start_us)) + "\t",
        "Duration(us)": fixed(kernel.duration_us),
        "Wait Time(us)": fixed(task.wait_us),
        "Block Num": NOT_AVAILABLE if blocks is None else blocks,
    }
    return row | ({"Step Id": task.step} if recording.steps else {})


def _full_row(task: Task, config: _ExperimentalConfig) -> dict[str, Any]:
    formats = (str(task.kernel.fields.get(each)) for each in ("a", "b", "format"))
    return {
        "Task ID": task.number,
        "Stream ID": task.kernel.stream,
        "HF32 Eligible": "YES" if "hf32" in formats else "NO",
        **operands(task),
        **counters(task.kernel, config.aic_metrics),
    }


def write_op_statistic(folder: Path, recording: Recording) -> None:
    """Writes op_statistic.csv: count and times of each operator on each kind of core."""
    headers = ["Device_id", "OP Type", "Core Type", "Count", "Total Time(us)"]
    headers += ["Min Time(us)", "Avg Time(us)", "Max Time(us)", "Ratio(%)"]
    groups: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for kernel in filter(is_on_core, recording.kernels):
        key = kernel.device, kernel_type(kernel), task_type(kernel)
        groups[key].append(kernel.duration_us)
    whole: dict[int, float] = defaultdict(float)
    for (device, _, _), times in groups.items():
        whole[device] += sum(times)
    costliest_first = sorted(groups.items(), key=lambda group: (group[0][0], -sum(group[1])))
    rows = (
        {
            "Device_id": device,
            "OP Type": kind,
            "Core Type": core,
            "Count": len(times),
            "Total Time(us)": fixed(sum(times)),
            "Min Time(us)": fixed(min(times)),
            "Avg Time(us)": fixed(fmean(times)),
            "Max Time(us)": fixed(max(times)),
            "Ratio(%)": fixed(100 * sum(times) / whole[device]),
        }
        for (device, kind, core), times in costliest_first
    )
    write_table(folder / "op_statistic.csv", headers, rows)


def write_task_time(folder: Path, recording: Recording) -> None:
    """Writes task_time.csv: every task of the card, copies by the host's link included."""
    headers = ["Device_id", "kernel_name", "kernel_type", "stream_id", "task_id"]
    headers += ["task_time(us)", "task_start(us)", "task_stop(us)"]
    rows = (
        {
            "Device_id": task.kernel.device,
            "kernel_name": kernel_name(task.kernel),
            "kernel_type": task_type(task.kernel),
            "stream_id": task.kernel.stream,
            "task_id": task.number,
            "task_time(us)": fixed(task.kernel.duration_us),
            "task_start(us)": timestamp(recording.wall_ns(task.kernel.start_us)) + "\t",
            "task_stop(us)": timestamp(recording.wall_ns(task.kernel.end_us)) + "\t",
        }
        for task in recording.tasks
    )
    write_table(folder / "task_time.csv", headers, rows)


def write_l2_cache(folder: Path, recording: Recording) -> None:
    """Writes l2_cache.csv: the share of the bytes read that L2 held; evictions are not known."""
    headers = ["Device_id", "Stream Id", "Task Id", "Hit Rate", "Victim Rate", "Op Name"]
    rows = (
        {
            "Device_id": task.kernel.device,
            "Stream Id": task.kernel.stream,
            "Task Id": task.number,
            "Hit Rate": fixed(task.kernel.bytes_hit / task.kernel.bytes_read),
            "Op Name": kernel_name(task.kernel),
        }
        for task in recording.tasks
        if is_on_core(task.kernel) and task.kernel.bytes_read
    )
    write_table(folder / "l2_cache.csv", headers, rows)


def write_api_statistic(folder: Path, recording: Recording) -> None:
    """Writes api_statistic.csv: the host's simulated time for launches, all that it knows of APIs.

    A launch takes what the chip's `host_eager_op_ns` says, and no longer than the time that passed
    since the launch before.
    """
    headers = ["Device_id", "Level", "API Name", "Time(us)", "Count"]
    headers += ["Avg(us)", "Min(us)", "Max(us)", "Variance"]
    rows = []
    for device in recording.devices:
        issued = sorted(
            kernel.issued_us
            for kernel in recording.kernels
            if kernel.device == device and is_on_core(kernel)
        )
        times = _launch_times(issued)
        if times:
            rows.append(
                {
                    "Device_id": device,
                    "Level": "node",
                    "API Name": "launch",
                    "Time(us)": fixed(sum(times)),
                    "Count": len(times),
                    "Avg(us)": fixed(fmean(times)),
                    "Min(us)": fixed(min(times)),
                    "Max(us)": fixed(max(times)),
                    "Variance": fixed(pvariance(times)),
                }
            )
    write_table(folder / "api_statistic.csv", headers, rows)


def _launch_times(issued: Sequence[float]) -> list[float]:
    dispatch_us = next(
        value / 1000 for name, value, *_ in _C.chip_parameters() if name == "host_eager_op_ns"
    )
    before = [0.0, *issued]
    return [min(dispatch_us, now - last) for now, last in zip(issued, before, strict=False)]


def write_step_trace_time(folder: Path, recording: Recording) -> None:
    """Writes step_trace_time.csv: how long each step computed, and how long it did not.

    There is one rank, so nothing is communicated.
    """
    headers = ["Device_id", "Step", "Computing", "Communication(Not Overlapped)", "Overlapped"]
    headers += ["Communication", "Free", "Stage", "Bubble"]
    headers += ["Communication(Not Overlapped and Exclude Receive)", "Preparing"]
    rows = (
        dict.fromkeys(headers, 0) | row
        for device in recording.devices
        for row in _step_rows(recording, device)
    )
    write_table(folder / "step_trace_time.csv", headers, rows)


def _step_rows(recording: Recording, device: int) -> Iterator[dict[str, Any]]:
    steps: Sequence[Step | None] = recording.steps or [None]
    kernels: dict[int | None, list[Kernel]] = defaultdict(list)
    for task in recording.tasks:
        if task.kernel.device == device:
            kernels[task.step].append(task.kernel)
    for step in steps:
        number = None if step is None else step.number
        spans = busy_spans(kernels[number])
        if spans:
            computing = sum(end - begin for begin, end in spans)
            stage = spans[-1][1] - spans[0][0]
            yield {
                "Device_id": device,
                "Step": "" if number is None else number,
                "Computing": fixed(computing),
                "Free": fixed(stage - computing),
                "Stage": fixed(stage),
                "Preparing": fixed(spans[0][0] - (0.0 if step is None else step.begin_us)),
            }


def busy_spans(kernels: Iterable[Kernel]) -> list[Span]:
    """Returns when at least one kernel ran on the cores, in order and without overlap."""
    spans: list[Span] = []
    on_cores = filter(is_on_core, kernels)
    for begin, end in sorted((kernel.start_us, kernel.end_us) for kernel in on_cores):
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((begin, end))
    return spans
