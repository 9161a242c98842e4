"""trace_view.json: its form, its kernels and operators, ranges of mstx."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.profiler.written import Written, spans, work, write
from torch_npu_sim.npu.mstx import mstx


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
