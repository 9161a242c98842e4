"""What tensorboard_trace_handler writes: the vendor's folder, tables and timeline."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import torch_npu_sim
from torch_npu_sim import _C
from torch_npu_sim.npu import memory_history
from torch_npu_sim.npu.mstx import mstx
from torch_npu_sim.profiler import (
    AiCMetrics,
    ExportType,
    ProfilerActivity,
    ProfilerLevel,
    _ExperimentalConfig,
    profile,
    schedule,
    supported_ai_core_metrics,
    tensorboard_trace_handler,
)
from torch_npu_sim.profiler.profiler import analyse
from torch_npu_sim.report import Kernel, Trace

LEVEL1 = {"profiler_level": ProfilerLevel.Level1}


@dataclass
class Written:
    """A folder that a handler wrote, and what the simulator's own trace says of the same time."""

    folder: Path
    trace: Trace

    def table(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / "ASCEND_PROFILER_OUTPUT" / name, newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows and all(None not in row and None not in row.values() for row in rows)
        return rows

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def timeline(self) -> list[dict[str, Any]]:
        return self.json("ASCEND_PROFILER_OUTPUT/trace_view.json")

    @property
    def names(self) -> set[str]:
        return {path.name for path in (self.folder / "ASCEND_PROFILER_OUTPUT").iterdir()}

    @property
    def on_cores(self) -> list[Kernel]:
        return [kernel for kernel in self.trace.kernels if "link" not in kernel.pipes]


def work() -> None:
    x = torch.ones(256, 128, device="npu", dtype=torch.bfloat16)
    y = x @ torch.ones(128, 64, device="npu", dtype=torch.bfloat16)
    torch.softmax(y, -1).sum().item()


def write(folder: Path, run: Callable[[], None] = work, **options: Any) -> Written:
    """Profiles `run` once, and returns what was written."""
    config = _ExperimentalConfig(**options.pop("config", {}))
    with torch_npu_sim.trace() as trace:
        with profile(
            on_trace_ready=tensorboard_trace_handler(str(folder), worker_name="me"),
            experimental_config=config,
            **options,
        ):
            run()
    (written,) = folder.iterdir()
    return Written(written, trace)


@pytest.fixture(scope="module")
def level1(tmp_path_factory: pytest.TempPathFactory) -> Written:
    recorded = {"record_shapes": True, "with_flops": True, "profile_memory": True}
    return write(tmp_path_factory.mktemp("level1"), config=LEVEL1, **recorded)


def us(text: str) -> float:
    return float(text.strip())


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


def test_a_row_is_a_kernel_on_the_cores(level1: Written) -> None:
    rows = level1.table("kernel_details.csv")
    assert [row["Type"] for row in rows] == ["fill_", "fill_", "mm", "_softmax", "sum"]
    for row, kernel in zip(rows, level1.on_cores, strict=True):
        assert us(row["Duration(us)"]) == pytest.approx(kernel.duration_us, abs=6e-4)
        assert row["Name"].endswith(kernel.name)
        assert (row["Device_id"], row["Stream ID"]) == ("0", "0")


def test_kernels_keep_their_spacing_and_wait(level1: Written) -> None:
    rows = level1.table("kernel_details.csv")
    for (row, after), (kernel, then) in zip(
        zip(rows, rows[1:], strict=False),
        zip(level1.on_cores, level1.on_cores[1:], strict=False),
        strict=True,
    ):
        # A float of the wall clock's microseconds is exact to a quarter.
        apart = us(after["Start Time(us)"]) - us(row["Start Time(us)"])
        assert apart == pytest.approx(then.start_us - kernel.start_us, abs=0.6)
        waited = then.start_us - kernel.end_us
        assert us(after["Wait Time(us)"]) == pytest.approx(waited, abs=6e-4)
    assert us(rows[0]["Wait Time(us)"]) == 0


def test_a_product_has_shapes_cores_and_pipes(level1: Written) -> None:
    row = next(row for row in level1.table("kernel_details.csv") if row["Type"] == "mm")
    kernel = next(kernel for kernel in level1.on_cores if kernel.name == "matmul")
    assert row["Accelerator Core"] == "AI_CORE"
    assert row["Input Shapes"] == '"256,128;128,64"' and row["Output Shapes"] == '"256,64"'
    assert row["Input Data Types"] == "DT_BF16;DT_BF16" and row["Output Data Types"] == "DT_BF16"
    assert 1 <= int(row["Block Num"]) <= _C.chip()["cube_cores"]
    facts = {name: value for name, value, _ in _C.explain(dict(kernel.fields))["facts"]}
    for name, pipe in (("mac", "cube"), ("mte1", "mte1"), ("mte2", "mte2")):
        mean = kernel.pipes[pipe] * facts["balance"]
        assert us(row[f"aic_{name}_time(us)"]) == pytest.approx(mean, abs=6e-4)
        assert us(row[f"aic_{name}_ratio"]) == pytest.approx(mean / kernel.duration_us, abs=6e-4)
    assert us(row["aicore_time(us)"]) == us(row["Duration(us)"])
    assert us(row["aiv_time(us)"]) == 0


def test_a_softmax_is_on_the_vector_cores_with_its_operator_s_inputs(level1: Written) -> None:
    row = next(row for row in level1.table("kernel_details.csv") if row["Type"] == "_softmax")
    kernel = next(kernel for kernel in level1.on_cores if kernel.op == "aten::_softmax")
    assert row["Accelerator Core"] == "AI_VECTOR_CORE"
    assert (row["Input Shapes"], row["Input Data Types"]) == ('"256,64"', "DT_BF16")
    assert us(row["aiv_vec_time(us)"]) == pytest.approx(kernel.pipes["vector"], abs=6e-4)


def test_what_the_simulator_does_not_know_is_not_available(level1: Written) -> None:
    for row in level1.table("kernel_details.csv"):
        unknown = ("aic_total_cycles", "aic_scalar_time(us)", "aiv_icache_miss_rate", "Model ID")
        assert {row[name] for name in (*unknown, "Input Formats")} == {"N/A"}


def test_attention_is_on_both_kinds_of_core(tmp_path: Path) -> None:
    def attend() -> None:
        q = torch.ones(1, 2, 64, 64, device="npu", dtype=torch.bfloat16)
        torch.nn.functional.scaled_dot_product_attention(q, q, q)

    written = write(tmp_path, attend, config=LEVEL1)
    row = written.table("kernel_details.csv")[-1]
    assert row["Accelerator Core"] == "MIX_AIC"
    assert us(row["aic_mac_time(us)"]) > 0 and us(row["aiv_vec_time(us)"]) > 0
    # One mte2 is modelled for both.
    assert row["aic_mte2_time(us)"] == row["aiv_mte2_time(us)"] == "N/A"


@pytest.mark.parametrize("metrics", sorted(supported_ai_core_metrics()))
def test_every_set_of_counters_has_its_columns(tmp_path: Path, metrics: str) -> None:
    written = write(tmp_path, config={**LEVEL1, "aic_metrics": metrics})
    (product,) = (row for row in written.table("kernel_details.csv") if row["Type"] == "mm")
    kernel = next(kernel for kernel in written.on_cores if kernel.name == "matmul")
    expected = {
        AiCMetrics.ArithmeticUtilization: ("aic_cube_fops", kernel.flops),
        AiCMetrics.MemoryAccess: (
            "aic_read_main_memory_datas(KB)",
            kernel.bytes_hibl_read / 1024,
        ),
        AiCMetrics.Memory: (
            "aic_main_mem_read_bw(GB/s)",
            kernel.bytes_hibl_read / kernel.duration_us / 1000,
        ),
    }
    assert ("aicore_time(us)" in product) == (metrics != AiCMetrics.AiCoreNone)
    if metrics in expected:
        name, value = expected[metrics]
        assert us(product[name]) == pytest.approx(value, abs=6e-4)


def test_statistics_add_up_to_the_trace(level1: Written) -> None:
    rows = level1.table("op_statistic.csv")
    whole = sum(kernel.duration_us for kernel in level1.on_cores)
    assert sum(us(row["Total Time(us)"]) for row in rows) == pytest.approx(whole, abs=0.01)
    assert sum(us(row["Ratio(%)"]) for row in rows) == pytest.approx(100, abs=0.01)
    (fill,) = (row for row in rows if row["OP Type"] == "fill_")
    times = [us(fill[f"{name} Time(us)"]) for name in ("Min", "Avg", "Max")]
    assert fill["Count"] == "2" and times == sorted(times)


def test_task_time_has_every_kernel_of_the_trace(level1: Written) -> None:
    rows = level1.table("task_time.csv")
    total = sum(us(row["task_time(us)"]) for row in rows)
    assert total == pytest.approx(level1.trace.device_us, abs=0.01)
    assert rows[-1]["kernel_type"] == "MEMCPY_ASYNC"


def test_hits_of_l2_are_shares_of_the_bytes_read(tmp_path: Path) -> None:
    written = write(tmp_path, config={"l2_cache": True})
    reading = [kernel for kernel in written.on_cores if kernel.bytes_read]
    rates = [us(row["Hit Rate"]) for row in written.table("l2_cache.csv")]
    expected = [kernel.bytes_hit / kernel.bytes_read for kernel in reading]
    assert rates == pytest.approx(expected, abs=6e-4) and max(rates) > 0


def test_launches_take_the_host_s_time_an_operator(level1: Written) -> None:
    (row,) = level1.table("api_statistic.csv")
    assert (row["Level"], row["API Name"]) == ("node", "launch")
    assert int(row["Count"]) == len(level1.on_cores)
    assert 0 < us(row["Min(us)"]) <= us(row["Avg(us)"]) <= us(row["Max(us)"]) <= 20


def test_times_of_a_step_agree_with_the_trace(level1: Written) -> None:
    (row,) = level1.table("step_trace_time.csv")
    kernels = level1.on_cores
    busy = sum(kernel.duration_us for kernel in kernels)  # one stream: nothing overlaps
    assert us(row["Computing"]) == pytest.approx(busy, abs=0.01)
    stage = kernels[-1].end_us - kernels[0].start_us
    assert us(row["Stage"]) == pytest.approx(stage, abs=0.01)
    assert us(row["Free"]) == pytest.approx(stage - busy, abs=0.01)
    assert row["Step"] == "" and row["Communication"] == "0"


def test_streams_that_overlap_compute_once(tmp_path: Path) -> None:
    def overlap() -> None:
        x = torch.ones(2048, 2048, device="npu")
        side = torch.npu.Stream()
        side.wait_stream(torch.npu.current_stream())
        torch.mm(x, x)
        with torch.npu.stream(side):
            torch.mm(x, x)
        torch.npu.synchronize()

    written = write(tmp_path, overlap, config=LEVEL1)
    (row,) = written.table("step_trace_time.csv")
    together = sum(kernel.duration_us for kernel in written.on_cores)
    assert us(row["Computing"]) < 0.99 * together
    assert us(row["Computing"]) + us(row["Free"]) == pytest.approx(us(row["Stage"]), abs=0.01)
    assert {each["Stream ID"] for each in written.table("kernel_details.csv")} != {"0"}


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


def test_memory_is_the_allocator_s(level1: Written) -> None:
    rows = [row for row in level1.table("memory_record.csv") if row["Component"] == "PTA"]
    allocated = [us(row["Total Allocated(MB)"]) for row in rows]
    samples = [sample.allocated_bytes / 2**20 for sample in level1.trace.memory]
    assert max(allocated) == pytest.approx(max(samples))
    assert allocated[-1] == pytest.approx(samples[-1])
    assert {row["Device Type"] for row in rows} == {"NPU:0"}


def test_an_allocation_has_its_operator_and_its_life(level1: Written) -> None:
    rows = level1.table("operator_memory.csv")
    (product,) = (row for row in rows if row["Name"] == "aten::mm")
    assert us(product["Size(KB)"]) == 256 * 64 * 2 / 1024
    released, made = us(product["Release Time(us)"]), us(product["Allocation Time(us)"])
    assert us(product["Duration(us)"]) == pytest.approx(released - made, abs=0.6)
    others = (256 * 128 + 128 * 64) * 2
    allocated = us(product["Allocation Total Allocated(MB)"]) * 2**20
    assert allocated >= others + 256 * 64 * 2


@pytest.mark.leaves_memory("the tensor outlives the profile on purpose")
def test_what_outlives_the_profile_has_no_release(tmp_path: Path) -> None:
    kept = []
    written = write(tmp_path, lambda: kept.append(torch.ones(4, device="npu")), profile_memory=True)
    (row,) = written.table("operator_memory.csv")
    assert row["Release Time(us)"] == row["Duration(us)"] == ""


def test_a_memory_history_of_the_user_goes_on(tmp_path: Path) -> None:
    torch.npu.memory._record_memory_history()
    try:
        write(tmp_path, profile_memory=True)
        assert memory_history.is_recording() and _C.memory_history(0)
    finally:
        torch.npu.memory._record_memory_history(None)


def test_a_memory_history_of_the_profile_ends_with_it(tmp_path: Path) -> None:
    write(tmp_path, profile_memory=True)
    work()
    assert not _C.memory_history(0)


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


def test_device_time_of_operators_is_their_kernels_time(level1: Written) -> None:
    rows = level1.table("operator_details.csv")
    own = sum(us(row["Device Self Duration(us)"]) for row in rows)
    assert own == pytest.approx(level1.trace.device_us, abs=0.01)
    (product,) = (row for row in rows if row["Name"] == "aten::mm")
    assert product["Input Shapes"] == "256,128;128,64"
    assert us(product["Host Self Duration(us)"]) <= us(product["Host Total Duration(us)"])


def spans(events: list[dict[str, Any]], category: str) -> Iterator[dict[str, Any]]:
    return (event for event in events if event["ph"] == "X" and event.get("cat") == category)


def test_the_timeline_has_the_form_that_viewers_read(level1: Written) -> None:
    events = level1.timeline()
    processes = {e["args"]["name"]: e["pid"] for e in events if e["name"] == "process_name"}
    assert set(processes) == {"Python", "Ascend Hardware", "Overlap Analysis"}
    labels = {e["pid"]: e["args"]["labels"] for e in events if e["name"] == "process_labels"}
    assert labels[processes["Ascend Hardware"]] == "NPU 0"
    for event in events:
        assert {"ph", "name", "pid", "tid"} <= set(event)
        if event["ph"] != "M":
            assert re.fullmatch(r"\d+\.\d{3}", event["ts"])
        if event["ph"] == "X":
            assert event["dur"] >= 0


def test_kernels_of_the_timeline_are_those_of_the_trace(level1: Written) -> None:
    kernels = list(spans(level1.timeline(), "kernel"))
    assert [e["args"]["op"] for e in kernels] == [k.op for k in level1.trace.kernels]
    durations = [kernel.duration_us for kernel in level1.trace.kernels]
    assert [event["dur"] for event in kernels] == pytest.approx(durations)


def test_an_arrow_leads_from_each_operator_to_its_kernel(level1: Written) -> None:
    events = level1.timeline()
    begins = {e["id"]: e["ts"] for e in events if e["ph"] == "s"}
    ends = {e["id"]: e["ts"] for e in events if e["ph"] == "f"}
    assert set(begins) == set(ends) and len(ends) == len(level1.trace.kernels)
    operators = {e["ts"]: e["name"] for e in spans(events, "cpu_op")}
    for kernel in spans(events, "kernel"):
        (arrow,) = (number for number, at in ends.items() if at == kernel["ts"])
        assert operators[begins[arrow]] == kernel["args"]["op"].partition(".")[0]


def test_flops_are_those_of_torch_s_formulas(level1: Written) -> None:
    (product,) = (e for e in spans(level1.timeline(), "cpu_op") if e["name"] == "aten::mm")
    assert product["args"]["flops"] == 2 * 256 * 128 * 64


def test_domains_of_mstx_are_selected(tmp_path: Path) -> None:
    def marks() -> None:
        for domain in ("mine", "yours"):
            number = mstx.range_start(f"range of {domain}", domain=domain)
            mstx.range_push(f"push of {domain}", domain=domain)
            assert mstx.range_pop(domain=domain) == 0
            mstx.range_end(number, domain=domain)

    config = {"mstx": True, "mstx_domain_include": ["mine"]}
    names = {event["name"] for event in write(tmp_path, marks, config=config).timeline()}
    assert {"range of mine", "push of mine"} <= names
    assert not {"range of yours", "push of yours"} & names


def test_a_range_with_a_stream_is_around_its_kernels_on_the_card(tmp_path: Path) -> None:
    def ranged() -> None:
        torch.ones(4, device="npu")
        with mstx.annotate("mine", torch.npu.current_stream()):
            work()

    written = write(tmp_path, ranged)
    (span,) = spans(written.timeline(), "mstx")
    inside = written.trace.kernels[1:]
    assert span["name"] == "mine"
    assert span["dur"] == pytest.approx(inside[-1].end_us - inside[0].start_us)
    assert {e["cat"] for e in written.timeline() if e["name"] == "mine"} == {
        *("mstx", "user_annotation"),
    }


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
