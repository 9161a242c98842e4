"""memory_record.csv and operator_memory.csv, and the history that they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.profiler.written import Written, us, work, write
from torch_npu_sim import _C
from torch_npu_sim.npu import memory_history


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
