"""Tables of kernels: kernel_details, op_statistic, task_time, steps, launches, operators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.profiler.written import LEVEL1, Written, us, write
from torch_npu_sim import _C
from torch_npu_sim.profiler import (
    AiCMetrics,
    supported_ai_core_metrics,
)


def test_a_row_is_a_kernel_on_the_cores(level1: Written) -> None:
    rows = level1.table("kernel_details.csv")
    assert [row["Type"] for row in rows] == ["fill_", "fill_", "MatMul", "_softmax", "sum"]
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
    row = next(row for row in level1.table("kernel_details.csv") if row["Type"] == "MatMul")
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
        core = "aic" if row["Accelerator Core"] == "AI_CORE" else "aiv"
        unknown = (f"{core}_total_cycles", f"{core}_scalar_time(us)", f"{core}_icache_miss_rate")
        assert {row[name] for name in (*unknown, "Model ID", "Input Formats")} == {"N/A"}


def test_counters_of_idle_cores_are_zero(level1: Written) -> None:
    for row in level1.table("kernel_details.csv"):
        idle = "aiv_" if row["Accelerator Core"] == "AI_CORE" else "aic"
        assert {us(value) for name, value in row.items() if name.startswith(idle)} == {0}


def test_attention_is_on_both_kinds_of_core(tmp_path: Path) -> None:
    def attend() -> None:
        q = torch.ones(1, 2, 64, 64, device="npu", dtype=torch.bfloat16)
        torch.nn.functional.scaled_dot_product_attention(q, q, q)

    written = write(tmp_path, attend, config=LEVEL1)
    row = written.table("kernel_details.csv")[-1]
    assert (row["Accelerator Core"], row["Type"]) == ("MIX_AIC", "FlashAttentionScore")
    assert us(row["aic_mac_time(us)"]) > 0 and us(row["aiv_vec_time(us)"]) > 0
    # One mte2 is modelled for both.
    assert row["aic_mte2_time(us)"] == row["aiv_mte2_time(us)"] == "N/A"


@pytest.mark.parametrize("metrics", sorted(supported_ai_core_metrics()))
def test_every_set_of_counters_has_its_columns(tmp_path: Path, metrics: str) -> None:
    written = write(tmp_path, config={**LEVEL1, "aic_metrics": metrics})
    (product,) = (row for row in written.table("kernel_details.csv") if row["Type"] == "MatMul")
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


def test_device_time_of_operators_is_their_kernels_time(level1: Written) -> None:
    rows = level1.table("operator_details.csv")
    own = sum(us(row["Device Self Duration(us)"]) for row in rows)
    assert own == pytest.approx(level1.trace.device_us, abs=0.01)
    (product,) = (row for row in rows if row["Name"] == "aten::mm")
    assert product["Input Shapes"] == "256,128;128,64"
    assert us(product["Host Self Duration(us)"]) <= us(product["Host Total Duration(us)"])
