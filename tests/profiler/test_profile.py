"""What a profile writes when: folder, levels, activities, schedules, options, metadata."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import torch_npu_sim
from tests.profiler.written import LEVEL1, Written, work, write
from torch_npu_sim import _C
from torch_npu_sim.profiler import (
    AiCMetrics,
    ExportType,
    ProfilerActivity,
    ProfilerLevel,
    _ExperimentalConfig,
    profile,
    schedule,
    tensorboard_trace_handler,
)
from torch_npu_sim.profiler.profiler import analyse


def test_the_folder_is_named_as_the_vendor_does(level1: Written) -> None:
    assert re.fullmatch(r"me_\d+_\d{17}_ascend_pt", level1.folder.name)


def test_level1_writes_every_table(level1: Written) -> None:
    assert level1.names == {
        *("trace_view.json", "kernel_details.csv", "op_statistic.csv", "step_trace_time.csv"),
        *("operator_memory.csv", "memory_record.csv", "api_statistic.csv", "task_time.csv"),
        "operator_details.csv",
    }


def test_level0_has_the_first_columns_and_no_statistics(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert written.names == {
        *("trace_view.json", "kernel_details.csv", "step_trace_time.csv", "task_time.csv"),
        "operator_details.csv",
    }
    assert list(written.table("kernel_details.csv")[0]) == [
        *("Device_id", "Name", "Type", "Accelerator Core", "Start Time(us)", "Duration(us)"),
        *("Wait Time(us)", "Block Num"),
    ]


def test_level_none_writes_no_kernels(tmp_path: Path) -> None:
    written = write(tmp_path, config={"profiler_level": ProfilerLevel.Level_none})
    assert written.names == {"trace_view.json", "operator_details.csv"}


def test_the_host_alone_has_no_kernels(tmp_path: Path) -> None:
    written = write(tmp_path, activities=[ProfilerActivity.CPU], config=LEVEL1)
    assert written.names == {"trace_view.json", "operator_details.csv"}
    assert not any(event.get("cat") == "kernel" for event in written.timeline())
    info = written.json("profiler_info.json")["config"]["common_config"]
    assert info["activities"] == ["ProfilerActivity.CPU"]


def test_the_card_alone_has_kernels_without_operators(tmp_path: Path) -> None:
    written = write(tmp_path, activities=[ProfilerActivity.NPU], config=LEVEL1)
    assert "operator_details.csv" not in written.names
    assert len(written.table("kernel_details.csv")) == len(written.on_cores)


def test_a_schedule_names_the_steps(tmp_path: Path) -> None:
    with profile(
        schedule=schedule(wait=1, warmup=1, active=2, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(tmp_path)),
        experimental_config=_ExperimentalConfig(**LEVEL1),
    ) as profiler:
        for _ in range(6):
            work()
            profiler.step()
    (folder,) = tmp_path.iterdir()
    written = Written(folder, torch_npu_sim.trace())
    assert [row["Step"] for row in written.table("step_trace_time.csv")] == ["2", "3"]
    steps = [row["Step Id"] for row in written.table("kernel_details.csv")]
    assert steps == ["2"] * 5 + ["3"] * 5
    info = written.json("profiler_info.json")["config"]["common_config"]
    assert info["schedule"]["active"] == 2 and info["schedule"]["wait"] == 1


def test_each_round_of_a_schedule_has_a_folder(tmp_path: Path) -> None:
    with profile(
        schedule=schedule(wait=0, active=1, repeat=3),
        on_trace_ready=tensorboard_trace_handler(str(tmp_path)),
    ) as profiler:
        for _ in range(4):
            work()
            profiler.step()
    found = [Written(folder, torch_npu_sim.trace()) for folder in sorted(tmp_path.iterdir())]
    steps = [each.table("step_trace_time.csv")[0]["Step"] for each in found]
    assert steps == ["0", "1", "2"]


def test_profiling_takes_no_simulated_time(tmp_path: Path) -> None:
    def host_ps() -> int:
        torch.npu.synchronize()
        begin = _C.host_now_ps()
        work()
        return _C.host_now_ps() - begin

    alone = host_ps()
    times: list[int] = []
    write(tmp_path, lambda: times.append(host_ps()), profile_memory=True)
    assert times == [alone]


def test_profiler_info_says_what_was_asked_and_that_times_are_simulated(level1: Written) -> None:
    info = level1.json("profiler_info.json")
    assert info["config"]["experimental_config"]["_profiler_level"] == "Level1"
    assert info["config"]["experimental_config"]["_export_type"] == ["text"]
    assert info["config"]["common_config"]["record_shapes"] is True
    assert "simulated" in info["simulation"]["time"]
    assert info["simulation"]["chip"] == _C.chip()["name"]


def test_metadata_is_written(tmp_path: Path) -> None:
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path))) as profiler:
        profiler.add_metadata("name", "value")
        profiler.add_metadata_json("numbers", "[1, 2]")
        with pytest.warns(UserWarning, match="expected JSON for broken"):
            profiler.add_metadata_json("broken", "{")
    (path,) = tmp_path.glob("*/profiler_metadata.json")
    metadata = json.loads(path.read_text())
    assert (metadata["name"], metadata["numbers"]) == ("value", [1, 2])
    assert "broken" not in metadata and "HCCL_ALGO" in metadata["ENV_VARIABLES"]


def test_a_rank_is_in_the_name_of_profiler_info(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    assert write(tmp_path).json("profiler_info_3.json")["rank_id"] == "3"


def test_counters_need_a_level_that_reads_them() -> None:
    metrics = {"aic_metrics": AiCMetrics.Memory}
    assert _ExperimentalConfig(**metrics).aic_metrics == AiCMetrics.AiCoreNone
    assert _ExperimentalConfig(**LEVEL1, **metrics).aic_metrics == AiCMetrics.Memory
    assert _ExperimentalConfig(profiler_level=ProfilerLevel.Level_none).mstx


def test_a_database_is_refused_in_words() -> None:
    with pytest.warns(UserWarning, match="type db are not written"):
        _ExperimentalConfig(export_type=[ExportType.Db])


def test_a_recording_that_has_not_ended_cannot_be_written(tmp_path: Path) -> None:
    with profile() as profiler:
        with pytest.raises(RuntimeError, match="expected a recording that has ended"):
            tensorboard_trace_handler(str(tmp_path))(profiler)


def test_analyse_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    analyse(str(tmp_path))
    with pytest.raises(RuntimeError, match="nowhere"):
        analyse(str(tmp_path / "nowhere"))


def test_a_profile_of_torch_is_written_as_torch_s_trace(tmp_path: Path) -> None:
    with torch.profiler.profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path))):
        work()
    (path,) = tmp_path.rglob("trace_view.json")
    assert json.loads(path.read_text())["traceEvents"]
