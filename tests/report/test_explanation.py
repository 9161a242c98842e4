"""Why a kernel takes its time: the parts add up, and the text names them."""

import pytest
import torch
from typer.testing import CliRunner

import torch_npu_sim
from torch_npu_sim.cli import app
from torch_npu_sim.report.accuracy import refined_provenance


@pytest.fixture
def trace() -> torch_npu_sim.Trace:
    """One kernel of each of several kinds."""
    x = torch.ones(256, 512, device="npu", dtype=torch.bfloat16)
    with torch_npu_sim.trace() as trace:
        x @ x.mT
        x.softmax(-1)
        x.sigmoid()
        x.mT.contiguous()
    return trace


def test_phases_add_up_to_the_duration(trace):
    for i, kernel in enumerate(trace.kernels):
        phases = trace.explain(i).phases
        assert sum(phase.us for phase in phases) == pytest.approx(kernel.alone_us, abs=1e-5)
        assert all(phase.us > 0 for phase in phases)


def test_the_gap_is_what_the_roofline_lacks(trace):
    for i in range(len(trace.kernels)):
        found = trace.explain(i)
        gap = sum(part.us for part in found.gap)
        assert found.roofline_us + gap == pytest.approx(found.duration_us, abs=1e-5)


def test_no_pipe_is_busy_longer_than_the_kernel(trace):
    for i in range(len(trace.kernels)):
        found = trace.explain(i)
        assert all(busy <= found.duration_us for busy in found.pipes_us.values())


def test_the_text_names_bound_phases_pipes_and_bytes(trace):
    text = str(trace.explain(0))
    for word in ("matmul", "bound by", "launch", "pipeline", "cube", "device memory", "energy"):
        assert word in text


def test_an_index_out_of_range_says_how_many_kernels_there_are(trace):
    with pytest.raises(IndexError, match=f"one of {len(trace.kernels)} kernels, got 99"):
        trace.explain(99)


def test_measurements_vouch_for_kernels_that_the_card_runs_itself():
    measured = "ascend950pr", "vector", "tile"
    assert refined_provenance("host-fallback", *measured) == "host-fallback"
    assert refined_provenance("undescribed", *measured) == "undescribed"
    assert refined_provenance("calibrated", *measured) == "calibrated"


def test_measurements_do_not_vouch_for_a_users_own_chip():
    found = refined_provenance("calibrated", "my_chip", "vector", "tile")
    assert found == "micro-architectural"


def test_measured_errors_do_not_speak_for_the_roofline():
    found = refined_provenance("calibrated", "ascend950pr", "vector", "roofline")
    assert found == "roofline"


def test_the_report_says_how_far_calibrated_kernels_are_off(trace):
    text = trace.table()
    assert "calibrated" in text
    assert "off in the median" in text


@pytest.mark.parametrize(
    "line",
    [
        "matmul 4096x4096x4096 mxfp4",
        "grouped_matmul 1024x512x256 fp8 g=8",
        "attention h=32 kv=8 s=1024 bf16 causal",
        "mla b=32 s=4096 bf16",
        "softmax 4096x4096 bf16 dim=-1",
        "copy 64MiB",
        "add 1024x1024 1024x1024 fp16",
    ],
)
def test_a_line_is_explained(line, tmp_path):
    plot = tmp_path / "pipeline.html"
    done = CliRunner().invoke(app, ["explain", line, "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    assert "Beyond the roofline" in done.output
    assert "<svg" in plot.read_text()


def test_an_unknown_operator_is_an_error_with_its_name():
    done = CliRunner().invoke(app, ["explain", "frobnicate 4x4"])
    assert done.exit_code == 2
    assert "frobnicate" in done.output


def test_a_warm_copy_takes_no_longer_than_a_cold_one():
    times = []
    for flags in ([], ["--warm"]):
        done = CliRunner().invoke(app, ["explain", "copy 16MiB", *flags])
        times.append(float(done.output.split("duration     ")[1].split(" us")[0]))
    assert times[1] <= times[0]
