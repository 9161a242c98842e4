"""The folder of a profile as the vendor lays it out."""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_npu_sim import _C
from torch_npu_sim._startup import __version__
from torch_npu_sim.npu.legacy_names import get_cann_version
from torch_npu_sim.profiler.experimental_config import ProfilerLevel
from torch_npu_sim.profiler.kernel_tables import (
    write_api_statistic,
    write_kernel_details,
    write_l2_cache,
    write_op_statistic,
    write_step_trace_time,
    write_task_time,
)
from torch_npu_sim.profiler.memory_tables import write_memory_record, write_operator_memory
from torch_npu_sim.profiler.operator_table import write_operator_details
from torch_npu_sim.profiler.recording import Recording
from torch_npu_sim.profiler.timeline import write_trace_view

if TYPE_CHECKING:
    from torch_npu_sim.profiler.profiler import profile

__all__ = ["new_folder", "write_profile"]

# The release of torch_npu whose files these are.
_TORCH_NPU_VERSION = "2.13.0"

_VARIABLES = (
    *("ASCEND_GLOBAL_LOG_LEVEL", "HCCL_RDMA_TC", "HCCL_RDMA_SL", "ACLNN_CACHE_LIMIT"),
    *("HOST_CACHE_CAPACITY", "ASCEND_ENHANCE_ENABLE", "PYTORCH_NPU_ALLOC_CONF"),
    *("ASCEND_LAUNCH_BLOCKING", "HCCL_ALGO"),
)


def new_folder(directory: str | None, worker: str | None) -> Path:
    """Makes DIRECTORY/WORKER_PID_TIME_ascend_pt; by default in ASCEND_WORK_PATH, or here."""
    work_path = os.environ.get("ASCEND_WORK_PATH")
    default = Path(work_path, "profiling_data") if work_path else Path.cwd()
    name = f"{worker or socket.gethostname()}_{os.getpid()}"
    while True:
        now = datetime.now().astimezone().strftime("%Y%m%d%H%M%S%f")[:-3]
        folder = Path(directory or default, f"{name}_{now}_ascend_pt")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            time.sleep(0.001)  # two recordings of one millisecond


def write_profile(folder: Path, profiled: "profile") -> None:
    """Writes everything that the last recording of a profile holds."""
    _write_json(folder / _ranked("profiler_info"), _info(profiled), indent=4)
    _write_json(folder / "profiler_metadata.json", _metadata(profiled))
    output = folder / "ASCEND_PROFILER_OUTPUT"
    output.mkdir()
    _write_output(output, profiled, profiled.recording)


def _write_output(output: Path, profiled: "profile", recording: Recording) -> None:
    config = profiled.npu_config
    write_trace_view(output, recording)
    write_operator_details(output, recording)
    if profiled.profile_memory:
        write_memory_record(output, recording)
        write_operator_memory(output, recording)
    if not profiled.records_card or config.profiler_level == ProfilerLevel.Level_none:
        return
    write_kernel_details(output, recording, config)
    write_step_trace_time(output, recording)
    write_task_time(output, recording)
    if config.l2_cache:
        write_l2_cache(output, recording)
    if config.reads_counters:
        write_op_statistic(output, recording)
        write_api_statistic(output, recording)


def _ranked(name: str) -> str:
    rank = os.environ.get("RANK")
    return f"{name}.json" if rank is None else f"{name}_{rank}.json"


def _info(profiled: "profile") -> dict[str, Any]:
    rank = os.environ.get("RANK")
    recording = profiled.recording
    info = {
        "config": {
            "common_config": {
                "activities": sorted(_activity_names(profiled)),
                "schedule": _schedule(profiled) if profiled.record_steps else {},
                "record_shapes": profiled.record_shapes,
                "profile_memory": profiled.profile_memory,
                "with_stack": profiled.with_stack,
                "with_flops": profiled.with_flops,
                "with_modules": profiled.with_modules,
            },
            "experimental_config": profiled.npu_config.as_info(),
        },
        # The card's counter of cycles is not simulated: times are of the host's clock already.
        "start_info": {
            "syscnt_enable": False,
            "freq": 100,
            "start_cnt": 0,
            "start_monotonic": recording.start_ns,
        },
        "end_info": {
            "collectionTimeEnd": recording.end_ns,
            "MonotonicTimeEnd": recording.end_ns,
        },
        "torch_npu_version": _TORCH_NPU_VERSION,
        "cann_version": get_cann_version(),
        "simulation": {
            "torch_npu_sim_version": __version__,
            "chip": _C.chip()["name"],
            "fidelity": _C.fidelity(),
            "time": (
                "times of the card, of its memory and of steps are simulated, laid on the wall "
                "clock from the start of the recording; times of host operators are wall time"
            ),
        },
    }
    return info if rank is None else info | {"rank_id": rank}


def _activity_names(profiled: "profile") -> Iterable[str]:
    if profiled.records_host:
        yield "ProfilerActivity.CPU"
    if profiled.records_card:
        yield "ProfilerActivity.NPU"


def _schedule(profiled: "profile") -> Mapping[str, Any]:
    """Returns the arguments of a schedule of torch, which keeps them in its closure."""
    function: Any = profiled.schedule
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    return {
        name: cell.cell_contents
        for name, cell in zip(names, cells, strict=True)
        if isinstance(cell.cell_contents, int)
    }


def _metadata(profiled: "profile") -> dict[str, Any]:
    variables = {name: os.environ.get(name, "") for name in _VARIABLES}
    trace_id = profiled.get_trace_id() or ""  # type: ignore[no-untyped-call]
    return {**profiled.metadata, "ENV_VARIABLES": variables, "trace_id": trace_id}


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent)
